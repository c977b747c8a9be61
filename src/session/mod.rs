//! Agents: which era a request is in, legacy sessions, and how answers go back.

mod answer;
mod asking;
mod conversation;
mod envelope;
mod events;
mod first_word;
mod input;
mod legacy;
mod legacy_call;
mod legacy_reply;
mod lifecycle;
mod listen;
mod listener;
mod lists;
mod modern;
mod modern_call;
mod notes;
mod own_tools;
mod parking;
mod private;
mod ring;
mod room;
mod roots;
mod seen;
mod states;
mod store;
mod stream;
mod streams;
mod subscribing;
mod tasks;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use self::parking::Parking;
use self::private::Privates;
use self::store::Store;
use crate::backend::Backend;
use crate::call::Params;
use crate::config;
use crate::process::Spawner;
use crate::router::Router;
use crate::seal::Sealer;
use crate::transport::{HttpReply, HttpRequest, Replying};
use crate::wire::era::looks_modern;
use crate::wire::message::{is_batch, text, write_response};
use crate::wire::{Message, Object, ParseError, RawJson, RequestId, codes, header, method};

/// Looked up in every request: as names, they are not parsed each time.
static VERSION: HeaderName = HeaderName::from_static(header::VERSION);
static SESSION: HeaderName = HeaderName::from_static(header::SESSION);
static LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");

/// What all agents of the router share.
pub struct Agents {
    router: Arc<Router>,
    sessions: Arc<Store>,
    listen: config::Listen,
    list_wait: std::time::Duration,
    calls: AtomicU64,
    running: watch::Sender<bool>,
    sealer: Sealer,
    parking: Arc<Parking>,
    /// A number that no other process has: incarnations are counted by one process alone.
    process: u64,
    privates: Privates,
    answer_wait: std::time::Duration,
}

impl Agents {
    /// The front of `router`. What agents are given to bring back is sealed by `sealer`.
    /// Targets of single sessions are started by `spawner`.
    pub fn new(router: Arc<Router>, config: &config::Config, sealer: Sealer, spawner: Arc<dyn Spawner>) -> Arc<Self> {
        Arc::new(Self {
            router,
            sessions: Store::new(config.sessions.clone()),
            listen: config.listen.clone(),
            list_wait: config.router.list_wait,
            calls: AtomicU64::new(1),
            running: watch::Sender::new(true),
            sealer,
            parking: Parking::new(config.sessions.parked),
            process: process_number(),
            privates: Privates::new(spawner),
            answer_wait: config.sessions.answer_wait,
        })
    }

    /// Legacy sessions now.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The backends that single sessions have for themselves.
    pub fn private_backends(&self) -> Vec<Arc<Backend>> {
        self.privates.backends()
    }

    /// Ends the long streams, as a router that shuts down does.
    pub fn end_streams(&self) {
        self.running.send_replace(false);
    }

    /// Answers one HTTP request. Dropping the future is the client's disconnect.
    ///
    /// What needs no waiting is done at once, so that the future holds no more than the wait itself.
    pub fn serve(self: Arc<Self>, request: HttpRequest) -> Replying {
        let Some(endpoint) = self.router.endpoint(&request.endpoint) else {
            let endpoints = self.router.endpoints();
            let names: Vec<String> = endpoints
                .keys()
                .map(|n| {
                    if n.is_empty() {
                        "/mcp".to_owned()
                    } else {
                        format!("/mcp/{n}")
                    }
                })
                .collect();
            return at_once(refuse(
                StatusCode::NOT_FOUND,
                codes::INVALID_REQUEST,
                &format!("no endpoint /mcp/{}; there are {}", request.endpoint, names.join(", ")),
            ));
        };
        let version = request
            .headers
            .get(&VERSION)
            .and_then(|v| v.to_str().ok())
            .map(str::trim);
        let says_modern = version.is_some_and(looks_modern);
        match request.method {
            Method::POST => {}
            Method::GET if !says_modern => return self.open_stream(endpoint, request),
            Method::DELETE if !says_modern => return at_once(self.end_session(&endpoint, &request)),
            _ => return at_once(with_allow()),
        }
        if is_batch(&request.body) {
            return match says_modern {
                true => at_once(legacy::no_batch()),
                false => self.serve_batch(endpoint, request),
            };
        }
        let body = match text(request.body.clone()) {
            Ok(body) => body,
            Err(error) => return at_once(unparsable(&error)),
        };
        let message = match Message::parse(&body) {
            Ok(message) => message,
            Err(error) => return at_once(unparsable(&error)),
        };
        if says_modern || (request.headers.get(&SESSION).is_none() && claims_modern(&message)) {
            self.serve_modern(endpoint, request, &body, message)
        } else {
            self.serve_legacy(endpoint, request, &body, message)
        }
    }

    fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }
}

