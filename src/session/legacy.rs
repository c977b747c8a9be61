//! The legacy era at the front: the messages of a session, alone or in the batches of 2025-03-26.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use http::StatusCode;
use serde_json::value::RawValue;

use super::events::Response;
use super::first_word::Told;
use super::legacy_call::Sender;
use super::legacy_reply::{self, Reading};
use super::lists::{self, Reader};
use super::store::Session;
use super::{Agents, accepted, accepts_events, at_once, error_object, refuse, unparsable};
use crate::catalog::Endpoint;
use crate::error::{CallError, Reason};
use crate::transport::{HttpReply, HttpRequest, Replying};
use crate::wire::message::Response as Answered;
use crate::wire::message::{text, write_response};
use crate::wire::{Era, Kind, Message, Notification, Object, RawJson, Request, RequestId, Version, codes, method};

/// Messages of one batch at most.
const MAX_BATCH: usize = 1000;

impl Agents {
    /// One legacy message.
    pub(super) fn serve_legacy(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        request: HttpRequest,
        body: &ByteString,
        message: Message<'_>,
    ) -> Replying {
        if let Message::Request(initialize) = &message
            && initialize.method == method::INITIALIZE
        {
            return self.initialize(endpoint, request, initialize);
        }
        let id = match &message {
            Message::Request(r) => r.id.as_raw(),
            _ => "null",
        };
        let session = match self.session(&endpoint, &request, id) {
            Ok(session) => session,
            Err(reply) => return at_once(*reply),
        };
        // What wants no answer starts nothing: whoever has no target yet has nobody to tell.
        if !matches!(message, Message::Request(_)) || !endpoint.look(|view| view.has_private) {
            return self.serve_in_session(&session, &endpoint, request, body, message);
        }
        let body = body.clone();
        Box::pin(async move {
            let endpoint = self.privates.endpoint(&session, &endpoint).await;
            match Message::parse(&body) {
                Ok(message) => {
                    self.serve_in_session(&session, &endpoint, request, &body, message)
                        .await
                }
                Err(error) => unparsable(&error),
            }
        })
    }

    /// One message of a session, at the endpoint as the session sees it.
    fn serve_in_session(
        self: Arc<Self>,
        session: &Arc<Session>,
        endpoint: &Arc<Endpoint>,
        mut request: HttpRequest,
        body: &ByteString,
        message: Message<'_>,
    ) -> Replying {
        match message {
            Message::Request(message) => {
                let streams = accepts_events(&request.headers);
                let sender = Sender::of(&mut request);
                let (response, told) = self.legacy_request(session, endpoint, sender, body, message, streams);
                let local = request.local;
                legacy_reply::reply(response, told, session, Reading { streams, local }, &self.listen)
            }
            Message::Notification(notification) => {
                legacy_notification(session, body, &notification);
                let own = session.own.backends();
                if own.is_empty() || !is_for_servers(&notification.method) {
                    return at_once(accepted());
                }
                let body = body.clone();
                Box::pin(async move {
                    for backend in own {
                        backend.tell(&body).await;
                    }
                    accepted()
                })
            }
            Message::Response(response) => {
                legacy_response(session, body, &response);
                at_once(accepted())
            }
        }
    }

    /// A batch: allowed in 2025-03-26 alone.
    pub(super) fn serve_batch(self: Arc<Self>, endpoint: Arc<Endpoint>, request: HttpRequest) -> Replying {
        let session = match self.session(&endpoint, &request, "null") {
            Ok(session) => session,
            Err(reply) => return at_once(*reply),
        };
        if session.version != Version::V20250326 {
            return at_once(no_batch());
        }
        Box::pin(async move {
            let endpoint = self.privates.endpoint(&session, &endpoint).await;
            self.batch_in_session(session, endpoint, request).await
        })
    }

