//! The ways in which the fixture stands behind the router.

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
    keys: "server-requests = \"serialize\"",
};

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
}
