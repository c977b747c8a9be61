//! The Rust side of `wit/`, generated.

pub use super::host::{CallHandle, CandidatesHandle, ResponseHandle, TargetsHandle};
pub use super::listing::ListingHandle;
pub use super::observing::EventsHandle;
pub use super::settling::TroubleHandle;

wasmtime::component::bindgen!({
    path: "wit",
    world: "every-hook",
    imports: {
        "pointsman:policy/http.send": async | trappable,
        "pointsman:policy/types.[method]call.roots": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "pointsman:policy/types.call": CallHandle,
        "pointsman:policy/types.candidates": CandidatesHandle,
        "pointsman:policy/types.targets": TargetsHandle,
        "pointsman:policy/types.response": ResponseHandle,
        "pointsman:policy/types.listing": ListingHandle,
        "pointsman:policy/types.trouble": TroubleHandle,
        "pointsman:policy/types.events": EventsHandle,
    },
});
