//! What policies may ask of a backend.

use std::time::Duration;

use super::Backend;
use crate::policy::Facts;

impl Facts for Backend {
    fn label(&self, name: &str) -> Option<String> {
        self.settings().labels.get(name).cloned()
    }

    fn latency(&self) -> Option<Duration> {
        let targets = self.targets.load();
        targets.iter().filter_map(|r| r.target.counters.latency()).min()
    }

    fn eta(&self) -> Option<Duration> {
        match self.state().0 {
            "ready" => Some(Duration::ZERO),
            _ => Self::eta(self),
        }
    }
}
