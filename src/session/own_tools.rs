//! The router's own tools, where an endpoint shows them: how its servers are, which of them is meant, a restart.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Agents;
use super::store::Session;
use crate::backend::Backend;
use crate::call::Introduction;
use crate::catalog::Endpoint;
use crate::config::OwnTools;
use crate::error::{CallError, Reason};
use crate::wire::{Kind, Object};

/// Before the names of all of them.
const PREFIX: &str = "pointsman__";
const STATUS: &str = "pointsman__status";
const USE: &str = "pointsman__use_backend";
const RESTART: &str = "pointsman__restart_backend";

/// In `_meta` of an `initialize`: the backend that a session's calls are meant for. The default policy reads it.
const BACKEND: &str = "dev.pointsman/backend";

/// Whether a tool of that name is the router's own here. The endpoint is looked at last, for most names are not.
pub(super) fn is_own(endpoint: &Endpoint, name: &str) -> bool {
    name.starts_with(PREFIX) && endpoint.look(|view| view.settings.own_tools != OwnTools::Off)
}

/// Their definitions, with commas between them; empty where none are shown. What chooses for a session is of no use
/// to agents that have none.
pub(super) fn definitions(shown: OwnTools, has_session: bool) -> String {
    let backend = json!({
        "type": "object",
        "properties": { "backend": { "type": "string", "description": "its name, as pointsman__status tells it" } },
        "required": ["backend"],
    });
    let mut tools = Vec::new();
    if shown != OwnTools::Off {
        tools.push(json!({
            "name": STATUS,
            "title": "Status of the servers",
            "description": "Which servers are behind this endpoint, and whether they are ready, starting or dead",
            "inputSchema": { "type": "object", "properties": {} },
            "annotations": { "readOnlyHint": true },
        }));
    }
    if shown != OwnTools::Off && has_session {
        tools.push(json!({
            "name": USE,
            "title": "Choose a server",
            "description": "Sends the calls of this session to one server from now on; without `backend` they find their server again by their names",
            "inputSchema": { "type": "object", "properties": backend["properties"] },
            "annotations": { "idempotentHint": true },
        }));
    }
    if shown == OwnTools::Manage {
        tools.push(json!({
            "name": RESTART,
            "title": "Restart a server",
            "description": "Stops a server and starts it again; calls to it wait meanwhile",
            "inputSchema": backend,
            "annotations": { "destructiveHint": true },
        }));
    }
    let texts: Vec<String> = tools.iter().map(Value::to_string).collect();
    texts.join(",")
}

impl Agents {
    /// Runs one of them. The result is of the legacy era.
    pub(super) fn own_tool(
        &self,
        endpoint: &Endpoint,
        session: Option<&Session>,
        name: &str,
        params: &Object<'_>,
    ) -> Result<String, CallError> {
        let view = endpoint.view();
        let shown = view.settings.own_tools;
        let arguments = Object::parse(params.get("arguments").unwrap_or("{}"))
            .map_err(|e| CallError::from(Reason::InvalidParams(format!("arguments: {e}"))))?;
        let named = match arguments.get("backend") {
            None | Some("null") => None,
            Some(_) => Some(arguments.get_str("backend").unwrap_or_default().into_owned()),
        };
        let found = |name: &str| -> Result<Arc<Backend>, CallError> {
            let backend = view.backends.iter().find(|b| **b.name() == *name);
            backend.cloned().ok_or_else(|| {
                let names: Vec<&str> = view.backends.iter().map(|b| &**b.name()).collect();
                let why = format!("there is no server {name:?} here; there are: {}", names.join(", "));
                CallError::from(Reason::InvalidParams(why))
            })
        };
        match (name, session) {
            (STATUS, _) => {
                let backends: Vec<Value> = view.backends.iter().map(|b| shown_status(b)).collect();
                Ok(result(
                    json!({ "router": env!("CARGO_PKG_VERSION"), "backends": backends }),
                ))
            }
            (USE, Some(session)) => {
                if let Some(name) = &named {
                    found(name)?;
                }
                session.mean(named.as_deref());
                Ok(result(json!({ "backend": named })))
            }
            (RESTART, _) if shown == OwnTools::Manage => {
                let missing = || CallError::from(Reason::InvalidParams("backend is missing".to_owned()));
                let backend = found(&named.ok_or_else(missing)?)?;
                let told = json!({ "restarting": backend.name().to_string() });
                // Several targets take their time, one after the other.
                tokio::spawn(async move { backend.restart().await });
                Ok(result(told))
            }
            _ => Err(Reason::Unknown(Kind::Tools, name.to_owned()).into()),
        }
    }
}

/// What agents may know of a server: no process output, no process ids.
fn shown_status(backend: &Backend) -> Value {
    let status = backend.status(0);
    json!({
        "name": status.name,
        "state": status.state,
        "tools": status.tools,
        "held": status.held,
        "in_flight": status.in_flight,
        "eta_ms": status.eta_ms,
        "why": status.targets.iter().find_map(|target| target.why.clone()),
    })
}

fn result(value: Value) -> String {
    json!({ "content": [{ "type": "text", "text": value.to_string() }], "structuredContent": value }).to_string()
}

/// What an agent said in `initialize`, with another backend meant by it.
pub(super) fn meaning(said: &Introduction, backend: Option<&str>) -> Introduction {
    let mut headers = said.headers.clone();
    headers.remove("x-pointsman-backend");
    let text = said.meta.as_ref().map_or("{}", |meta| meta.as_str());
    let mut meta = Object::parse(text).unwrap_or_default();
    match backend {
        Some(name) => meta.set(BACKEND, crate::wire::json::quote(name)),
        None => meta.remove(BACKEND),
    }
    Introduction {
        headers,
        meta: Some(meta.to_text().into()),
        client: said.client.clone(),
        capabilities: said.capabilities.clone(),
        ..Introduction::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_the_endpoint_says() {
        let names = |shown, has_session| -> Vec<String> {
            let list: Vec<Value> = serde_json::from_str(&format!("[{}]", definitions(shown, has_session))).unwrap();
            list.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
        };
        assert!(names(OwnTools::Off, true).is_empty());
        assert_eq!(names(OwnTools::Read, false), [STATUS]);
        assert_eq!(names(OwnTools::Read, true), [STATUS, USE]);
        assert_eq!(names(OwnTools::Manage, false), [STATUS, RESTART]);
    }

    #[test]
    fn another_backend_is_meant_and_all_else_stays_said() {
        let mut headers = http::HeaderMap::new();
        headers.insert("x-pointsman-backend", "old".parse().unwrap());
        headers.insert("x-other", "kept".parse().unwrap());
        let said = Introduction {
            headers,
            meta: Some(r#"{"k": 1.0,"dev.pointsman/backend":"older"}"#.to_owned().into()),
            ..Introduction::default()
        };
        let meant = meaning(&said, Some("new"));
        assert_eq!(meant.headers.len(), 1);
        assert_eq!(
            meant.meta.unwrap().as_str(),
            r#"{"k":1.0,"dev.pointsman/backend":"new"}"#
        );
        assert_eq!(meaning(&said, None).meta.unwrap().as_str(), r#"{"k":1.0}"#);
    }
}
