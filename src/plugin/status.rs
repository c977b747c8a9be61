//! What is known about a plugin while it runs, for `status` and metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One plugin of a generation, for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginStatus {
    /// Its name in the configuration.
    pub name: String,
    /// The file, or `embedded:NAME`.
    pub source: String,
    /// SHA-256 of the component.
    pub digest: String,
    /// The hooks it exports.
    pub hooks: Vec<&'static str>,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// The generation that this was asked of.
    pub generation: u64,
    /// Hook calls since the router started, over all builds of the plugin.
    pub calls: u64,
    /// How many of them were faults of the plugin.
    pub faults: u64,
    /// The latest fault.
    pub last_error: Option<String>,
    /// `closed` when all is well, `off` while switched off after faults in a row, `trying` after that.
    pub breaker: &'static str,
}

/// The counters of one plugin name; they outlive its builds.
#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    faults: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    pub(super) fn called(&self) {
        self.calls.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, message: &str) {
        self.faults.fetch_add(1, Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
