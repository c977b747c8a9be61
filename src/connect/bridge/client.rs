//! What the client says.

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::session::Legacy;
use super::{Asked, Bridge, Effect, Kind, Mirror, words};
use crate::error::{Bound, Reason};
use crate::wire::era::looks_modern;
use crate::wire::message::{is_batch, text};
use crate::wire::{Message, Notification, Object, ParseError, Request, RequestId, Version, codes, method};

impl Bridge {
    /// One line.
    pub(super) fn line(&mut self, line: &Bytes, now: Instant, out: &mut Vec<Effect>) {
        let body = match text(line.clone()) {
            Ok(body) => body,
            Err(error) => return out.push(unparsable(&error)),
        };
        if is_batch(body.as_bytes()) {
            return self.batch(&body, now, out);
        }
        self.message(body, now, out);
    }

    /// The messages of a batch are taken one by one, and answered so: over stdio that is the same to the client.
    fn batch(&mut self, body: &ByteString, now: Instant, out: &mut Vec<Effect>) {
        let version = self
            .legacy
            .as_ref()
            .and_then(Legacy::session)
            .map(|s| s.version.as_str());
        if version != Some(Version::V20250326.as_str()) {
            let why = "batches belong to protocol version 2025-03-26 alone";
            return out.push(words::refused("null", codes::INVALID_REQUEST, why));
        }
        match serde_json::from_str::<Vec<&RawValue>>(body) {
            Ok(items) => items
                .into_iter()
                .for_each(|item| self.message(body.slice_ref(item.get()), now, out)),
            Err(error) => out.push(words::refused(
                "null",
                codes::PARSE_ERROR,
                &format!("the batch is not JSON: {error}"),
            )),
        }
    }

    fn message(&mut self, body: ByteString, now: Instant, out: &mut Vec<Effect>) {
        let message = match Message::parse(&body) {
            Ok(message) => message,
            Err(error) => return out.push(unparsable(&error)),
        };
        if body.len() > self.limits.body {
            if let Message::Request(request) = &message {
                out.push(words::too_long(request.id.as_raw(), self.limits.body));
            }
            return;
        }
        match message {
            Message::Request(request) => self.request(&body, &request, now, out),
            Message::Notification(notification) => self.notification(&body, &notification, now, out),
            Message::Response(response) => {
                let asked = self.legacy.as_mut().map(|l| &mut l.asked);
                let key = response.id.map(|id| id.key());
                let place = asked
                    .as_ref()
                    .and_then(|a| a.iter().position(|id| Some(id.key()) == key));
                // To what was not asked, or is of a session that was lost, nobody wants an answer.
                if let (Some(asked), Some(place)) = (asked, place) {
                    asked.remove(place);
                    self.hold(Kind::Answer, body, now);
                }
            }
        }
    }

    fn request(&mut self, body: &ByteString, request: &Request<'_>, now: Instant, out: &mut Vec<Effect>) {
        let params = request.params.and_then(|p| Object::parse(p).ok());
        let mirror = self.mirror(&request.method, params.as_ref());
        if let Err(bound) = self.room(body.len()) {
            return out.push(words::failed(
                &request.id,
                Reason::QueueFull(bound),
                std::time::Duration::ZERO,
            ));
        }
        let asked = Asked {
            id: request.id.clone(),
            method: request.method.clone().into_owned(),
            mirror,
            cancelled: false,
            acknowledged: false,
        };
        let mut body = body.clone();
        if asked.is_initialize() {
            self.close_stream(out);
            let legacy = Legacy::new(&body, params.as_ref());
            body = legacy.initialize();
            self.legacy = Some(legacy);
        }
        self.hold(Kind::Request(asked), body, now);
    }

    fn notification(
        &mut self,
        body: &ByteString,
        notification: &Notification<'_>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let params = notification.params.and_then(|p| Object::parse(p).ok());
        if notification.method == method::CANCELLED {
            let id = params
                .as_ref()
                .and_then(|p| p.get("requestId"))
                .and_then(RequestId::from_raw);
            match id {
                Some(id) if !self.cancel(&id, out) => return,
                Some(_) => {}
                None => return,
            }
        }
        if notification.method == method::INITIALIZED
            && let Some(legacy) = &mut self.legacy
        {
            legacy.initialized = true;
        }
        let mirror = self.mirror(&notification.method, params.as_ref());
        // Without a session and without an envelope it would be understood by nobody.
        if (mirror.is_some() || self.legacy.is_some()) && self.room(body.len()).is_ok() {
            self.hold(Kind::Note(mirror), body.clone(), now);
        }
    }

    /// The client takes a request back. True if the router has to be told with a message: a modern one hears it by the
    /// end of the connection, and of what never left it hears nothing.
    fn cancel(&mut self, id: &RequestId, out: &mut Vec<Effect>) -> bool {
        let key = id.key();
        let is_it = |kind: &Kind| matches!(kind, Kind::Request(asked) if asked.id.key() == key && !asked.cancelled);
        if let Some(order) = self.held.values().find(|m| is_it(&m.kind)).map(|m| m.order) {
            if let Some(message) = self.held.remove(&order) {
                self.forget(&message);
            }
            return false;
        }
        let Some((number, flight)) = self.flights.iter_mut().find(|(_, f)| is_it(&f.message.kind)) else {
            return false;
        };
        let number = *number;
        let Kind::Request(asked) = &mut flight.message.kind else {
            return false;
        };
        // As the specification has it, what was cancelled is not answered.
        asked.cancelled = true;
        if asked.mirror.is_none() {
            return true;
        }
        out.push(Effect::Drop(number));
        self.landed(number);
        false
    }

    /// The headers of a modern message; `None` for a legacy one.
    fn mirror(&self, name: &str, params: Option<&Object<'_>>) -> Option<Mirror> {
        let meta = Object::parse(params?.get("_meta")?).ok()?;
        let version = meta.get_str(method::META_VERSION)?;
        // A legacy client may say what it likes in its `_meta`.
        if !looks_modern(&version) && self.legacy.is_some() {
            return None;
        }
        let named = match name {
            method::TOOLS_CALL | "prompts/get" => "name",
            "resources/read" => "uri",
            _ if name.starts_with("tasks/") => "taskId",
            _ => "",
        };
        Some(Mirror {
            version: version.into_owned(),
            method: name.to_owned(),
            name: params?.get_str(named).map(|n| n.into_owned()),
        })
    }

    /// Whether one more message of so many bytes may come in.
    fn room(&self, bytes: usize) -> Result<(), Bound> {
        if self.held.len() + self.flights.len() >= self.limits.messages {
            Err(Bound::Count)
        } else if self.bytes + bytes > self.limits.bytes {
            Err(Bound::Bytes)
        } else {
            Ok(())
        }
    }
}

fn unparsable(error: &ParseError) -> Effect {
    let code = if error.not_json {
        codes::PARSE_ERROR
    } else {
        codes::INVALID_REQUEST
    };
    let id = error.id.as_ref().map_or("null", RequestId::as_raw);
    words::refused(id, code, &error.reason)
}
