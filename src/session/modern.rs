//! The modern era at the front: stateless requests, mirrored headers, `subscriptions/listen`.

use std::borrow::Cow;
use std::sync::Arc;

use bytestring::ByteString;
use http::StatusCode;
use serde_json::json;

use super::events::{self, Long};
use super::legacy::want_level;
use super::listener::CallListener;
use super::notes;
use super::{
    Agents, accepted, accepts_events, answer, at_once, error_object, json_reply, params_of, progress_token, refuse,
};
use crate::call::{AgentKey, Call};
use crate::catalog::Endpoint;
use crate::error::{CallError, Reason};
use crate::router::{Incoming, Listener};
use crate::transport::{HttpReply, HttpRequest, Replying, sse};
use crate::wire::message::{write_request, write_response};
use crate::wire::{Era, Index, Message, Object, Request, Version, codes, header, method};

/// What a modern request says of itself.
struct Envelope<'a> {
    /// What it names: the tool, for `tools/call`.
    name: Option<String>,
    /// Its `_meta`, and what stands in there.
    meta: &'a str,
    token: Option<String>,
    log_level: Option<&'static str>,
}

impl Agents {
    /// One modern message.
    pub(super) fn serve_modern(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        request: HttpRequest,
        body: &ByteString,
        message: Message<'_>,
    ) -> Replying {
        let message = match message {
            Message::Request(message) => message,
            // Over HTTP a modern client cancels by disconnecting; what it posts besides is taken note of.
            Message::Notification(_) => return at_once(accepted()),
            Message::Response(_) => {
                return at_once(refuse(
                    StatusCode::BAD_REQUEST,
                    codes::INVALID_REQUEST,
                    "the router asks nothing, so there is nothing to answer",
                ));
            }
        };
        let id = message.id.as_raw().to_owned();
        let envelope = match envelope(&request, &message) {
            Ok(envelope) => envelope,
            Err(error) => {
                return at_once(json_reply(StatusCode::BAD_REQUEST, write_response(&id, Err(&error))));
            }
        };
        match message.method.as_ref() {
            method::DISCOVER => {
                let result = json!({
                    "resultType": "complete",
                    "supportedVersions": [Version::NEWEST_MODERN.as_str()],
                    "capabilities": answer::capabilities(),
                    "ttlMs": 0,
                    "cacheScope": "private",
                    "_meta": answer::server_meta(),
                });
                at_once(answer::ok(write_response(&id, Ok(&result.to_string()))))
            }
            method::TOOLS_LIST => {
                if let Some(error) = answer::refused_cursor(message.params) {
                    return at_once(answer::ok(write_response(&id, Err(&error))));
                }
                let streams = accepts_events(&request.headers);
                let agents = Arc::clone(&self);
                let response = async move {
                    let tools = agents.tools(&endpoint).await;
                    write_response(&id, Ok(&answer::tool_list(&tools, Era::Modern)))
                };
                events::reply(Box::pin(response), None, false, streams, &self.listen)
            }
            method::TOOLS_CALL => self.modern_call(endpoint, request, body, &message, envelope),
            method::LISTEN => at_once(self.listen(&endpoint, &message)),
            other => {
                let error = CallError::from(Reason::MethodNotFound(other.to_owned())).to_wire();
                at_once(json_reply(StatusCode::NOT_FOUND, write_response(&id, Err(&error))))
            }
        }
    }

    fn modern_call(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        request: HttpRequest,
        body: &ByteString,
        message: &Request<'_>,
        envelope: Envelope<'_>,
    ) -> Replying {
        let id = message.id.clone();
        let refused = |error: &str| {
            at_once(json_reply(
                StatusCode::BAD_REQUEST,
                write_response(id.as_raw(), Err(error)),
            ))
        };
        let Some(name) = envelope.name else {
            return refused(&CallError::from(Reason::InvalidParams("name is missing".into())).to_wire());
        };
        let mirrored = endpoint.view().mirrored(&name);
        if !mirrored.is_empty()
            && !request.local
            && let Err(error) = arguments_mirrored(&request, message.params, &mirrored)
        {
            return refused(&error);
        }
        let streams = accepts_events(&request.headers);
        let Envelope {
            meta, token, log_level, ..
        } = envelope;
        let rank = log_level.and_then(method::log_rank);
        let (listener, notes): (Option<Arc<dyn Listener>>, _) = if streams && (token.is_some() || rank.is_some()) {
            let (sender, receiver) = notes::channel(self.listen.stream_capacity);
            (
                Some(Arc::new(CallListener::new(sender, token.clone(), rank))),
                Some(receiver),
            )
        } else {
            (None, None)
        };
        let call = Call {
            id: self.next_call(),
            method: method::TOOLS_CALL.into(),
            name: Some(name),
            endpoint: Arc::clone(&endpoint.name),
            path_backend: endpoint.backend.clone(),
            agent: AgentKey::Connection(request.connection),
            era: Era::Modern,
            headers: request.headers,
            initialize: None,
            params: params_of(body, message.params, Some(meta)),
        };
        let incoming = Incoming {
            call: Arc::new(call),
            endpoint,
            progress: token.is_some() && notes.is_some(),
            listener,
            log_level,
            handed_over: false.into(),
        };
        let agents = Arc::clone(&self);
        let response = async move {
            if let Some(rank) = rank {
                // Boxed: few calls ask for it.
                Box::pin(want_level(&incoming.endpoint, rank)).await;
            }
            let outcome = agents.router.call(&incoming).await;
            let errors = incoming.endpoint.view().settings.errors;
            answer::respond(id.as_raw(), Era::Modern, &incoming.call.method, errors, outcome)
        };
        events::reply(Box::pin(response), notes, false, streams, &self.listen)
    }

