//! The legacy era at the front: sessions, `initialize`, batches of 2025-03-26, the GET stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::events::{self, Long, Response};
use super::listener::{CallListener, SessionListener};
use super::store::Session;
use super::{
    Agents, SESSION, VERSION, accepted, accepts_events, answer, at_once, error_object, params_of, refuse, unparsable,
};
use crate::call::{Call, Introduction, Parts};
use crate::catalog::Endpoint;
use crate::error::{CallError, Reason};
use crate::router::{Incoming, Listener};
use crate::transport::{HttpReply, HttpRequest, Replying, sse};
use crate::wire::message::write_response;
use crate::wire::{Era, Message, Notification, Object, RawJson, Request, RequestId, Version, codes, method};

/// Messages of one batch at most.
const MAX_BATCH: usize = 1000;

impl Agents {
    /// One legacy message.
    pub(super) fn serve_legacy(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        mut request: HttpRequest,
        message: Message<'_>,
    ) -> Replying {
        if let Message::Request(initialize) = &message
            && initialize.method == method::INITIALIZE
        {
            return at_once(self.initialize(endpoint, &request, initialize));
        }
        let id = match &message {
            Message::Request(r) => r.id.as_raw(),
            _ => "null",
        };
        let session = match self.session(&endpoint, &request, id) {
            Ok(session) => session,
            Err(reply) => return at_once(*reply),
        };
        match message {
            Message::Request(message) => {
                let streams = accepts_events(&request.headers);
                let headers = std::mem::take(&mut request.headers);
                let (response, notes) = self.legacy_request(&session, headers, &request.body, message, streams);
                events::reply(response, notes, true, streams, &self.listen)
            }
            Message::Notification(notification) => {
                legacy_notification(&session, &notification);
                at_once(accepted())
            }
            // The router asks legacy agents nothing, so nothing waits for an answer.
            Message::Response(_) => at_once(accepted()),
        }
    }

