//! A message on its way out, and the headers that mirror it (2026-07-28, SEP-2243).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::wire::header::{self, Mirrored};
use crate::wire::{Index, Message, Object, json, method};

/// The arguments of a tool that are mirrored in headers.
pub type Mirrors = Arc<dyn Fn(&str) -> Vec<Mirrored> + Send + Sync>;

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It wants an answer; the raw text of its id.
    Request(String),
    /// It wants none.
    Notification,
    /// It is an answer.
    Response,
}

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Out {
    /// Its text.
    pub(super) body: Bytes,
    /// What it is.
    pub(super) kind: Kind,
    /// Its method; empty for an answer.
    pub(super) method: String,
    /// The router's number of the call it is.
    pub(super) call: Option<u64>,
    /// The headers that mirror it; `None` where it does not say that it is modern.
    pub(super) mirrored: Option<HeaderMap>,
    /// A stream of changes that was broken off: what changed meanwhile is not known.
    pub(super) renewed: AtomicBool,
}

impl Out {
    /// A message, one line or several.
    pub(super) fn new(call: Option<u64>, body: Bytes, mirrors: &Mirrors) -> Self {
        let text = std::str::from_utf8(&body).unwrap_or_default();
        let (kind, method, mirrored) = match Message::parse(text) {
            Ok(Message::Request(request)) => {
                let headers = request
                    .members
                    .as_ref()
                    .and_then(|params| mirrored(&request.method, params, request.params.unwrap_or("{}"), mirrors));
                let id = request.id.as_raw().to_owned();
                (Kind::Request(id), request.method.into_owned(), headers)
            }
            Ok(Message::Notification(notification)) => (Kind::Notification, notification.method.into_owned(), None),
            // The router writes nothing that is no message.
            Ok(Message::Response(_)) | Err(_) => (Kind::Response, String::new(), None),
        };
        Self {
            body,
            kind,
            method,
            call,
            mirrored,
            renewed: AtomicBool::new(false),
        }
    }

    /// The raw id of the request that it takes back.
    pub(super) fn withdraws(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.body)
            .ok()
            .filter(|_| self.method == method::CANCELLED)?;
        let Ok(Message::Notification(notification)) = Message::parse(text) else {
            return None;
        };
        let params = Object::parse(notification.params?).ok()?;
        params.get("requestId").map(str::to_owned)
    }

    /// Whether it is part of a handshake, where that is not over.
    pub(super) fn shakes_hands(&self) -> bool {
        let greeting = [method::INITIALIZE, method::DISCOVER, method::PING, "tools/list"];
        greeting.contains(&self.method.as_str())
    }

    /// Whether somebody sees to it that its answer is not waited for without end: whoever shakes hands, or fetches a list.
    pub(super) fn has_owner(&self) -> bool {
        matches!(
            self.method.as_str(),
            method::INITIALIZE | method::DISCOVER | method::PING
        ) || self.method.ends_with("/list")
    }

    /// The raw id, where it wants an answer.
    pub(super) fn id(&self) -> Option<&str> {
        match &self.kind {
            Kind::Request(id) => Some(id),
            _ => None,
        }
    }
}

/// The headers of a modern request.
fn mirrored(name: &str, params: &Object<'_>, text: &str, mirrors: &Mirrors) -> Option<HeaderMap> {
    let meta = Object::parse(params.get("_meta")?).ok()?;
    let mut headers = HeaderMap::new();
    let mut put = |header: &str, value: &str| {
        if let (Ok(header), Ok(value)) = (HeaderName::from_bytes(header.as_bytes()), HeaderValue::from_str(value)) {
            headers.insert(header, value);
        }
    };
    put(header::VERSION, &meta.get_str(method::META_VERSION)?);
    put(header::METHOD, &header::encode(name));
    let named = match name {
        method::TOOLS_CALL | "prompts/get" => params.get("name"),
        "resources/read" => params.get("uri"),
        _ if name.starts_with("tasks/") => params.get("taskId"),
        _ => None,
    };
    let named = named.and_then(json::unquote);
    if let Some(named) = &named {
        put(header::NAME, &header::encode(named));
    }
    if name == method::TOOLS_CALL
        && let Some(list) = named.map(|tool| mirrors(&tool)).filter(|list| !list.is_empty())
        && let Ok(index) = Index::new(text)
    {
        for Mirrored { header, pointer } in &list {
            if let Some(value) = index.span(pointer).and_then(|span| header::mirror(&text[span])) {
                put(header, &value);
            }
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(text: &str) -> Out {
        let mirrors: Mirrors = Arc::new(|tool| {
            let schema = r#"{"properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"}}}"#;
            if tool == "where" {
                header::mirrored(schema).unwrap()
            } else {
                Vec::new()
            }
        });
        Out::new(Some(7), Bytes::copy_from_slice(text.as_bytes()), &mirrors)
    }

    fn headers(text: &str) -> Vec<String> {
        let out = out(text);
        let mut lines: Vec<String> = out
            .mirrored
            .iter()
            .flatten()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_modern_request_is_mirrored() {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let call = |method: &str, params: &str| {
            headers(&format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params},{meta}}}}}"#
            ))
        };
        assert_eq!(
            call(
                "tools/call",
                r#""name":"where","arguments":{"region":"Köln","n":5,"x":1}"#
            ),
            [
                "mcp-method: tools/call",
                "mcp-name: where",
                "mcp-param-n: 5",
                "mcp-param-region: =?base64?S8O2bG4=?=",
                "mcp-protocol-version: 2026-07-28",
            ]
        );
        assert_eq!(
            call("tools/call", r#""name":"where","arguments":{"region":null}"#).len(),
            3
        );
        assert!(call("resources/read", r#""uri":"file:///a b""#).contains(&"mcp-name: file:///a b".to_owned()));
        assert!(call("tasks/get", r#""taskId":"t1""#).contains(&"mcp-name: t1".to_owned()));
        assert_eq!(call("tools/list", r#""name":"x""#).len(), 2);
    }

    #[test]
    fn a_legacy_message_is_not() {
        let call = out(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"where"}}"#);
        assert_eq!((call.id(), &call.mirrored), (Some("7"), &None));
        let note = out(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(
            (note.kind, note.method.as_str()),
            (Kind::Notification, "notifications/initialized")
        );
        assert_eq!(out(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).kind, Kind::Response);
    }
}
