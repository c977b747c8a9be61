//! Requests of a target to an agent: whose they are, and their answers' way back.
//!
//! A legacy server may ask its client something in the middle of a call: a model's answer, its user's word, its roots.
//! Nothing in such a request says which call it is for, so it goes to an agent only where that is known otherwise:
//! the child is that agent's own, or one call at a time runs there. Never is an owner guessed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::debug;

use super::actor::{Actor, MAX_BACKLOG};
use super::belongings::Thing;
use super::target::{Ask, Sink};
use crate::config::ServerRequests;
use crate::wire::message::{write_request, write_response};
use crate::wire::{Object, RawJson, Request, RequestId, codes, method};

/// Requests of one target that wait for an agent at most.
const MAX_ASKED: usize = 256;
/// Progress notifications of an agent that wait for one request at most.
const PROGRESS: usize = 16;

/// How often it is looked at whether others wait.
const CHECK: Duration = Duration::from_millis(250);

/// A request that is out to an agent.
struct Asked {
    /// The target's id for it.
    id: RequestId,
    /// The call it belongs to, where one is known.
    call: Option<u64>,
    /// The target's progress token for it, raw.
    token: Option<String>,
    answer: oneshot::Receiver<Result<RawJson, RawJson>>,
    progress: mpsc::Receiver<RawJson>,
    since: Instant,
}

/// What came back from an agent.
pub(super) enum Back {
    /// The answer to that request.
    Answer(RequestId, Result<RawJson, RawJson>),
    /// Progress on it, under the target's token.
    Progress(String, RawJson),
}

/// The requests of one target that are out.
#[derive(Default)]
pub(super) struct Asking {
    asked: VecDeque<Asked>,
}

impl Asking {
    /// What comes next from any agent.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Back> {
        for at in 0..self.asked.len() {
            let Some(asked) = self.asked.get_mut(at) else { break };
            if let Some(token) = &asked.token
                && let Poll::Ready(Some(params)) = asked.progress.poll_recv(context)
            {
                return Poll::Ready(Back::Progress(token.clone(), params));
            }
            let answer = std::future::Future::poll(std::pin::Pin::new(&mut asked.answer), context);
            if let Poll::Ready(answer) = answer {
                let answer = answer.unwrap_or_else(|_| Err(refusal("the client went away without an answer")));
                let id = asked.id.clone();
                self.asked.remove(at);
                return Poll::Ready(Back::Answer(id, answer));
            }
        }
        Poll::Pending
    }

    /// The call ended: what it asked is of no use any more. Dropping it tells the agent.
    pub(super) fn call_ended(&mut self, call: u64) {
        if !self.asked.is_empty() {
            self.asked.retain(|asked| asked.call != Some(call));
        }
    }

    /// The target no longer wants to know.
    pub(super) fn withdrawn(&mut self, id: &RequestId) {
        self.asked.retain(|asked| asked.id.key() != id.key());
    }

    /// Since when the oldest is out.
    fn oldest(&self) -> Option<Instant> {
        self.asked.front().map(|asked| asked.since)
    }

    /// The target is gone.
    pub(super) fn clear(&mut self) {
        self.asked.clear();
    }
}

impl Actor {
    /// A request from a target. `call`: the one on whose stream it came, where the connection has such.
    pub(super) fn on_request(&mut self, request: &Request<'_>, params: Option<RawJson>, call: Option<u64>) {
        if request.method == method::PING {
            self.answer(&request.id, Ok("{}"));
            return;
        }
        let Some((call, sink)) = self.owner_of_request(call) else {
            debug!(backend = %self.shared.name, "{} has no owner that is known", request.method);
            let error =
                json!({ "code": codes::METHOD_NOT_FOUND, "message": format!("Method not found: {}", request.method) });
            self.answer(&request.id, Err(&error.to_string()));
            return;
        };
        if self.asking.asked.len() >= MAX_ASKED {
            self.answer(
                &request.id,
                Err(refusal("too many requests wait for their clients").as_str()),
            );
            return;
        }
        let meta = request.params.and_then(|p| Object::parse(p).ok());
        let meta = meta.as_ref().and_then(|p| Object::parse(p.get("_meta")?).ok());
        let token = meta.and_then(|m| m.get(method::META_PROGRESS).map(str::to_owned));
        let params = params.map(|p| self.shared.belongings.for_agent(self.replica, p));
        if request.method == method::ELICIT {
            self.note_elicitation(params.as_ref(), &*sink);
        }
        let (reply, answer) = oneshot::channel();
        let (progress_sender, progress) = mpsc::channel(PROGRESS);
        self.asking.asked.push_back(Asked {
            id: request.id.clone(),
            call,
            token,
            answer,
            progress,
            since: Instant::now(),
        });
        sink.ask(Ask {
            method: request.method.to_string(),
            params,
            reply,
            progress: progress_sender,
        });
    }

