//! What a target says: answers, progress, log messages, changed lists, and junk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::actor::Actor;
use super::belongings::Thing;
use super::target::Settled;
use crate::wire::message::{failed_answer_id, text, write_request};
use crate::wire::{Era, Message, Notification, Object, ParseError, RawJson, RequestId, Response, method};

/// Junk lines that are logged in full; the rest is counted.
const JUNK_LOGGED: u64 = 5;

impl Actor {
    /// Takes in every whole line that was read.
    pub(super) fn on_lines(&mut self) {
        while let Some(line) = self.connection.as_mut().and_then(|c| c.next_line()) {
            match line {
                Ok(line) => self.on_line(line),
                Err(error) => {
                    // Whose answer it was cannot be known, so its caller could wait for ever: start afresh.
                    let why = format!("it sent a message over the limit ({error:?})");
                    self.on(super::state::Event::Broken { why });
                }
            }
        }
    }

    fn on_line(&mut self, line: Bytes) {
        match text(line.clone()) {
            Ok(line) => self.on_text(&line),
            Err(error) => self.on_junk(&line, &error),
        }
    }

    fn on_text(&mut self, line: &ByteString) {
        match Message::parse(line) {
            Ok(Message::Response(response)) => self.on_response(line, response),
            Ok(Message::Notification(notification)) => self.on_notification(line, notification),
            Ok(Message::Request(request)) => {
                let params = request.params.map(|p| RawJson::slice_of(line, p));
                let call = self.connection.as_ref().and_then(|c| c.owner());
                self.on_request(&request, params, call);
            }
            Err(error) => self.on_junk(line.as_bytes(), &error),
        }
    }

    fn on_junk(&mut self, line: &Bytes, error: &ParseError) {
        let before = self.counters.junk.fetch_add(1, Ordering::Relaxed);
        if before < JUNK_LOGGED {
            let shown: String = String::from_utf8_lossy(line).chars().take(120).collect();
            warn!(backend = %self.shared.name, "its stdout holds a line that is no message ({error}): {shown:?}");
            // Often the only words of a server that cannot start: `status` shows them with those of its stderr.
            self.stderr.push(&format!("on stdout: {shown}"));
        } else if before == JUNK_LOGGED {
            warn!(backend = %self.shared.name, "further lines that are no messages are counted, not shown");
        }
        self.on_failed_answer(line, error);
    }

    /// An answer that is no message still says whom it was for: that caller would wait for ever.
    fn on_failed_answer(&mut self, line: &Bytes, error: &ParseError) {
        let Some(id) = failed_answer_id(line) else { return };
        let why = format!("its answer cannot be read: {error}");
        if let Some(kind) = self.listing.asked(id.as_raw()) {
            self.on_list(kind, Err(&why));
        } else if let Some(entry) = id.as_raw().parse().ok().and_then(|id| self.pending.answered(id)) {
            let _ = entry.reply.send(Settled::Lost { why });
        }
    }

    fn on_response(&mut self, line: &ByteString, response: Response<'_>) {
        if let Some(shake) = &mut self.shake {
            let step = shake.on_response(&response);
            self.on_step(step);
            return;
        }
        let Some(id) = &response.id else { return };
        if let Some(kind) = self.listing.asked(id.as_raw()) {
            self.on_list(kind, response.outcome);
            return;
        }
        if self.on_listen_end(id.as_raw()) {
            return;
        }
        let entry = id.as_raw().parse().ok().and_then(|id| self.pending.answered(id));
        let Some(entry) = entry else {
            // An answer to a cancelled call, or to the router's own requests whose answer does not matter.
            debug!(backend = %self.shared.name, %id, "an answer that nobody waits for");
            return;
        };
        self.counters.answered_after(entry.since.elapsed());
        self.busy.over();
        self.asking.call_ended(entry.id);
        let outcome = match response.outcome {
            Ok(result) => Ok(RawJson::slice_of(line, result)),
            Err(error) => Err(RawJson::slice_of(line, error)),
        };
        let _ = entry.reply.send(Settled::Answered(outcome));
    }

