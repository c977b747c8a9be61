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
        match Remote::open(
            remote,
            self.replica,
            self.settings.max_message,
            mirrors,
            &self.shared.wallet,
        ) {
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
            Event::Unsent { id, .. } => self.give_back(id, Settled::Returned { replayed: false }),
            Event::Forgotten { id, why } => self.give_back(id, Settled::Forgotten { why }),
            Event::Later { id, why, after, seen } => {
                let pause = match seen {
                    true => self.busy.pause(Instant::now()),
                    false => KEYLESS,
                };
                let pause = after.map_or(pause, |named| named.max(pause));
                self.give_back(id, Settled::Later { why, pause, seen });
            }
            Event::Unanswered { why, hung_up } => self.on_unanswered(why, hung_up),
            Event::Failed { id, why, again } => {
                if self.pending.get_mut(id).is_some() {
                    // Where it goes on all the same it does so in vain.
                    self.send_cancelled(id);
                }
                let again = again && self.pending.get_mut(id).is_some_and(|entry| entry.replay);
                match again {
                    true => self.give_back(id, Settled::Returned { replayed: true }),
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
    fn give_back(&mut self, id: u64, end: Settled) {
        self.asking.call_ended(id);
        if let Some(entry) = self.pending.answered(id) {
            self.shared.give_back(&[(entry.agent, entry.ticket, entry.bytes)]);
            let _ = entry.reply.send(end);
        }
    }

    /// The server failed on the question which era it speaks, as some do that know only the legacy one.
    fn on_unanswered(&mut self, why: String, hung_up: bool) {
        let Some(shake) = &mut self.shake else {
            // It was greeted otherwise meanwhile.
            return;
        };
        if hung_up && self.remembered.is_none() {
            // Some die of it: greet it the legacy way next time, should it be gone now.
            self.remembered = Some(Era::Legacy);
        }
        match shake.broken_off() {
            Some(step) => self.on_step(step),
            None => self.on(state::Event::Unreachable { why }),
        }
    }
}

/// Before a call is tried again that there was no token for: so often that is asked for.
const KEYLESS: Duration = Duration::from_secs(1);

/// How long a target that has no time is left alone. The pauses double, however many calls it turns away in one.
#[derive(Debug, Default)]
pub(super) struct Busy {
    until: Option<Instant>,
    times: u32,
}

impl Busy {
    const FIRST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(10);

    /// The pause for a call that was turned away now.
    fn pause(&mut self, now: Instant) -> Duration {
        match self.until.filter(|until| *until > now) {
            Some(until) => until - now,
            None => {
                let pause = Self::FIRST.saturating_mul(1 << self.times.min(10)).min(Self::MOST);
                self.times += 1;
                self.until = Some(now + pause);
                pause
            }
        }
    }

    /// A call was answered.
    pub(super) fn over(&mut self) {
        self.times = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_once_for_all_calls_until_one_is_answered() {
        let (mut busy, mut now) = (Busy::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let pause = busy.pause(now);
            assert_eq!(busy.pause(now), pause);
            assert_eq!(busy.pause(now + pause / 2), pause / 2);
            now += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        busy.over();
        assert_eq!(busy.pause(now), Busy::FIRST);
    }
}
