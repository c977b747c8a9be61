//! The modern era at the front: stateless requests.

use std::sync::Arc;

use bytestring::ByteString;
use http::StatusCode;

use super::envelope::envelope;
use super::lists::{self, Reader};
use super::{Agents, accepted, accepts_events, answer, at_once, events, json_reply, refuse};
use crate::catalog::{Endpoint, View};
use crate::error::{CallError, Reason};
use crate::transport::{HttpRequest, Replying};
use crate::wire::json::quote;
use crate::wire::message::write_response;
use crate::wire::{Era, Kind, Message, Object, Version, codes, method};

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
        let streams = accepts_events(&request.headers);
        match message.method.as_ref() {
            method::DISCOVER => {
                let agents = Arc::clone(&self);
                let response = async move {
                    let view = agents.settled(&endpoint, &[Kind::Tools]).await;
                    write_response(&id, Ok(&discovered(&view))).into()
                };
                events::reply(Box::pin(response), None, streams, &self.listen)
            }
            method::LISTEN => self.listen(endpoint, &message),
            other if method::is_legacy_only(other) || other.starts_with("notifications/") => {
                let error = CallError::from(Reason::MethodNotFound(other.to_owned())).to_wire();
                at_once(json_reply(StatusCode::NOT_FOUND, write_response(&id, Err(&error))))
            }
            other => match Kind::listed_by(other) {
                Some(kind) => {
                    let agents = Arc::clone(&self);
                    let cursor = lists::cursor(message.params);
                    let reader = Reader {
                        era: Era::Modern,
                        // Lists do not vary from connection to connection, and neither do their pages.
                        agent: None,
                        principal: request.principal,
                    };
                    let response = async move {
                        let listed = agents.list(&endpoint, kind, cursor, &reader).await;
                        write_response(&id, listed.as_deref().map_err(String::as_str)).into()
                    };
                    events::reply(Box::pin(response), None, streams, &self.listen)
                }
                None => self.modern_call(endpoint, request, body, &message, envelope),
            },
        }
    }
}

/// The result of `server/discover`.
fn discovered(view: &View) -> String {
    let mut result = Object::default();
    result.set("resultType", "\"complete\"");
    result.set(
        "supportedVersions",
        format!("[{}]", quote(Version::NEWEST_MODERN.as_str())),
    );
    result.set("capabilities", view.capabilities(Era::Modern));
    if let Some(instructions) = view.instructions() {
        result.set("instructions", instructions);
    }
    result.set("ttlMs", "0");
    result.set("cacheScope", "\"private\"");
    result.set("_meta", answer::server_meta().to_string());
    result.to_text()
}
