//! The exports: each hook is a world of its own, so that a policy exports those that it answers and no other.

pub mod lifecycle {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-lifecycle { export pointsman:policy/lifecycle@0.1.1; }",
        path: "../../wit",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "pointsman_policy::hooks::lifecycle",
    });
    pub use self::exports::pointsman::policy::lifecycle::Guest;
}

pub mod route {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-route { export pointsman:policy/route@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_route",
        default_bindings_module: "pointsman_policy::hooks::route",
    });
    pub use self::exports::pointsman::policy::route::Guest;
}

pub mod select {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-select { export pointsman:policy/select@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_select",
        default_bindings_module: "pointsman_policy::hooks::select",
    });
    pub use self::exports::pointsman::policy::select::Guest;
}

pub mod transform_request {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-transform-request { export pointsman:policy/transform-request@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_transform_request",
        default_bindings_module: "pointsman_policy::hooks::transform_request",
    });
    pub use self::exports::pointsman::policy::transform_request::Guest;
}

pub mod transform_response {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-transform-response { export pointsman:policy/transform-response@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_transform_response",
        default_bindings_module: "pointsman_policy::hooks::transform_response",
    });
    pub use self::exports::pointsman::policy::transform_response::Guest;
}

pub mod transform_list {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-transform-list { export pointsman:policy/transform-list@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_transform_list",
        default_bindings_module: "pointsman_policy::hooks::transform_list",
    });
    pub use self::exports::pointsman::policy::transform_list::Guest;
}

pub mod settle {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-settle { export pointsman:policy/settle@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_settle",
        default_bindings_module: "pointsman_policy::hooks::settle",
    });
    pub use self::exports::pointsman::policy::settle::Guest;
}

pub mod observe {
    wit_bindgen::generate!({
        inline: "package pointsman:kit; world only-observe { export pointsman:policy/observe@0.1.1; }",
        path: "../../wit",
        with: { "pointsman:policy/types@0.1.1": crate::types },
        pub_export_macro: true,
        export_macro_name: "export_observe",
        default_bindings_module: "pointsman_policy::hooks::observe",
    });
    pub use self::exports::pointsman::policy::observe::Guest;
}

/// Exports a policy with the hooks that it answers: `export!(Mine: route, select)`.
#[macro_export]
macro_rules! export {
    ($policy:ty : $($hook:ident),+ $(,)?) => {
        #[doc(hidden)]
        mod __pointsman {
            use super::*;

            pub(super) struct Exported;

            static POLICY: ::std::sync::OnceLock<$policy> = ::std::sync::OnceLock::new();

            fn policy() -> Result<&'static $policy, String> {
                POLICY.get().ok_or_else(|| "init was not called".to_owned())
            }

            impl $crate::hooks::lifecycle::Guest for Exported {
                fn init(config: String) -> Result<(), String> {
                    let policy = <$policy as $crate::Policy>::new(&config)?;
                    POLICY.set(policy).map_err(|_| "init was called twice".to_owned())
                }

                fn shutdown() {
                    if let Some(policy) = POLICY.get() {
                        $crate::Policy::end(policy);
                    }
                }
            }

            $crate::hooks::lifecycle::export_lifecycle!(Exported with_types_in $crate::hooks::lifecycle);
            $($crate::__hook!($hook);)+
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (route) => {
        impl $crate::hooks::route::Guest for Exported {
            fn route(call: &$crate::Call, candidates: &$crate::Candidates) -> Result<$crate::RouteChoice, String> {
                $crate::Route::route(policy()?, call, candidates)
            }
        }
        $crate::hooks::route::export_route!(Exported with_types_in $crate::hooks::route);
    };
    (select) => {
        impl $crate::hooks::select::Guest for Exported {
            fn select(call: &$crate::Call, targets: &$crate::Targets) -> Result<$crate::Selection, String> {
                $crate::Select::select(policy()?, call, targets)
            }
        }
        $crate::hooks::select::export_select!(Exported with_types_in $crate::hooks::select);
    };
    (transform_request) => {
        impl $crate::hooks::transform_request::Guest for Exported {
            fn transform(call: &$crate::Call) -> Result<Vec<$crate::Edit>, String> {
                $crate::TransformRequest::transform_request(policy()?, call)
            }
        }
        $crate::hooks::transform_request::export_transform_request!(Exported with_types_in $crate::hooks::transform_request);
    };
    (transform_response) => {
        impl $crate::hooks::transform_response::Guest for Exported {
            fn transform(call: &$crate::Call, response: &$crate::Response) -> Result<Vec<$crate::Edit>, String> {
                $crate::TransformResponse::transform_response(policy()?, call, response)
            }
        }
        $crate::hooks::transform_response::export_transform_response!(Exported with_types_in $crate::hooks::transform_response);
    };
    (transform_list) => {
        impl $crate::hooks::transform_list::Guest for Exported {
            fn transform(listing: &$crate::Listing) -> Result<Option<Vec<$crate::Shown>>, String> {
                $crate::TransformList::transform_list(policy()?, listing)
            }
        }
        $crate::hooks::transform_list::export_transform_list!(Exported with_types_in $crate::hooks::transform_list);
    };
    (settle) => {
        impl $crate::hooks::settle::Guest for Exported {
            fn settle(call: &$crate::Call, trouble: &$crate::Trouble) -> Result<$crate::Settlement, String> {
                $crate::Settle::settle(policy()?, call, trouble)
            }
        }
        $crate::hooks::settle::export_settle!(Exported with_types_in $crate::hooks::settle);
    };
    (observe) => {
        impl $crate::hooks::observe::Guest for Exported {
            fn observe(events: &$crate::Events) -> Result<(), String> {
                $crate::Observe::observe(policy()?, events)
            }
        }
        $crate::hooks::observe::export_observe!(Exported with_types_in $crate::hooks::observe);
    };
}
