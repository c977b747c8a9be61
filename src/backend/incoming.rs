//! What a target says: answers, progress, log messages, changed lists, and junk.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::actor::{Actor, MAX_BACKLOG};
use super::fetch::{Fetch, FetchStep};
use super::handshake::modern_meta;
use super::target::Settled;
use crate::wire::message::{failed_answer_id, text, write_request, write_response};
use crate::wire::{Era, Message, Notification, Object, ParseError, RawJson, Request, Response, codes, method};

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
            Ok(Message::Request(request)) => self.on_request(&request),
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
        if self.fetch.as_ref().is_some_and(|f| f.id() == id.as_raw()) {
            self.on_list(Err(&why));
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
        if self.fetch.as_ref().is_some_and(|f| f.id() == id.as_raw()) {
            self.on_list(response.outcome);
            return;
        }
        let entry = id.as_raw().parse().ok().and_then(|id| self.pending.answered(id));
        let Some(entry) = entry else {
            // An answer to a cancelled call, or to the router's own requests whose answer does not matter.
            debug!(backend = %self.shared.name, %id, "an answer that nobody waits for");
            return;
        };
        self.counters.answered.fetch_add(1, Ordering::Relaxed);
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
                    sink.progress(RawJson::slice_of(line, params));
                }
            }
            (method::MESSAGE, Some(params)) => self.on_log(line, params),
            // During the handshake: the page that was answered already may be stale.
            (method::TOOLS_CHANGED, _) if self.shake.is_some() => self.fetch_again = true,
            (method::TOOLS_CHANGED, _) => self.refresh_tools(),
            (other, _) => debug!(backend = %self.shared.name, "{other} is not relayed"),
        }
    }

    fn on_log(&mut self, line: &ByteString, params: &str) {
        let object = Object::parse(params).unwrap_or_default();
        let level = object.get_str("level");
        let rank = level.as_deref().and_then(method::log_rank).unwrap_or(1);
        let owner = match self.connection.as_ref().and_then(|c| c.owner()) {
            Some(id) => self.pending.get_mut(id).and_then(|entry| entry.sink.clone()),
            None => self.pending.sole_owner(Instant::now()),
        };
        match owner {
            Some(sink) => sink.log(rank, RawJson::slice_of(line, params)),
            None => {
                let shown: String = object.get("data").unwrap_or_default().chars().take(500).collect();
                tracing::info!(target: "pointsman::backend", backend = %self.shared.name, level = level.as_deref().unwrap_or("info"), "{shown}");
            }
        }
    }

    /// A request from a target. The router declared no capability, so a well-behaved one only pings.
    fn on_request(&mut self, request: &Request<'_>) {
        let answer = if request.method == method::PING {
            write_response(request.id.as_raw(), Ok("{}"))
        } else {
            let error =
                json!({ "code": codes::METHOD_NOT_FOUND, "message": format!("Method not found: {}", request.method) });
            write_response(request.id.as_raw(), Err(&error.to_string()))
        };
        // One that asks without end and does not read must not fill the memory.
        if let Some(connection) = self.connection.as_mut().filter(|c| c.backlog() < MAX_BACKLOG) {
            connection.push_own(&answer);
        }
    }

    /// The list changed: fetch it anew, once more if it changes meanwhile.
    pub(super) fn refresh_tools(&mut self) {
        if self.fetch.is_some() {
            self.fetch_again = true;
            return;
        }
        let Some(era) = self.facts.as_ref().map(|f| f.era) else {
            return;
        };
        // Far above the ids of the handshake, and none twice: a late answer must not be taken for another's.
        self.fetches += 1;
        let (fetch, line) = Fetch::begin(era, self.fetches * 1_000_000);
        self.fetch = Some(fetch);
        self.fetch_due = Some(Instant::now() + self.settings.start_timeout);
        self.send_own(&line);
    }

    fn on_list(&mut self, outcome: Result<&str, &str>) {
        let Some(fetch) = &mut self.fetch else { return };
        match fetch.on_result(outcome) {
            FetchStep::Send(line) => self.send_own(&line),
            FetchStep::Done(tools) => {
                self.shared.publish_tools(tools, self.incarnation);
                self.next_fetch();
            }
            FetchStep::Failed(why) => self.end_fetch(&why),
        }
    }

    /// The list could not be had: the old one stays, until it changes again.
    pub(super) fn end_fetch(&mut self, why: &str) {
        warn!(backend = %self.shared.name, "the changed tool list could not be fetched: {why}");
        self.next_fetch();
    }

    /// One fetch is over. The list may have changed meanwhile, which may be the very reason why a cursor was
    /// refused.
    fn next_fetch(&mut self) {
        self.fetch = None;
        self.fetch_due = None;
        if std::mem::take(&mut self.fetch_again) {
            self.refresh_tools();
        }
    }

    /// Asks a modern target to announce changes of its list; a legacy one does so unasked.
    pub(super) fn begin_listening(&mut self) {
        let wanted = self
            .facts
            .as_ref()
            .is_some_and(|f| f.era == Era::Modern && f.announces_tools());
        if wanted {
            let params = json!({ "_meta": modern_meta(), "notifications": { "toolsListChanged": true } });
            self.send_own(&write_request(
                Some("\"listen\""),
                method::LISTEN,
                Some(&params.to_string()),
            ));
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

    fn send_own(&mut self, line: &str) {
        if let Some(connection) = &mut self.connection {
            connection.push_own(line);
        }
    }
}
