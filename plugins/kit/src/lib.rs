//! Policies for Pointsman in Rust: a type that is made from the plugin's configuration, a trait for each hook that it
//! answers, and one line that exports them.
//!
//! ```ignore
//! use pointsman_policy::{Call, Candidates, Policy, Route, RouteChoice, deny};
//!
//! struct NoCrash;
//!
//! impl Policy for NoCrash {
//!     fn new(_config: &str) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//! }
//!
//! impl Route for NoCrash {
//!     fn route(&self, call: &Call, _: &Candidates) -> Result<RouteChoice, String> {
//!         match call.name() {
//!             Some(name) if name.ends_with("crash") => Ok(deny("no-crash", "crashing is for the weekend")),
//!             _ => Ok(RouteChoice::Next),
//!         }
//!     }
//! }
//!
//! pointsman_policy::export!(NoCrash: route);
//! ```
//!
//! A component imports only what its code uses; what it imports of the capabilities has to be granted in the router's
//! configuration. Globals are not state: instances come and go. What must last belongs in [`kv`].

#[doc(hidden)]
pub mod hooks;

/// What is imported, as `wit/` has it.
mod imports {
    wit_bindgen::generate!({ path: "../../wit", world: "imports", generate_all });
}

pub use self::imports::pointsman::policy::types::{
    Call, Candidates, Denial, Edit, Events, Listing, Redirection, Response, RouteChoice, Selection, SetEdit,
    Settlement, Shown, Targets, Trouble,
};
pub use self::imports::pointsman::policy::{clock, directory, http, kv, log, metrics, random, secrets, types};
pub use json;

/// A policy: what one instance is, from its configuration to its end.
pub trait Policy: Sized {
    /// From the plugin's `config`, as JSON text; `{}` where there is none. An error refuses the plugin at load, and its text
    /// is what the operator reads: name the key that is wrong.
    fn new(config: &str) -> Result<Self, String>;

    /// It is retired. Nothing waits for it long.
    fn end(&self) {}
}

/// Which backends may take a call.
pub trait Route: Policy {
    /// See `route` in `wit/hooks.wit`.
    fn route(&self, call: &Call, candidates: &Candidates) -> Result<RouteChoice, String>;
}

/// Which live target takes a call.
pub trait Select: Policy {
    /// See `select` in `wit/hooks.wit`.
    fn select(&self, call: &Call, targets: &Targets) -> Result<Selection, String>;
}

/// Changes to a request on its way in.
pub trait TransformRequest: Policy {
    /// See `transform-request` in `wit/hooks.wit`.
    fn transform_request(&self, call: &Call) -> Result<Vec<Edit>, String>;
}

/// Changes to a response on its way out.
pub trait TransformResponse: Policy {
    /// See `transform-response` in `wit/hooks.wit`.
    fn transform_response(&self, call: &Call, response: &Response) -> Result<Vec<Edit>, String>;
}

/// What agents see.
pub trait TransformList: Policy {
    /// See `transform-list` in `wit/hooks.wit`.
    fn transform_list(&self, listing: &Listing) -> Result<Option<Vec<Shown>>, String>;
}

/// What becomes of a call in trouble.
pub trait Settle: Policy {
    /// See `settle` in `wit/hooks.wit`.
    fn settle(&self, call: &Call, trouble: &Trouble) -> Result<Settlement, String>;
}

/// What happens.
pub trait Observe: Policy {
    /// See `observe` in `wit/hooks.wit`.
    fn observe(&self, events: &Events) -> Result<(), String>;
}

/// Refuses a call: a code for programs, and what people and models read.
pub fn deny(code: &str, message: &str) -> RouteChoice {
    RouteChoice::Deny(Denial {
        code: code.to_owned(),
        message: message.to_owned(),
    })
}

/// Sends a call to a backend, under the name that it has.
pub fn redirect(backend: &str) -> RouteChoice {
    RouteChoice::Redirect(Redirection {
        backend: backend.to_owned(),
        name: None,
    })
}

/// Puts a value, as JSON text, at a JSON pointer.
pub fn set(pointer: &str, json: String) -> Edit {
    Edit::Set(SetEdit {
        pointer: pointer.to_owned(),
        json,
    })
}

/// The text of a JSON string, such as `call.param` gives; none where it is something else.
pub fn text_of(json: &str) -> Option<String> {
    json::parse(json).ok()?.text().map(str::to_owned)
}
