//! The life of a legacy session: `initialize`, the session that a request names, its own stream, its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::events::{self, Followed, Long, Others};
use super::legacy_reply::{self, Times};
use super::store::Session;
use super::stream::Start;
use super::streams::Resumed;
use super::{Agents, LAST_EVENT, SESSION, VERSION, answer, at_once, error_object, refuse, room};
use crate::call::{Introduction, Principal};
use crate::catalog::{Endpoint, View};
use crate::transport::{HttpReply, HttpRequest, Replying};
use crate::wire::json::quote;
use crate::wire::message::{write_request, write_response};
use crate::wire::{Era, Kind, Object, RawJson, Request, Topic, Version, codes};

/// Bytes of an `initialize` that are kept at most, for they are kept as long as the session.
const MAX_INTRODUCTION: usize = 64 * 1024;

impl Agents {
    /// GET: the session's own stream, or the rest of any, where the agent names the last event that it has.
    ///
    /// Nothing left is 405, which the official SDKs take for the end of it; a stream that is not known is 400, for 404
    /// would say that the session is over (2025-11-25, "Session Management").
    pub(super) fn open_stream(self: Arc<Self>, endpoint: Arc<Endpoint>, request: HttpRequest) -> Replying {
        if request.headers.get(&SESSION).is_none() {
            return at_once(super::with_allow());
        }
        let session = match self.session(&endpoint, &request, "null") {
            Ok(session) => session,
            Err(reply) => return at_once(*reply),
        };
        let last = request.headers.get(&LAST_EVENT).map(HeaderValue::as_bytes);
        let last = last.map(String::from_utf8_lossy).filter(|last| !last.is_empty());
        let start = match last.map(|last| session.streams.resume(&last)) {
            None => Start::Unread,
            Some(Resumed::Own(start)) => start,
            Some(Resumed::Call(reader)) => {
                let times = Times::of(&session, request.local, &self.listen);
                return at_once(legacy_reply::connection(reader, &times));
            }
            Some(Resumed::Over) => return at_once(super::with_allow()),
            Some(Resumed::Unknown) => {
                let why = "no event of this session has this Last-Event-ID, or its stream waited too long";
                return at_once(refuse(StatusCode::BAD_REQUEST, codes::INVALID_REQUEST, why));
            }
        };
        Box::pin(async move {
            let own = self.privates.endpoint(&session, &endpoint).await;
            self.stream_of(session, &own, start, request.local)
        })
    }

    fn stream_of(&self, session: Arc<Session>, endpoint: &Arc<Endpoint>, start: Start, local: bool) -> HttpReply {
        let reader = session.streams.read_own(start);
        let times = Times::of(&session, local, &self.listen);
        let long = Long {
            first: times.first(&reader, "open"),
            lists: session
                .topics
                .iter()
                .map(|&topic| {
                    let known = session.known_lists[topic.position()].load(Ordering::Relaxed);
                    let changed = write_request(None, topic.changed(), None);
                    Followed::new(endpoint, topic, known, changed)
                })
                .collect(),
            last: None,
            running: self.running.subscribe(),
            others: Others::Session(session, reader),
            subscriptions: Vec::new(),
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
            // To anybody else it is as if it were not there.
            Some(session) if session.endpoint == endpoint.name && is_same(&session.principal, &request.principal) => {
                Ok(session)
            }
            _ => Err(refusal(
                StatusCode::NOT_FOUND,
                "session not found: send initialize again",
            )),
        }
    }

    /// `initialize`: opens a session, and says what the backends of the endpoint have together.
    pub(super) fn initialize(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        request: HttpRequest,
        message: &Request<'_>,
    ) -> Replying {
        let id = message.id.clone();
        let principal = request.principal;
        let (version, introduction) = match introduction(&request.headers, message.params) {
            Ok(both) => both,
            Err(why) => {
                let error = error_object(codes::INVALID_PARAMS, why, None);
                return at_once(answer::ok(write_response(id.as_raw(), Err(&error))));
            }
        };
        Box::pin(async move {
            let view = self.settled(&endpoint, &[Kind::Tools]).await;
            self.open_session(id.as_raw(), version, &endpoint, &view, (introduction, principal))
        })
    }

    fn open_session(
        &self,
        id: &str,
        version: Version,
        endpoint: &Endpoint,
        view: &View,
        (introduction, principal): (Introduction, Option<Arc<Principal>>),
    ) -> HttpReply {
        let client = introduction.client.clone();
        let capabilities = view.capabilities(Era::Legacy);
        let topics = declared(&capabilities);
        let Some((secret, session)) = self.sessions.open(version, endpoint, topics, introduction, principal) else {
            let error = error_object(codes::INTERNAL_ERROR, "too many sessions are open", None);
            return super::json_reply(StatusCode::SERVICE_UNAVAILABLE, write_response(id, Err(&error)));
        };
        let client = client.as_ref().map_or("?", |c| c.as_str());
        tracing::debug!(session = session.number, %version, client, "session opened");
        let mut result = Object::default();
        result.set("protocolVersion", quote(version.as_str()));
        result.set("capabilities", capabilities);
        result.set("serverInfo", answer::server_info().to_string());
        if let Some(instructions) = view.instructions() {
            result.set("instructions", instructions);
        }
        let mut headers = HeaderMap::new();
        if let Ok(secret) = HeaderValue::from_str(&secret) {
            headers.insert(&SESSION, secret);
        }
        HttpReply::Json {
            status: StatusCode::OK,
            headers,
            body: write_response(id, Ok(&result.to_text())).into(),
        }
    }
}

/// The lists that an agent was told of, whose changes it may hear of.
fn declared(capabilities: &str) -> Vec<Topic> {
    let capabilities = Object::parse(capabilities).unwrap_or_default();
    let declared = Topic::ALL.into_iter();
    declared
        .filter(|topic| capabilities.get(topic.capability()).is_some())
        .collect()
}

/// Whether a request is from whom the session belongs to.
fn is_same(owner: &Option<Arc<Principal>>, other: &Option<Arc<Principal>>) -> bool {
    owner.as_ref().map(|p| p.key()) == other.as_ref().map(|p| p.key())
}

/// What an `initialize` says; an error is what is wrong with it.
fn introduction(headers: &HeaderMap, params: Option<&str>) -> Result<(Version, Introduction), &'static str> {
    let params = Object::parse(params.unwrap_or("{}")).map_err(|_| "the params are wrong")?;
    let asked = params.get_str("protocolVersion").ok_or("protocolVersion is missing")?;
    // A client that asks for a version unknown here is offered the newest; it decides whether to go on.
    let version = Version::parse(&asked)
        .filter(|v| v.era() == Era::Legacy && *v != Version::V20241105)
        .unwrap_or(Version::NEWEST_LEGACY);
    let kept = ["_meta", "clientInfo", "capabilities"].map(|key| params.get(key).map_or(0, str::len));
    if kept.iter().sum::<usize>() + room::of_headers(headers) > MAX_INTRODUCTION {
        return Err("headers, _meta, clientInfo and capabilities are longer than 64 KiB together");
    }
    let raw = |key: &str| params.get(key).map(|v| RawJson::from(v.to_owned()));
    let introduction = Introduction {
        headers: room::owned(headers),
        meta: raw("_meta"),
        client: raw("clientInfo"),
        capabilities: raw("capabilities"),
        ..Introduction::default()
    };
    Ok((version, introduction))
}