    /// A batch: allowed in 2025-03-26 alone.
    pub(super) fn serve_batch(self: Arc<Self>, endpoint: Arc<Endpoint>, request: HttpRequest) -> Replying {
        let session = match self.session(&endpoint, &request, "null") {
            Ok(session) => session,
            Err(reply) => return at_once(*reply),
        };
        if session.version != Version::V20250326 {
            return at_once(refuse(
                StatusCode::BAD_REQUEST,
                codes::INVALID_REQUEST,
                "batches belong to protocol version 2025-03-26 alone",
            ));
        }
        let items: Vec<&RawValue> = match serde_json::from_slice(&request.body) {
            Ok(items) => items,
            Err(e) => {
                return at_once(refuse(
                    StatusCode::BAD_REQUEST,
                    codes::PARSE_ERROR,
                    &format!("the batch is not JSON: {e}"),
                ));
            }
        };
        if items.is_empty() || items.len() > MAX_BATCH {
            return at_once(refuse(
                StatusCode::BAD_REQUEST,
                codes::INVALID_REQUEST,
                &format!("a batch has 1 to {MAX_BATCH} messages"),
            ));
        }
        let mut responses: Vec<Response> = Vec::new();
        for item in items {
            match Message::parse(item.get().as_bytes()) {
                Ok(Message::Request(message)) => {
                    let headers = request.headers.clone();
                    responses.push(self.legacy_request(&session, headers, &request.body, message, false).0);
                }
                Ok(Message::Notification(notification)) => legacy_notification(&session, &notification),
                Ok(Message::Response(_)) => {}
                Err(error) => {
                    let HttpReply::Json { body, .. } = unparsable(&error) else {
                        continue;
                    };
                    responses.push(Box::pin(async move { String::from_utf8_lossy(&body).into_owned() }));
                }
            }
        }
        if responses.is_empty() {
            return at_once(accepted());
        }
        let all: Response =
            Box::pin(async move { format!("[{}]", futures_util::future::join_all(responses).await.join(",")) });
        events::reply(all, None, true, accepts_events(&request.headers), &self.listen)
    }

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
            events: events::long_stream(long, 16),
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
    fn session(
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
            Some(session) if session.endpoint.name == endpoint.name => Ok(session),
            _ => Err(refusal(
                StatusCode::NOT_FOUND,
                "session not found: send initialize again",
            )),
        }
    }

    fn initialize(&self, endpoint: Arc<Endpoint>, request: &HttpRequest, message: &Request<'_>) -> HttpReply {
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

    /// A request of a session: its response as it becomes ready, and the notifications before it.
    fn legacy_request(
        self: &Arc<Self>,
        session: &Arc<Session>,
        headers: HeaderMap,
        body: &Bytes,
        message: Request<'_>,
        streams: bool,
    ) -> (Response, Option<mpsc::Receiver<Bytes>>) {
        if message.method == method::TOOLS_CALL {
            return self.legacy_call(session, headers, body, message, streams);
        }
        let id = message.id.as_raw().to_owned();
        let ready = |outcome: Result<&str, &str>| -> (Response, Option<mpsc::Receiver<Bytes>>) {
            let response = write_response(&id, outcome);
            (Box::pin(std::future::ready(response)), None)
        };
        match message.method.as_ref() {
            method::PING => ready(Ok("{}")),
            method::SET_LEVEL => match self.set_level(session, message.params) {
                Ok(()) => ready(Ok("{}")),
                Err(why) => ready(Err(&error_object(codes::INVALID_PARAMS, &why, None))),
            },
            method::TOOLS_LIST => {
                if message
                    .params
                    .and_then(|p| Object::parse(p).ok())
                    .is_some_and(|p| p.get("cursor").is_some())
                {
                    return ready(Err(&error_object(
                        codes::INVALID_PARAMS,
                        "there is no such cursor: the list has one page",
                        None,
                    )));
                }
                let (agents, session) = (Arc::clone(self), Arc::clone(session));
                let response = async move {
                    let version = *session.endpoint.version().borrow();
                    let tools = agents.tools(&session.endpoint).await;
                    session.known_list.fetch_max(version, Ordering::Relaxed);
                    write_response(&id, Ok(&answer::tool_list(&tools, Era::Legacy)))
                };
                (Box::pin(response), None)
            }
            other => ready(Err(&CallError::from(Reason::MethodNotFound(other.to_owned())).to_wire())),
        }
    }

    fn legacy_call(
        self: &Arc<Self>,
        session: &Arc<Session>,
        headers: HeaderMap,
        body: &Bytes,
        message: Request<'_>,
        streams: bool,
    ) -> (Response, Option<mpsc::Receiver<Bytes>>) {
        let id = message.id.as_raw().to_owned();
        let failed = |error: CallError| -> (Response, Option<mpsc::Receiver<Bytes>>) {
            (
                Box::pin(std::future::ready(write_response(&id, Err(&error.to_wire())))),
                None,
            )
        };
        let params = match Object::parse(message.params.unwrap_or("{}")) {
            Ok(params) => params,
            Err(e) => return failed(Reason::InvalidParams(e.to_string()).into()),
        };
        let Some(name) = params.get_str("name") else {
            return failed(Reason::InvalidParams("name is missing".into()).into());
        };
        let token = match params.get("_meta").map(Object::parse) {
            Some(Err(e)) => return failed(Reason::InvalidParams(format!("_meta: {e}")).into()),
            Some(Ok(meta)) => meta.get(method::META_PROGRESS).map(str::to_owned),
            None => None,
        };
        let Some(mut running) = session.begin(&message.id, self.sessions.max_requests()) else {
            return failed(
                Reason::InvalidParams("a request with this id is still running, or too many are".into()).into(),
            );
        };
        let (listener, notes): (Arc<dyn Listener>, _) = match &token {
            Some(token) if streams => {
                let (sender, receiver) = mpsc::channel(self.listen.stream_capacity.max(1));
                let level = Some(session.level.load(Ordering::Relaxed));
                (
                    Arc::new(CallListener::new(sender, Some(token.clone()), level)),
                    Some(receiver),
                )
            }
            _ => (Arc::new(SessionListener(Arc::clone(session))), None),
        };
        let level_asked = session.level_asked.load(Ordering::Relaxed);
        let level = method::LOG_LEVELS
            .get(usize::from(session.level.load(Ordering::Relaxed)))
            .copied();
        let call = Call::from(Parts {
            id: self.next_call(),
            method: message.method.into_owned(),
            name: Some(name.into_owned()),
            endpoint: Arc::clone(&session.endpoint.name),
            path_backend: session.endpoint.backend.clone(),
            agent: session.key(),
            era: Era::Legacy,
            headers,
            initialize: Some(Arc::clone(&session.introduction)),
            params: params_of(body, message.params),
        });
        let incoming = Incoming {
            call: Arc::new(call),
            endpoint: Arc::clone(&session.endpoint),
            progress: notes.is_some(),
            listener: Some(listener),
            log_level: level.filter(|_| level_asked),
        };
        let agents = Arc::clone(self);
        let response = async move {
            let outcome = tokio::select! {
                biased;
                Ok(()) = &mut running.cancelled => Err(Reason::Cancelled.into()),
                outcome = agents.router.call(&incoming) => outcome,
            };
            let errors = incoming.endpoint.view().settings.errors;
            answer::respond(&id, Era::Legacy, &incoming.call.method, errors, outcome)
        };
        (Box::pin(response), notes)
    }

    fn set_level(self: &Arc<Self>, session: &Arc<Session>, params: Option<&str>) -> Result<(), String> {
        let params = Object::parse(params.unwrap_or("{}")).map_err(|e| e.to_string())?;
        let level = params.get_str("level").ok_or("level is missing")?;
        let rank =
            method::log_rank(&level).ok_or_else(|| format!("level is one of {}", method::LOG_LEVELS.join(", ")))?;
        session.level.store(rank, Ordering::Relaxed);
        session.level_asked.store(true, Ordering::Relaxed);
        self.want_level(&session.endpoint, rank);
        Ok(())
    }

    /// Lets the backends of an endpoint know that somebody wants log messages from `rank` on.
    pub(super) fn want_level(self: &Arc<Self>, endpoint: &Endpoint, rank: u8) {
        let backends = endpoint.view().backends.clone();
        tokio::spawn(async move {
            for backend in backends {
                backend.want_level(rank).await;
            }
        });
    }
}

fn legacy_notification(session: &Session, notification: &Notification<'_>) {
    if notification.method != method::CANCELLED {
        // `initialized` says nothing that the router waits for; the others are not relayed yet.
        return;
    }
    let Some(params) = notification.params.and_then(|p| Object::parse(p).ok()) else {
        return;
    };
    if let Some(id) = params.get("requestId").and_then(RequestId::from_raw) {
        session.cancel(&id);
    }
}