    fn batch_in_session(
        self: Arc<Self>,
        session: Arc<Session>,
        endpoint: Arc<Endpoint>,
        mut request: HttpRequest,
    ) -> Replying {
        let body = match text(request.body.clone()) {
            Ok(body) => body,
            Err(error) => return at_once(unparsable(&error)),
        };
        let items: Vec<&RawValue> = match serde_json::from_str(&body) {
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
        let streams = accepts_events(&request.headers);
        let sender = Sender::of(&mut request);
        let mut responses: Vec<Response> = Vec::new();
        for item in items {
            match Message::parse(item.get()) {
                Ok(Message::Request(message)) => {
                    let sender = sender.clone();
                    responses.push(
                        self.legacy_request(&session, &endpoint, sender, &body, message, false)
                            .0,
                    );
                }
                Ok(Message::Notification(notification)) => legacy_notification(&session, &body, &notification),
                Ok(Message::Response(response)) => legacy_response(&session, &body, &response),
                Err(error) => {
                    let HttpReply::Json { body, .. } = unparsable(&error) else {
                        continue;
                    };
                    responses.push(Box::pin(
                        async move { String::from_utf8_lossy(&body).into_owned().into() },
                    ));
                }
            }
        }
        if responses.is_empty() {
            return at_once(accepted());
        }
        let all: Response = Box::pin(async move {
            let all = futures_util::future::join_all(responses).await;
            let texts: Vec<String> = all.into_iter().map(|body| body.text).collect();
            format!("[{}]", texts.join(",")).into()
        });
        let reading = Reading {
            streams,
            local: request.local,
        };
        legacy_reply::reply(all, None, &session, reading, &self.listen)
    }

    /// A request of a session: its response as it becomes ready, and the notifications before it.
    fn legacy_request(
        self: &Arc<Self>,
        session: &Arc<Session>,
        endpoint: &Arc<Endpoint>,
        sender: Sender,
        body: &ByteString,
        message: Request<'_>,
        streams: bool,
    ) -> (Response, Option<Told>) {
        if message.method == method::TOOLS_CALL {
            return self.legacy_call(session, endpoint, sender, body, message, streams);
        }
        let id = message.id.as_raw().to_owned();
        let ready = |outcome: Result<&str, &str>| -> (Response, Option<Told>) {
            let response = write_response(&id, outcome);
            (Box::pin(std::future::ready(response.into())), None)
        };
        match message.method.as_ref() {
            method::PING => ready(Ok("{}")),
            // What is said to the router alone, or asks for nothing: a server that agents share must not hear it from one.
            unfit if method::is_no_request(unfit) => {
                let error = CallError::from(Reason::MethodNotFound(unfit.to_owned()));
                ready(Err(&error.to_wire()))
            }
            method::SET_LEVEL => match wanted_level(message.params) {
                Ok(rank) => {
                    session.level.store(rank, Ordering::Relaxed);
                    session.level_asked.store(true, Ordering::Relaxed);
                    let endpoint = Arc::clone(endpoint);
                    let response = async move {
                        // Told before the answer: a call that the agent makes next is logged as it asked.
                        want_level(&endpoint, rank).await;
                        write_response(&id, Ok("{}")).into()
                    };
                    (Box::pin(response), None)
                }
                Err(why) => ready(Err(&error_object(codes::INVALID_PARAMS, &why, None))),
            },
            // Other agents may want to hear of it still: what the server is told is the backend's matter.
            method::UNSUBSCRIBE => match Object::parse(message.params.unwrap_or("{}")) {
                Ok(params) => {
                    session.unsubscribe(&params.get_str("uri").unwrap_or_default());
                    ready(Ok("{}"))
                }
                Err(e) => ready(Err(&error_object(codes::INVALID_PARAMS, &e.to_string(), None))),
            },
            other => match Kind::listed_by(other) {
                Some(kind) => (self.legacy_list(session, endpoint, kind, id, message.params), None),
                None => self.legacy_call(session, endpoint, sender, body, message, streams),
            },
        }
    }

    fn legacy_list(
        self: &Arc<Self>,
        session: &Arc<Session>,
        endpoint: &Arc<Endpoint>,
        kind: Kind,
        id: String,
        params: Option<&str>,
    ) -> Response {
        let (agents, session, endpoint) = (Arc::clone(self), Arc::clone(session), Arc::clone(endpoint));
        let cursor = lists::cursor(params);
        let reader = Reader {
            era: Era::Legacy,
            agent: Some(session.key()),
            principal: session.principal.clone(),
        };
        Box::pin(async move {
            let position = kind.topic().position();
            let version = *endpoint.version(kind.topic()).borrow();
            let listed = agents.list(&endpoint, kind, cursor, &reader).await;
            session.known_lists[position].fetch_max(version, Ordering::Relaxed);
            write_response(&id, listed.as_deref().map_err(String::as_str)).into()
        })
    }
}

/// For batches in any version but one.
pub(super) fn no_batch() -> HttpReply {
    let why = "batches belong to protocol version 2025-03-26 alone";
    refuse(StatusCode::BAD_REQUEST, codes::INVALID_REQUEST, why)
}

/// The rank that `logging/setLevel` asks for.
fn wanted_level(params: Option<&str>) -> Result<u8, String> {
    let params = Object::parse(params.unwrap_or("{}")).map_err(|e| e.to_string())?;
    let level = params.get_str("level").ok_or("level is missing")?;
    method::log_rank(&level).ok_or_else(|| format!("level is one of {}", method::LOG_LEVELS.join(", ")))
}

/// Lets the backends of an endpoint know that somebody wants log messages from `rank` on.
pub(super) async fn want_level(endpoint: &Endpoint, rank: u8) {
    for backend in &endpoint.view().backends {
        backend.want_level(rank).await;
    }
}

/// An answer of the agent to a request of a server.
fn legacy_response(session: &Session, body: &ByteString, response: &Answered<'_>) {
    if let Some(id) = &response.id {
        let raw = |text| RawJson::slice_of(body, text);
        session.asking.answered(id, response.outcome.map(raw).map_err(raw));
    }
}

/// What an agent says to its servers, and not to the router.
fn is_for_servers(method: &str) -> bool {
    !matches!(method, method::CANCELLED | method::PROGRESS | method::INITIALIZED)
}

fn legacy_notification(session: &Session, body: &ByteString, notification: &Notification<'_>) {
    if notification.method == method::ROOTS_CHANGED
        && let Some(roots) = &session.roots
    {
        roots.changed();
    }
    let Some(params) = notification.params else { return };
    match notification.method.as_ref() {
        method::CANCELLED => {
            let params = Object::parse(params).unwrap_or_default();
            if let Some(id) = params.get("requestId").and_then(RequestId::from_raw) {
                session.cancel(&id);
            }
        }
        method::PROGRESS => session.asking.progressed(&RawJson::slice_of(body, params)),
        // `initialized` says nothing that the router waits for.
        _ => {}
    }
}
