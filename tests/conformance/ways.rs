//! The ways in which the fixture stands behind the router, and what is known not to be equal yet.

use serde_json::json;

use crate::support::fixture::{Fixture, node, program};

/// Where the fixture runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A child of the router.
    Stdio,
    /// A process of its own, dialled over HTTP.
    Http,
}

/// One way.
pub struct Way {
    pub name: &'static str,
    pub place: Place,
    /// What the backend's table says beside where it is.
    pub keys: &'static str,
}

/// One child for all sessions: it may ask its clients back only while one call runs at a time.
pub const SHARED: Way = Way {
    name: "stdio shared",
    place: Place::Stdio,
    keys: "server-requests = \"serialize\"",
};

/// A child for each session.
pub const PER_SESSION: Way = Way {
    name: "stdio per session",
    place: Place::Stdio,
    keys: "scope = \"session\"",
};

/// A server at an address.
pub const HTTP: Way = Way {
    name: "HTTP",
    place: Place::Http,
    keys: "",
};

/// Ways that the configuration has no words for yet, with a part of what it says to them. The test that finds one
/// accepted fails: then it is to be taken out here.
pub const NOT_YET: &[(&str, &str)] = &[("HTTP", "backends over HTTP are not supported yet")];

/// Differences that stay, and why: revision, scenario, reason.
pub const BY_CHOICE: &[(&str, &str, &str)] = &[
    (
        "2025-11-25",
        "server-sse-multiple-streams",
        "the router answers with JSON while the answer comes soon, which the suite notes as INFO",
    ),
    (
        "2025-11-25",
        "server-sse-polling",
        "the router answers with JSON while the answer comes soon; where streams are closed, tests/conformance/polling.rs",
    ),
];

/// Scenarios that still differ from the fixture alone, and are to be mended: way, revision, scenario. The test that
/// finds one equal fails: then it is to be taken out here.
pub const DIFFERENT: &[(&str, &str, &str)] = &[
    ("stdio shared", "2025-11-25", "resources-subscribe"),
    ("stdio shared", "2025-11-25", "resources-unsubscribe"),
    ("stdio shared", "2026-07-28", "http-custom-header-server-validation"),
    ("stdio shared", "2026-07-28", "server-stateless"),
    ("stdio shared", "2026-07-28", "tasks-dispatch-and-envelope"),
    ("stdio per session", "2025-11-25", "resources-subscribe"),
    ("stdio per session", "2025-11-25", "resources-unsubscribe"),
    (
        "stdio per session",
        "2026-07-28",
        "http-custom-header-server-validation",
    ),
    ("stdio per session", "2026-07-28", "server-stateless"),
    ("stdio per session", "2026-07-28", "tasks-dispatch-and-envelope"),
];

impl Way {
    /// The router's configuration, and the fixture that it dials if there is one.
    pub fn configuration(&self, era: &str) -> (String, Option<Fixture>) {
        match self.place {
            Place::Stdio => {
                let args = json!([program(), "--stdio", "--era", era]);
                let config = format!(
                    "[backends.fix]\ncommand = {}\nargs = {args}\n{}\n",
                    json!(node()),
                    self.keys
                );
                (config, None)
            }
            Place::Http => {
                let fixture = Fixture::start(&["--era", era]);
                let config = format!("[backends.fix]\nurl = {}\n{}\n", json!(fixture.url), self.keys);
                (config, Some(fixture))
            }
        }
    }

    /// What the configuration says to it if it has no words for it yet.
    pub fn not_yet(&self) -> Option<&'static str> {
        NOT_YET.iter().find(|(way, _)| *way == self.name).map(|(_, says)| *says)
    }

    /// The scenarios of a revision that are known to differ.
    pub fn known(&self, revision: &str) -> Vec<&'static str> {
        let mine = DIFFERENT
            .iter()
            .filter(|(way, rev, _)| *way == self.name && *rev == revision);
        mine.map(|(_, _, scenario)| *scenario).collect()
    }
}
