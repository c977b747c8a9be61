//! Whom a target is told that it serves: the router, or the one agent whose it is.

use std::fmt;
use std::sync::Arc;

use serde_json::json;

use super::target::Sink;
use crate::config::ServerRequests;
use crate::wire::RawJson;

/// What a target is told of its client in `initialize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// `clientInfo`, as JSON text.
    pub client: RawJson,
    /// `capabilities`, as JSON text.
    pub capabilities: RawJson,
}

/// The one agent that a backend is for.
#[derive(Clone)]
pub struct Owner {
    /// What its targets are told of it.
    pub face: Face,
    /// Where what they say goes.
    pub sink: Arc<dyn Sink>,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("face", &self.face)
            .finish_non_exhaustive()
    }
}

impl Face {
    /// The router's own. It can do what some agent behind it may be able to do, if it is to pass on requests at all:
    /// an agent that cannot is not asked, and the target is told so then.
    pub fn own(requests: ServerRequests) -> Self {
        let capabilities = match requests {
            ServerRequests::Off => json!({}),
            ServerRequests::Serialize => json!({
                "sampling": { "context": {}, "tools": {} },
                "elicitation": { "form": {}, "url": {} },
                "roots": {},
            }),
        };
        Self {
            client: client_info().to_string().into(),
            capabilities: capabilities.to_string().into(),
        }
    }
}

/// Who the router is, towards targets.
pub fn client_info() -> serde_json::Value {
    json!({ "name": "pointsman", "version": env!("CARGO_PKG_VERSION") })
}
