//! What the router says, and what of it the client may hear: nothing that it did not ask for.

use tokio::time::Instant;

use super::{Bridge, Effect, Kind, words};
use crate::wire::message::{write_request, write_response};
use crate::wire::{Era, Message, Notification, Object, Request, RequestId, Response, codes, method};

/// What a client can be asked, and the capability that says so.
const ASKED: [(&str, &str); 3] = [
    ("sampling/createMessage", "sampling"),
    ("elicitation/create", "elicitation"),
    ("roots/list", "roots"),
];

/// What `subscriptions/listen` may grant, and the notification of it.
const GRANTS: [(&str, &str); 3] = [
    ("toolsListChanged", "notifications/tools/list_changed"),
    ("promptsListChanged", "notifications/prompts/list_changed"),
    ("resourcesListChanged", "notifications/resources/list_changed"),
];

impl Bridge {
    /// A message in a reply, or on the session's stream.
    pub(super) fn said(&mut self, number: u64, text: &str, now: Instant, out: &mut Vec<Effect>) {
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "the router said what is no message");
                return self.garbled(number, now, out);
            }
        };
        if self.is_stream(number) {
            return self.on_stream(text, &message, now, out);
        }
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        match (&flight.message.kind, message) {
            (Kind::Own(_), Message::Response(response)) => self.own_answer(number, &response, now, out),
            (Kind::Request(_), Message::Response(response)) => self.answer(number, text, &response, out),
            (Kind::Request(asked), message) if !asked.cancelled => match asked.era() {
                Era::Legacy => self.on_stream(text, &message, now, out),
                Era::Modern => self.note(number, text, &message, out),
            },
            (Kind::Note(_) | Kind::Answer, Message::Response(response)) => {
                if let Err(error) = response.outcome {
                    tracing::warn!(error, "the router refused a notification");
                }
            }
            _ => {}
        }
    }

    /// The response to a request of the client.
    fn answer(&mut self, number: u64, text: &str, response: &Response<'_>, out: &mut Vec<Effect>) {
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        let Kind::Request(asked) = &flight.message.kind else {
            return;
        };
        // A router that stops ends its listeners with a result: it is asked again, or the next one is, when the reply
        // has ended.
        if asked.method == method::LISTEN && asked.mirror.is_some() && !asked.cancelled && response.outcome.is_ok() {
            return;
        }
        let Some(flight) = self.landed(number) else { return };
        let Kind::Request(asked) = flight.message.kind else {
            return;
        };
        let mut line = match &response.id {
            Some(_) => words::one_line(text),
            // It refused the request unread.
            None => words::one_line(&write_response(asked.id.as_raw(), response.outcome)),
        };
        if let (Era::Legacy, Ok(result), Some(legacy)) = (asked.era(), response.outcome, &mut self.legacy) {
            if asked.is_initialize() {
                let shown = legacy.opened(result);
                legacy.promise(&shown);
                line = words::one_line(&write_response(asked.id.as_raw(), Ok(&shown)));
            } else {
                legacy.remember(&asked.method, &flight.message.body);
            }
        } else if asked.is_initialize() {
            self.legacy = None;
        }
        if !asked.cancelled {
            out.push(Effect::Write(line));
        }
    }

    /// What a legacy client hears besides responses.
    fn on_stream(&mut self, text: &str, message: &Message<'_>, now: Instant, out: &mut Vec<Effect>) {
        match message {
            Message::Request(request) if self.may_be_asked(request) => {
                out.push(Effect::Write(words::one_line(text)));
                if let Some(legacy) = &mut self.legacy {
                    legacy.was_asked(request.id.clone());
                }
            }
            Message::Notification(notification) => {
                if self.legacy.as_ref().is_some_and(|l| l.hears(&notification.method)) {
                    out.push(Effect::Write(words::one_line(text)));
                }
            }
            Message::Request(request) => {
                let why = format!("the client has no {}", request.method);
                let error = serde_json::json!({ "code": codes::METHOD_NOT_FOUND, "message": why });
                let answer = write_response(request.id.as_raw(), Err(&error.to_string()));
                self.hold(Kind::Answer, answer.into(), now);
            }
            Message::Response(_) => {}
        }
    }

    fn may_be_asked(&self, request: &Request<'_>) -> bool {
        let Some(legacy) = self.legacy.as_ref().filter(|l| l.initialized) else {
            return false;
        };
        let has = |capability: &str| legacy.capabilities.iter().any(|c| c == capability);
        let known = ASKED.iter().find(|(name, _)| *name == request.method);
        match known {
            Some((_, capability)) => has(capability),
            None => request.method == method::PING || (request.method.starts_with("tasks/") && has("tasks")),
        }
    }

    /// What a modern client hears before a response.
    fn note(&mut self, number: u64, text: &str, message: &Message<'_>, out: &mut Vec<Effect>) {
        let Message::Notification(notification) = message else {
            tracing::warn!("the router asked a modern client something");
            return;
        };
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        let Kind::Request(asked) = &mut flight.message.kind else {
            return;
        };
        if notification.method != method::LISTEN_ACKNOWLEDGED {
            return out.push(Effect::Write(words::one_line(text)));
        }
        if !asked.acknowledged {
            asked.acknowledged = true;
            flight.message.tries = 0;
            return out.push(Effect::Write(words::one_line(text)));
        }
        flight.message.tries = 0;
        // It was heard before. What happened while nobody listened is not known, so it may be anything.
        changed(&asked.id, notification, out);
    }

    /// What is no message where an answer should be.
    fn garbled(&mut self, number: u64, now: Instant, out: &mut Vec<Effect>) {
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        let status = flight.status.unwrap_or_default();
        match &flight.message.kind {
            Kind::Request(asked) if !asked.cancelled => {
                let why = format!("the router's answer is no message (HTTP status {status})");
                out.push(words::refused(asked.id.as_raw(), codes::INTERNAL_ERROR, &why));
                self.landed(number);
            }
            Kind::Own(_) => self.cut(number, now, out),
            Kind::Request(_) | Kind::Note(_) | Kind::Answer => {}
        }
    }
}

/// The changes that an acknowledgement grants, as if they had happened.
fn changed(id: &RequestId, acknowledged: &Notification<'_>, out: &mut Vec<Effect>) {
    let params = acknowledged
        .params
        .and_then(|p| Object::parse(p).ok())
        .unwrap_or_default();
    let granted = params.get("notifications").and_then(|n| Object::parse(n).ok());
    let granted = granted.unwrap_or_default();
    let meta = format!("{{\"_meta\":{{\"{}\":{id}}}}}", method::META_SUBSCRIPTION);
    for (_, name) in GRANTS.iter().filter(|(grant, _)| granted.get(grant) == Some("true")) {
        out.push(Effect::Write(write_request(None, name, Some(&meta))));
    }
}
