//! The long stream of the modern era: `subscriptions/listen`.

use std::sync::Arc;

use http::StatusCode;

use super::events::{self, Followed, Long};
use super::{Agents, error_object, json_reply};
use crate::catalog::Endpoint;
use crate::transport::{HttpReply, sse};
use crate::wire::message::{write_request, write_response};
use crate::wire::{Object, Request, Topic, codes, method};

impl Agents {
    /// The long stream of list changes. Its first message says what was granted; every message carries the id
    /// of the request that opened it.
    pub(super) fn listen(&self, endpoint: &Arc<Endpoint>, message: &Request<'_>) -> HttpReply {
        let id = message.id.as_raw();
        let params = message.params.and_then(|p| Object::parse(p).ok()).unwrap_or_default();
        let Some(wanted) = params.get("notifications").and_then(|n| Object::parse(n).ok()) else {
            let error = error_object(codes::INVALID_PARAMS, "notifications is missing", None);
            return json_reply(StatusCode::BAD_REQUEST, write_response(id, Err(&error)));
        };
        let tag = format!("\"_meta\":{{\"{}\":{id}}}", method::META_SUBSCRIPTION);
        let mut granted = Object::default();
        let mut lists = Vec::new();
        for topic in Topic::ALL {
            if wanted.get(topic.listen_key()) != Some("true") {
                continue;
            }
            granted.set(topic.listen_key(), "true");
            let known = *endpoint.version(topic).borrow();
            let changed = write_request(None, topic.changed(), Some(&format!("{{{tag}}}")));
            lists.push(Followed::new(endpoint, topic, known, sse::event(&changed)));
        }
        let acknowledged = write_request(
            None,
            method::LISTEN_ACKNOWLEDGED,
            Some(&format!("{{\"notifications\":{},{tag}}}", granted.to_text())),
        );
        let ended = format!("{{\"resultType\":\"complete\",{tag}}}");
        let long = Long {
            first: sse::event(&acknowledged),
            lists,
            last: Some(sse::event(&write_response(id, Ok(&ended)))),
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
