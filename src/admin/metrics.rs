//! `/metrics`: the state of the router and the numbers of its plugins, in the text format of Prometheus.

use std::fmt::{Display, Write as _};

use super::Status;
use crate::plugin::Registry;

/// The words for a backend's state.
const STATES: [&str; 7] = [
    "ready",
    "starting",
    "backoff",
    "stopping",
    "crash-loop",
    "failed",
    "stopped",
];

/// All of it.
pub(super) fn text(status: &Status, registry: &Registry) -> String {
    let mut page = Page(String::new());
    page.family("pointsman_info", "gauge", "The version that runs.");
    page.line("pointsman_info", &[("version", status.version)], 1);
    page.family("pointsman_uptime_seconds", "gauge", "How long the router runs.");
    page.line("pointsman_uptime_seconds", &[], status.uptime_s);
    page.family("pointsman_sessions", "gauge", "Sessions of legacy agents.");
    page.line("pointsman_sessions", &[], status.sessions);
    page.family("pointsman_generation", "gauge", "The generation of policies in force.");
    page.line("pointsman_generation", &[], status.reload.generation);
    page.backends(status);
    page.plugins(status);
    registry.write(&mut page.0);
    page.0
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn backends(&mut self, status: &Status) {
        let name = "pointsman_backend_state";
        self.family(
            name,
            "gauge",
            "1 for the best state of a backend's targets, 0 for all others.",
        );
        for backend in &status.backends {
            for state in STATES {
                let labels = [("backend", &*backend.name), ("state", state)];
                self.line(name, &labels, u8::from(state == backend.state));
            }
        }
        let name = "pointsman_backend_held";
        self.family(name, "gauge", "Calls held at a backend's gate.");
        for backend in &status.backends {
            self.line(name, &[("backend", &*backend.name)], backend.held);
        }
        let name = "pointsman_backend_in_flight";
        self.family(name, "gauge", "Calls in flight at a backend's targets.");
        for backend in &status.backends {
            self.line(name, &[("backend", &*backend.name)], backend.in_flight);
        }
        let name = "pointsman_target_incarnation";
        self.family(name, "gauge", "The number of a target's newest spawn.");
        for backend in &status.backends {
            for target in &backend.targets {
                let replica = target.replica.to_string();
                self.line(
                    name,
                    &[("backend", &*backend.name), ("replica", &replica)],
                    target.incarnation,
                );
            }
        }
    }

    fn plugins(&mut self, status: &Status) {
        let name = "pointsman_policy_calls_total";
        self.family(name, "counter", "Hook calls of a plugin since the router started.");
        for plugin in &status.reload.plugins {
            self.line(name, &[("plugin", &*plugin.name)], plugin.calls);
        }
        let name = "pointsman_policy_faults_total";
        self.family(name, "counter", "Hook calls that were faults of the plugin.");
        for plugin in &status.reload.plugins {
            self.line(name, &[("plugin", &*plugin.name)], plugin.faults);
        }
        let name = "pointsman_policy_off";
        self.family(name, "gauge", "1 while a plugin is switched off after faults in a row.");
        for plugin in &status.reload.plugins {
            self.line(name, &[("plugin", &*plugin.name)], u8::from(plugin.breaker == "off"));
        }
    }
}
