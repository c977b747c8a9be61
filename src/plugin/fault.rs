//! What went wrong in a hook call, and whom to blame.

use wasmtime::Trap;

use crate::policy::FaultKind;

/// A hook call that gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    pub(super) message: String,
    /// True where the plugin did it, so that the breaker counts it.
    pub(super) blame: bool,
}

impl Fault {
    /// A fault of the plugin.
    pub(super) fn of_plugin(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            blame: true,
        }
    }

    /// One that is not the plugin's.
    pub(super) fn of_others(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            blame: false,
            ..Self::of_plugin(kind, message)
        }
    }

    /// What an error of wasmtime means.
    pub(super) fn of_error(error: &wasmtime::Error) -> Self {
        if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            return Self::of_plugin(FaultKind::Cpu, "computed longer than its CPU budget");
        }
        let message = error.root_cause().to_string();
        // The type of this error is private to wasmtime; a test keeps watch over its text.
        let kind = if message.contains("fuel allocated for hostcalls") {
            return Self::of_plugin(FaultKind::Output, "returned more than its output limit");
        } else {
            FaultKind::Trap
        };
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Self::of_others(FaultKind::Wall, "the router has no slot left for another instance");
        }
        Self::of_plugin(kind, message)
    }
}