/// A number for this process. Without randomness it is the time.
fn process_number() -> u64 {
    let mut random = [0_u8; 8];
    if getrandom::fill(&mut random).is_err() {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        return u64::try_from(now.as_nanos() & u128::from(u64::MAX)).unwrap_or(1);
    }
    u64::from_be_bytes(random)
}

/// True for a message whose `_meta` names a protocol version, as only modern ones do.
fn claims_modern(message: &Message<'_>) -> bool {
    let params = match message {
        Message::Request(request) => request.params,
        Message::Notification(notification) => notification.params,
        Message::Response(_) => None,
    };
    let Some(params) = params.filter(|p| memchr::memmem::find(p.as_bytes(), method::META_VERSION.as_bytes()).is_some())
    else {
        return false;
    };
    Object::parse(params)
        .ok()
        .and_then(|p| {
            p.get("_meta")
                .and_then(|m| Object::parse(m).ok().map(|m| m.get(method::META_VERSION).is_some()))
        })
        .unwrap_or(false)
}

/// Bytes of a progress token at most: every notification repeats it.
const MAX_TOKEN: usize = 1024;

/// The progress token in the `_meta` of a request, as it was written.
fn progress_token(meta: &Object<'_>) -> Result<Option<String>, String> {
    match meta.get(method::META_PROGRESS) {
        None | Some("null") => Ok(None),
        Some(token) if token.len() <= MAX_TOKEN && RequestId::from_raw(token).is_some() => Ok(Some(token.to_owned())),
        Some(_) => Err(format!(
            "progressToken is a string or a number, of {MAX_TOKEN} bytes at most"
        )),
    }
}

/// The error object of the protocol's own errors.
fn error_object(code: i64, message: &str, data: Option<serde_json::Value>) -> String {
    let mut error = json!({ "code": code, "message": message });
    if let Some(data) = data {
        error["data"] = data;
    }
    error.to_string()
}

fn json_reply(status: StatusCode, body: String) -> HttpReply {
    HttpReply::Json {
        status,
        headers: HeaderMap::new(),
        body: body.into(),
    }
}

/// An HTTP error for a request that has no id, or whose id is not known.
fn refuse(status: StatusCode, code: i64, message: &str) -> HttpReply {
    json_reply(status, write_response("null", Err(&error_object(code, message, None))))
}

/// A reply that needs no waiting.
fn at_once(reply: HttpReply) -> Replying {
    Box::pin(std::future::ready(reply))
}

fn accepted() -> HttpReply {
    HttpReply::Empty {
        status: StatusCode::ACCEPTED,
        headers: HeaderMap::new(),
    }
}

fn with_allow() -> HttpReply {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("allow"), HeaderValue::from_static("POST"));
    HttpReply::Empty {
        status: StatusCode::METHOD_NOT_ALLOWED,
        headers,
    }
}

fn unparsable(error: &ParseError) -> HttpReply {
    let code = if error.not_json {
        codes::PARSE_ERROR
    } else {
        codes::INVALID_REQUEST
    };
    let id = error.id.as_ref().map_or("null", |id| id.as_raw());
    json_reply(
        StatusCode::BAD_REQUEST,
        write_response(id, Err(&error_object(code, &error.reason, None))),
    )
}

/// The name of a method, without a copy of those that calls have most.
fn method_name(name: &str) -> Cow<'static, str> {
    let common = [
        method::TOOLS_CALL,
        method::PROMPTS_GET,
        method::RESOURCES_READ,
        method::COMPLETE,
    ];
    let common = common.into_iter().find(|m| *m == name);
    common.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}

/// The params of a call as shared bytes of its body. `meta` is their `_meta`.
fn params_of(body: &ByteString, params: Option<&str>, meta: Option<&str>) -> Params {
    let raw = params.map_or_else(|| RawJson::from("{}".to_owned()), |p| RawJson::slice_of(body, p));
    Params::new(raw, meta.map(|meta| RawJson::slice_of(body, meta)))
}

/// Whether the client reads event streams.
fn accepts_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|v| v.contains("text/event-stream") || v.contains("*/*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tokens_are_short_strings_or_numbers() {
        let long = format!("\"{}\"", "t".repeat(MAX_TOKEN));
        for (token, taken) in [
            ("\"t\"", Ok(Some("\"t\""))),
            ("7", Ok(Some("7"))),
            ("null", Ok(None)),
            ("{}", Err(())),
            ("true", Err(())),
            (long.as_str(), Err(())),
        ] {
            let meta = format!("{{\"progressToken\":{token}}}");
            let found = progress_token(&Object::parse(&meta).unwrap()).map_err(drop);
            assert_eq!(found.as_ref().map(Option::as_deref), taken.as_ref().copied(), "{token}");
        }
        assert_eq!(progress_token(&Object::default()), Ok(None));
    }
}