    /// What a user does elsewhere may end after the call that asked for it.
    fn note_elicitation(&self, params: Option<&RawJson>, sink: &dyn Sink) {
        let params = params.and_then(|p| Object::parse(p.as_str()).ok()).unwrap_or_default();
        if let Some(id) = params.get_str(method::ELICITATION_ID)
            && let Some(later) = sink.later()
        {
            let belongings = &self.shared.belongings;
            belongings.add(self.replica, Thing::Elicitation, &id, &id, later);
        }
    }

    /// Whom a request is for, or a notification. A cancelled call may still ask, so that one call in flight beside it is not known to be
    /// the one.
    pub(super) fn owner_of_request(&mut self, call: Option<u64>) -> Option<(Option<u64>, Arc<dyn Sink>)> {
        if let Some(call) = call {
            let sink = self.pending.get_mut(call)?.sink.clone()?;
            return Some((Some(call), sink));
        }
        if let Some(owner) = self.shared.owner.clone() {
            // All calls here are of one agent: any of its streams leads to it, the newest is the likeliest to be read.
            return Some(match self.pending.newest() {
                Some((call, Some(sink))) => (Some(call), sink),
                _ => (None, owner.sink),
            });
        }
        if self.settings.server_requests != ServerRequests::Serialize {
            return None;
        }
        let (call, sink) = self.pending.only()?;
        Some((Some(call), sink?))
    }

    /// What an agent said to a request of the target.
    pub(super) fn on_back(&mut self, back: Back) {
        match back {
            Back::Answer(id, Ok(result)) => {
                let result = self.shared.belongings.for_target(self.replica, result);
                self.answer(&id, Ok(result.as_str()));
            }
            Back::Answer(id, Err(error)) => self.answer(&id, Err(error.as_str())),
            Back::Progress(token, params) => {
                let Ok(mut params) = Object::parse(params.as_str()) else {
                    return;
                };
                params.set("progressToken", token);
                let line = write_request(None, method::PROGRESS, Some(&params.to_text()));
                self.send_bounded(&line);
            }
        }
    }

    /// When it is looked at whether others wait for an agent that takes its time to answer: only where one call at a
    /// time runs, since there it holds up all.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let serial = self.shared.owner.is_none() && self.settings.server_requests == ServerRequests::Serialize;
        let oldest = self.asking.oldest().filter(|_| serial)?;
        // While nobody waits it is looked at again and again.
        let due = oldest + self.settings.gate.wait / 2;
        Some(due.max(self.asking_checked + CHECK))
    }

    /// Others wait: what is asked is given up, so that the call can end.
    pub(super) fn end_patience(&mut self, now: Instant) {
        if self.patience_ends().is_none_or(|due| due > now) {
            return;
        }
        self.asking_checked = now;
        if self.shared.gate.load().0 == 0 {
            return;
        }
        let given_up: Vec<RequestId> = self.asking.asked.drain(..).map(|asked| asked.id).collect();
        for id in given_up {
            let why = "the client took too long to answer, and other calls wait for this server";
            self.answer(&id, Err(refusal(why).as_str()));
        }
    }

    /// Something that a target can do without: dropped while it does not read.
    pub(super) fn send_bounded(&mut self, line: &str) {
        if self.connection.as_ref().is_some_and(|c| c.backlog() < MAX_BACKLOG) {
            self.send_own(line);
        }
    }

    fn answer(&mut self, id: &RequestId, outcome: Result<&str, &str>) {
        // One that asks without end and does not read must not fill the memory.
        let room = self.connection.as_ref().is_some_and(|c| c.backlog() < MAX_BACKLOG);
        if room {
            self.send_own(&write_response(id.as_raw(), outcome));
        }
    }
}

/// The error that a target gets where no agent answers.
pub fn refusal(why: &str) -> RawJson {
    json!({ "code": codes::INTERNAL_ERROR, "message": why })
        .to_string()
        .into()
}
