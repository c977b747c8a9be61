//! What a target over HTTP does that a child cannot: end single calls, and be out of reach.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::actor::Actor;
use super::effects::PROBE_WAIT;
use super::handshake::Handshake;
use super::state;
use super::target::Settled;
use crate::config::{self, Transport};
use crate::remote::{Event, Mirrors, Remote};
use crate::wire::{Era, Kind};

impl Actor {
    /// What a spawn is for a child: connections are prepared, and hands are shaken.
    pub(super) fn connect(&mut self, remote: &config::Remote) {
        let shared = Arc::clone(&self.shared);
        let mirrors: Mirrors = Arc::new(move |name| {
            let tools = shared.lists.of(Kind::Tools).borrow();
            let tool = tools.as_ref().and_then(|tools| tools.get(name));
            tool.and_then(|tool| tool.mirrored.clone().ok()).unwrap_or_default()
        });
        match Remote::open(remote, self.replica, self.settings.max_message, mirrors) {
            Ok(opened) => {
                self.connection = Some(opened.into());
                let remembered = match remote.transport {
                    // That transport is older than the modern era, and its servers take a probe badly.
                    Transport::Sse => Some(Era::Legacy),
                    Transport::Auto | Transport::Http => self.remembered,
                };
                let face = self.shared.face(&self.settings);
                let (shake, step) = Handshake::begin(self.settings.era, remembered, face);
                self.probe_due = shake.probing().then(|| Instant::now() + PROBE_WAIT);
                self.shake = Some(shake);
                self.on_step(step);
            }
            Err(error) => self.on(state::Event::SpawnFailed {
                why: error.to_string(),
                permanent: true,
            }),
        }
    }

    /// How long the end of a target may take after it said that it takes no more calls. `usual` is what a child needs.
    /// A server that is being replaced may still answer what it has.
    pub(super) fn end_wait(&self, usual: Duration) -> Duration {
        match self.settings.remote {
            Some(_) => self.settings.stop.drain,
            None => usual,
        }
    }

    /// One call ended without an answer, or all is over.
    pub(super) fn on_remote(&mut self, event: Event) {
        match event {
            Event::Unsent { id, .. } => self.give_back(id, false),
            Event::Failed { id, why, again } => {
                let again = again && self.pending.get_mut(id).is_some_and(|entry| entry.replay);
                match again {
                    true => self.give_back(id, true),
                    false => self.end_call(id, Settled::Lost { why }),
                }
            }
            Event::Refused { id, why } => self.end_call(id, Settled::Refused { why }),
            Event::Gone { why, unreachable: true } => self.on(state::Event::Unreachable { why }),
            Event::Gone { why, .. } => self.on(state::Event::Exited { why }),
            // The connection has made lines, or an end, of these.
            Event::Message { .. } | Event::Down { .. } => {}
        }
    }

    fn end_call(&mut self, id: u64, end: Settled) {
        self.asking.call_ended(id);
        if let Some(entry) = self.pending.answered(id) {
            let _ = entry.reply.send(end);
        }
    }

    /// The place first, the caller then: nothing may overtake it.
    fn give_back(&mut self, id: u64, replayed: bool) {
        self.asking.call_ended(id);
        if let Some(entry) = self.pending.answered(id) {
            self.shared.give_back(&[(entry.agent, entry.ticket, entry.bytes)]);
            let _ = entry.reply.send(Settled::Returned { replayed });
        }
    }
}
