//! The life of a legacy session: `initialize`, the session that a request names, its own stream, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::events::{self, Long};
use super::store::Session;
use super::{Agents, SESSION, VERSION, answer, error_object};
use crate::call::Introduction;
use crate::catalog::Endpoint;
use crate::transport::{HttpReply, HttpRequest, sse};
use crate::wire::message::write_response;
use crate::wire::{Era, Object, RawJson, Request, Version, codes};

/// Bytes of an `initialize` that are kept at most, for they are kept as long as the session.
const MAX_INTRODUCTION: usize = 64 * 1024;

impl Agents {
    /// GET: the session's own stream.
    pub(super) fn open_stream(&self, endpoint: &Arc<Endpoint>, request: &HttpRequest) -> HttpReply {
        if request.headers.get(&SESSION).is_none() {
            return super::with_allow();
        }
        let session = match self.session(endpoint, request, "null") {
            Ok(session) => session,
            Err(reply) => return *reply,
        };
        let others = session.open_stream(self.listen.stream_capacity);
        let long = Long {
            first: sse::comment("open"),
            changed: Some(events::list_changed()),
            last: None,
            known: session.known_list.load(Ordering::Relaxed),
            list: endpoint.version(),
            running: self.running.subscribe(),
            others: Some((others, session)),
            keep_alive: self.listen.keep_alive,
        };
        HttpReply::Stream {
            headers: HeaderMap::new(),
            events: events::long_stream(long),
        }
    }

    /// DELETE: the agent ends its session.
    pub(super) fn end_session(&self, endpoint: &Arc<Endpoint>, request: &HttpRequest) -> HttpReply {
        if let Err(reply) = self.session(endpoint, request, "null") {
            return *reply;
        }
        if let Some(id) = request.headers.get(&SESSION).and_then(|v| v.to_str().ok()) {
            self.sessions.end(id);
        }
        HttpReply::Empty {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
        }
    }

    /// The session that a request names, or the refusal. `id` is the request's.
    pub(super) fn session(
        &self,
        endpoint: &Arc<Endpoint>,
        request: &HttpRequest,
        id: &str,
    ) -> Result<Arc<Session>, Box<HttpReply>> {
        let refusal = |status, message: &str| {
            let body = write_response(id, Err(&error_object(codes::INVALID_REQUEST, message, None)));
            Box::new(super::json_reply(status, body))
        };
        if let Some(version) = request.headers.get(&VERSION) {
            let known = version
                .to_str()
                .ok()
                .and_then(Version::parse)
                .is_some_and(|v| v.era() == Era::Legacy);
            if !known {
                return Err(refusal(
                    StatusCode::BAD_REQUEST,
                    "the header MCP-Protocol-Version names a version that is not spoken here",
                ));
            }
        }
        let Some(secret) = request.headers.get(&SESSION).and_then(|v| v.to_str().ok()) else {
            return Err(refusal(
                StatusCode::BAD_REQUEST,
                "the header Mcp-Session-Id is missing: send initialize first",
            ));
        };
        match self.sessions.get(secret) {
            Some(session) if session.endpoint == endpoint.name => Ok(session),
            _ => Err(refusal(
                StatusCode::NOT_FOUND,
                "session not found: send initialize again",
            )),
        }
    }

    pub(super) fn initialize(&self, endpoint: &Endpoint, request: &HttpRequest, message: &Request<'_>) -> HttpReply {
        let id = message.id.as_raw();
        let invalid = |why: &str| answer::ok(write_response(id, Err(&error_object(codes::INVALID_PARAMS, why, None))));
        let Ok(params) = Object::parse(message.params.unwrap_or("{}")) else {
            return invalid("the params are wrong");
        };
        let Some(asked) = params.get_str("protocolVersion") else {
            return invalid("protocolVersion is missing");
        };
        // A client that asks for a version unknown here is offered the newest; it decides whether to go on.
        let version = Version::parse(&asked)
            .filter(|v| v.era() == Era::Legacy && *v != Version::V20241105)
            .unwrap_or(Version::NEWEST_LEGACY);
        let kept = ["_meta", "clientInfo"].map(|key| params.get(key).map_or(0, str::len));
        if kept.iter().sum::<usize>() > MAX_INTRODUCTION {
            return invalid("_meta and clientInfo are longer than 64 KiB together");
        }
        let raw = |key: &str| params.get(key).map(|v| RawJson::from(v.to_owned()));
        let introduction = Introduction {
            headers: request.headers.clone(),
            meta: raw("_meta"),
            client: raw("clientInfo"),
        };
        let Some((secret, session)) = self.sessions.open(version, endpoint, introduction) else {
            return super::json_reply(
                StatusCode::SERVICE_UNAVAILABLE,
                write_response(
                    id,
                    Err(&error_object(codes::INTERNAL_ERROR, "too many sessions are open", None)),
                ),
            );
        };
        tracing::debug!(session = session.number, %version, client = params.get("clientInfo").unwrap_or("?"), "session opened");
        let result = json!({
            "protocolVersion": version.as_str(),
            "capabilities": answer::capabilities(),
            "serverInfo": answer::server_info(),
        });
        let mut headers = HeaderMap::new();
        if let Ok(secret) = HeaderValue::from_str(&secret) {
            headers.insert(&SESSION, secret);
        }
        HttpReply::Json {
            status: StatusCode::OK,
            headers,
            body: write_response(id, Ok(&result.to_string())).into(),
        }
    }
}
