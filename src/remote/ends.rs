//! What follows from the end of a task: what is told of a call, and whether the server is still one.

use std::sync::Arc;

use tokio::task::JoinError;
use tracing::debug;

use super::exchange::End;
use super::out::{Kind, Out};
use super::{Done, Event, Remote, stream};
use crate::wire::message::write_response;
use crate::wire::{codes, method};

impl Remote {
    pub(super) fn done(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Post(out, end, health)) => self.posted(*out, end, health),
            Ok(Done::Stream(end)) => match end {
                End::Unreachable(why) | End::Keyless(why) => self.fall(why, true),
                End::SessionLost(why) | End::Refused(why) | End::Broken { why, .. } => self.fall(why, false),
                _ => {}
            },
            Ok(Done::Farewell) => self.leaving = false,
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                // A bug, and then nobody knows how far the call got.
                let lost = self.calls.iter().find(|(_, running)| running.task.id() == error.id());
                if let Some(id) = lost.map(|(id, _)| *id) {
                    self.calls.remove(&id);
                    let why = "the router lost track of it".to_owned();
                    self.ready.push_back(Event::Failed { id, why, again: false });
                }
            }
        }
    }

    fn posted(&mut self, out: Out, end: End, health: Option<End>) {
        // First of all: what goes back to the gate must not pass it again at once.
        if let End::Unreachable(why) | End::SessionLost(why) = health.as_ref().unwrap_or(&end) {
            self.fall(
                why.clone(),
                matches!(health.as_ref().unwrap_or(&end), End::Unreachable(_)),
            );
        }
        match out.call {
            Some(id) => {
                // Not there: nobody waits for it any more.
                if self.calls.remove(&id).is_some() {
                    self.ready.extend(outcome(id, end));
                }
            }
            None => {
                self.own_posted(out, end);
            }
        }
    }

    fn own_posted(&mut self, out: Out, end: End) {
        if out.method == method::INITIALIZED {
            self.greeted();
        }
        let shaking = self.fresh && out.id().is_some();
        let hung_up = matches!(end, End::Broken { .. });
        let why = match end {
            End::Over | End::Taken | End::NoStream | End::Unreachable(_) | End::SessionLost(_) => return,
            End::NotStreamable(_) if self.may_be_old => return self.become_old(Some(out)),
            End::Broken { why, again: true } | End::Faulty(why) if shaking && out.method == method::DISCOVER => {
                return self.ready.push_back(Event::Unanswered { why, hung_up });
            }
            // A list beside those of the tools that cannot be had is no more than that.
            End::Faulty(why) if !out.shakes_hands() => why,
            // A server that breaks off its handshake is not there yet, or not any more, whoever answers in its place.
            End::Busy { why, .. } | End::Keyless(why) | End::Broken { why, again: true } | End::Faulty(why)
                if shaking =>
            {
                self.fall(why, true);
                return self.part();
            }
            End::NotStreamable(why)
            | End::Busy { why, .. }
            | End::Keyless(why)
            | End::Broken { why, .. }
            | End::Faulty(why)
            | End::Refused(why) => why,
        };
        match out.kind {
            Kind::Request(id) => {
                let error = serde_json::json!({ "code": codes::INVALID_REQUEST, "message": why });
                let text = write_response(&id, Err(&error.to_string())).into();
                self.ready.push_back(Event::Message { text, call: None });
            }
            Kind::Notification | Kind::Response => debug!("{} was not delivered: {why}", out.method),
        }
    }

    /// The third step of a legacy handshake is done: what waited for it follows.
    fn greeted(&mut self) {
        self.greeting = false;
        if self.down.is_none() && !self.link.is_old() {
            let link = Arc::clone(&self.link);
            let task = self
                .tasks
                .spawn(async move { Done::Stream(stream::unasked(&link).await) });
            self.other(String::new(), task, true);
        }
        for out in std::mem::take(&mut self.queue) {
            self.send(out);
        }
        self.queued = 0;
    }

    /// Speaks HTTP+SSE from now on, `first` being the first message.
    pub(super) fn become_old(&mut self, first: Option<Out>) {
        self.may_be_old = false;
        self.link.become_old();
        let link = Arc::clone(&self.link);
        let task = self.tasks.spawn(async move { Done::Stream(stream::old(&link).await) });
        self.other(String::new(), task, true);
        if let Some(out) = first {
            self.send(out);
        }
    }

    /// No more can be sent.
    fn fall(&mut self, why: String, unreachable: bool) {
        if self.down.is_some() {
            return;
        }
        self.ready.push_back(Event::Down { why: why.clone() });
        self.end(why, unreachable);
    }

    pub(super) fn end(&mut self, why: String, unreachable: bool) {
        self.down.get_or_insert((why, unreachable));
        self.others.drain(..).for_each(|other| other.task.abort());
        self.queue.clear();
        self.queued = 0;
    }
}

/// What a call's owner is told.
fn outcome(id: u64, end: End) -> Option<Event> {
    Some(match end {
        End::Taken => return None,
        End::Unreachable(why) => Event::Unsent { id, why },
        End::SessionLost(why) => Event::Forgotten { id, why },
        End::Busy { why, after } => Event::Later {
            id,
            why,
            after,
            seen: true,
        },
        End::Keyless(why) => Event::Later {
            id,
            why,
            after: None,
            seen: false,
        },
        End::Broken { why, again } => Event::Failed { id, why, again },
        End::Faulty(why) => Event::Failed { id, why, again: true },
        End::Refused(why) | End::NotStreamable(why) => Event::Refused { id, why },
        // Where the answer was one, nobody waits for this any more.
        End::Over | End::NoStream => Event::Failed {
            id,
            why: "its reply holds no answer to the call".to_owned(),
            again: false,
        },
    })
}
