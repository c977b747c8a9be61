//! What happens, as `observe` hears of it.

use serde_json::{Map, Value, json};

use crate::call::Call;

/// One event: what it is, and all of it as a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `call`, `target` or `reload`.
    pub kind: &'static str,
    members: Map<String, Value>,
}

impl Event {
    fn new(kind: &'static str, members: Value) -> Self {
        let mut event = Self {
            kind,
            members: match members {
                Value::Object(members) => members,
                _ => Map::new(),
            },
        };
        event.members.insert("kind".to_owned(), kind.into());
        event
    }

    /// A call ended. `more` says how.
    pub fn call(call: &Call, more: Value) -> Self {
        let mut event = Self::new("call", more);
        let members = [
            ("id", json!(call.id)),
            ("method", json!(call.method)),
            ("subject", json!(call.subject.as_ref().map(|subject| &subject.key))),
            ("endpoint", json!(&*call.endpoint)),
            ("agent", json!(call.agent.to_string())),
            (
                "principal",
                json!(call.principal.as_ref().map(|principal| &principal.name)),
            ),
            ("era", json!(call.era.as_str())),
        ];
        for (name, value) in members {
            event.members.insert(name.to_owned(), value);
        }
        event
    }

    /// A target is in another state.
    pub fn target(backend: &str, replica: u32, incarnation: u64, state: &str) -> Self {
        let members = json!({ "backend": backend, "replica": replica, "incarnation": incarnation, "state": state });
        Self::new("target", members)
    }

    /// The policies were loaded anew: the generation in force, and who was refused, with the reason.
    pub fn reload(generation: u64, rejected: &std::collections::BTreeMap<String, String>) -> Self {
        Self::new("reload", json!({ "generation": generation, "rejected": rejected }))
    }

    /// The backend that it is about, if it is about one.
    pub fn backend(&self) -> Option<&str> {
        self.members.get("backend").and_then(Value::as_str)
    }

    /// All of it.
    pub fn to_json(&self) -> String {
        Value::Object(self.members.clone()).to_string()
    }
}