    /// The long stream of list changes. Its first message says what was granted; every message carries the id
    /// of the request that opened it.
    fn listen(&self, endpoint: &Arc<Endpoint>, message: &Request<'_>) -> HttpReply {
        let id = message.id.as_raw();
        let params = message.params.and_then(|p| Object::parse(p).ok()).unwrap_or_default();
        let Some(wanted) = params.get("notifications").and_then(|n| Object::parse(n).ok()) else {
            let error = error_object(codes::INVALID_PARAMS, "notifications is missing", None);
            return json_reply(StatusCode::BAD_REQUEST, write_response(id, Err(&error)));
        };
        let tools = wanted.get("toolsListChanged") == Some("true");
        let granted = if tools { "{\"toolsListChanged\":true}" } else { "{}" };
        let tag = format!("\"_meta\":{{\"{}\":{id}}}", method::META_SUBSCRIPTION);
        let acknowledged = write_request(
            None,
            method::LISTEN_ACKNOWLEDGED,
            Some(&format!("{{\"notifications\":{granted},{tag}}}")),
        );
        let changed = write_request(None, method::TOOLS_CHANGED, Some(&format!("{{{tag}}}")));
        let ended = format!("{{\"resultType\":\"complete\",{tag}}}");
        let list = endpoint.version();
        let known = *list.borrow();
        let long = Long {
            first: sse::event(&acknowledged),
            changed: tools.then(|| sse::event(&changed)),
            last: Some(sse::event(&write_response(id, Ok(&ended)))),
            known,
            list,
            running: self.running.subscribe(),
            others: None,
            keep_alive: self.listen.keep_alive,
        };
        HttpReply::Stream {
            headers: http::HeaderMap::new(),
            events: events::long_stream(long),
        }
    }
}

/// Checks the envelope and the headers that mirror it. An error is the response's `error`, for status 400.
fn envelope<'a>(request: &HttpRequest, message: &Request<'a>) -> Result<Envelope<'a>, String> {
    let invalid = |why: &str| error_object(codes::INVALID_PARAMS, why, None);
    let parsed;
    let params = match &message.members {
        Some(params) => params,
        None => {
            parsed = Object::parse(message.params.unwrap_or("{}")).map_err(|e| invalid(&e.to_string()))?;
            &parsed
        }
    };
    let Some(raw_meta) = params.get_borrowed("_meta") else {
        return Err(invalid(
            "params._meta is missing: it carries the protocol version and the client's capabilities",
        ));
    };
    let meta = Object::parse(raw_meta).map_err(|e| invalid(&format!("_meta: {e}")))?;
    let Some(version) = meta.get_str(method::META_VERSION) else {
        return Err(invalid(&format!("_meta[\"{}\"] is missing", method::META_VERSION)));
    };
    if !meta.get(method::META_CAPABILITIES).is_some_and(|c| c.starts_with('{')) {
        return Err(invalid(&format!(
            "_meta[\"{}\"] is missing or no object",
            method::META_CAPABILITIES
        )));
    }
    mirrored(request, header::VERSION, &version)?;
    if !Version::parse(&version).is_some_and(|v| v.era() == Era::Modern) {
        let data = json!({ "supported": [Version::NEWEST_MODERN.as_str()], "requested": version });
        return Err(error_object(
            codes::UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            Some(data),
        ));
    }
    mirrored(request, header::METHOD, &message.method)?;
    let named = match message.method.as_ref() {
        method::TOOLS_CALL | "prompts/get" => params.get_str("name"),
        "resources/read" => params.get_str("uri"),
        _ => None,
    };
    if let Some(name) = &named {
        mirrored(request, header::NAME, name)?;
    }
    let log_level = match meta.get_str(method::META_LOG_LEVEL) {
        None => None,
        Some(level) => {
            let known = method::LOG_LEVELS.into_iter().find(|l| *l == level);
            Some(known.ok_or_else(|| invalid(&format!("logLevel is one of {}", method::LOG_LEVELS.join(", "))))?)
        }
    };
    Ok(Envelope {
        name: named.map(Cow::into_owned),
        meta: raw_meta,
        token: progress_token(&meta).map_err(|why| invalid(&why))?,
        log_level,
    })
}

/// A header must say what the body says (SEP-2243): whoever routes by the one must not be told another story.
fn mirrored(request: &HttpRequest, name: &str, body: &str) -> Result<(), String> {
    if request.local {
        return Ok(());
    }
    let raw = request.headers.get(name).map(|h| h.to_str().unwrap_or_default());
    match raw {
        Some(raw) if header::value(raw).as_deref() == Some(body) => Ok(()),
        _ => Err(mismatch(name, raw, Some(body))),
    }
}

/// The same for the arguments that the tool's schema wants mirrored.
fn arguments_mirrored(request: &HttpRequest, params: Option<&str>, wanted: &[header::Mirrored]) -> Result<(), String> {
    let params = params.unwrap_or("{}");
    let index = Index::new(params).map_err(|why| error_object(codes::INVALID_PARAMS, &why, None))?;
    for one in wanted {
        let raw = request.headers.get(&one.header).map(|h| h.to_str().unwrap_or_default());
        let argument = index.span(&one.pointer).map(|span| &params[span]);
        if !header::says(raw, argument) {
            return Err(mismatch(&one.header, raw, argument));
        }
    }
    Ok(())
}

fn mismatch(name: &str, header: Option<&str>, body: Option<&str>) -> String {
    let (header, body) = (header.unwrap_or("(missing)"), body.unwrap_or("(missing)"));
    error_object(
        codes::HEADER_MISMATCH,
        &format!("the header {name} does not say what the body says"),
        Some(json!({ "mismatch": { "name": name, "header": header, "body": body } })),
    )
}