    fn on_notification(&mut self, line: &ByteString, notification: Notification<'_>) {
        match (notification.method.as_ref(), notification.params) {
            (method::PROGRESS, Some(params)) => {
                let token = Object::parse(params)
                    .ok()
                    .and_then(|p| p.get("progressToken").and_then(|t| t.parse::<u64>().ok()));
                if let Some(entry) = token.and_then(|t| self.pending.get_mut(t))
                    && let Some(sink) = &entry.sink
                {
                    let params = RawJson::slice_of(line, params);
                    sink.progress(self.shared.belongings.for_agent(self.replica, params));
                }
            }
            (method::MESSAGE, Some(params)) => self.on_log(line, params),
            (method::CANCELLED, Some(params)) => {
                let params = Object::parse(params).unwrap_or_default();
                if let Some(id) = params.get("requestId").and_then(RequestId::from_raw) {
                    self.asking.withdrawn(&id);
                }
            }
            (other, params) => {
                let params = params.map(|p| RawJson::slice_of(line, p));
                if !self.on_announcement(other, params.as_ref()) {
                    self.relay(other, params);
                }
            }
        }
    }

    /// A notification that the router has no part in: it is for the agent whose it is, where that is known.
    fn relay(&mut self, name: &str, params: Option<RawJson>) {
        if self.shared.belongings.tell(self.replica, name, params.as_ref()) {
            return;
        }
        let call = self.connection.as_ref().and_then(|c| c.owner());
        // Of a thing that is nobody's the call that runs just now need not be the cause.
        let of_another = Thing::is_told_by(name) && call.is_none() && self.shared.owner.is_none();
        match self.owner_of_request(call) {
            Some((_, sink)) if !of_another && !method::is_of_clients(name) => {
                let params = params.map(|p| self.shared.belongings.for_agent(self.replica, p));
                sink.note(name, params.as_ref());
            }
            _ => debug!(backend = %self.shared.name, "{name} is not relayed"),
        }
    }

    fn on_log(&mut self, line: &ByteString, params: &str) {
        let object = Object::parse(params).unwrap_or_default();
        let level = object.get_str("level");
        let rank = level.as_deref().and_then(method::log_rank).unwrap_or(1);
        let owner = match self.connection.as_ref().and_then(|c| c.owner()) {
            Some(id) => self.pending.get_mut(id).and_then(|entry| entry.sink.clone()),
            // One agent's own target has nobody else to speak to.
            None => match &self.shared.owner {
                Some(owner) => Some(Arc::clone(&owner.sink)),
                None => self.pending.sole_owner(Instant::now()),
            },
        };
        match owner {
            Some(sink) => {
                let params = RawJson::slice_of(line, params);
                sink.log(rank, self.shared.belongings.for_agent(self.replica, params));
            }
            None => {
                let shown: String = object.get("data").unwrap_or_default().chars().take(500).collect();
                tracing::info!(target: "pointsman::backend", backend = %self.shared.name, level = level.as_deref().unwrap_or("info"), "{shown}");
            }
        }
    }

    /// Tells a legacy target which log messages are wanted; modern requests say it themselves.
    pub(super) fn send_level(&mut self) {
        let wanted = self
            .facts
            .as_ref()
            .is_some_and(|f| f.era == Era::Legacy && f.has("logging"));
        let level = self.level.and_then(|rank| method::LOG_LEVELS.get(usize::from(rank)));
        if let Some(level) = level.filter(|_| wanted) {
            let params = json!({ "level": level });
            self.send_own(&write_request(
                Some("\"level\""),
                method::SET_LEVEL,
                Some(&params.to_string()),
            ));
        }
    }

    /// Tells the target that a call is no longer wanted.
    pub(super) fn send_cancelled(&mut self, id: u64) {
        let params = json!({ "requestId": id, "reason": "cancelled by the client" });
        self.send_own(&write_request(None, method::CANCELLED, Some(&params.to_string())));
    }

    pub(super) fn send_own(&mut self, line: &str) {
        if let Some(connection) = &mut self.connection {
            connection.push_own(line);
        }
    }
}
