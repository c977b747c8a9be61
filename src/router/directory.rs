//! The router's backends, for policies that look at them.

use super::Router;
use crate::policy::{Directory, Entry};

impl Directory for Router {
    fn backends(&self) -> Vec<String> {
        self.backends.load().keys().cloned().collect()
    }

    fn backend(&self, name: &str) -> Option<Entry> {
        let backends = self.backends.load();
        let backend = backends.get(name)?;
        let settings = backend.settings();
        let (state, in_flight) = backend.state();
        let (held, ..) = backend.gate().load();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Some(Entry {
            state,
            labels: settings.labels.clone(),
            targets: settings.replicas,
            ready: count(backend.live().len()),
            held: count(held),
            in_flight,
        })
    }
}
