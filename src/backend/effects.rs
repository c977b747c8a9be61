//! What follows from a step of a target's life: spawning, opening, settling, giving up, and saying so.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::actor::Actor;
use super::connection::Connection;
use super::handshake::{Handshake, Step};
use super::shared::Condition;
use super::state::{Effect, Event, State};
use super::target::{Live, Phase, Settled};
use crate::config;
use crate::error::{CallError, Reason};
use crate::process;
use crate::wire::{Era, Kind};

/// How long a probe may stay unanswered before the legacy greeting goes out too.
pub(super) const PROBE_WAIT: Duration = Duration::from_secs(3);

impl Actor {
    /// One step of the life, and what follows from it.
    pub(super) fn on(&mut self, event: Event) {
        let before = self.life.state().as_str();
        let effects = self.life.step(event, Instant::now(), random(), &self.settings);
        for effect in effects {
            self.act(effect, before == "stopping");
        }
        self.publish();
        let state = self.life.state().as_str();
        if before != state {
            // What stays out of reach for hours is not told every second.
            if self.life.missed() > 1 {
                debug!(backend = %self.shared.name, replica = self.replica, incarnation = self.incarnation, "{before} -> {state}");
            } else {
                info!(backend = %self.shared.name, replica = self.replica, incarnation = self.incarnation, "{before} -> {state}");
            }
            self.shared.tell_changed();
            self.shared.tell(self.replica, self.incarnation, state);
        }
    }

    /// `wanted`: it was being stopped.
    fn act(&mut self, effect: Effect, wanted: bool) {
        match effect {
            Effect::Spawn => self.spawn(),
            Effect::Open => self.open(),
            Effect::Close => self.shared.set_condition(self.seat, Condition::Down, &[]),
            Effect::Settle { why } => self.settle(why, wanted),
            Effect::GiveUp { why } => self.give_up(why),
            Effect::CloseStdin => {
                if let Some(connection) = &mut self.connection {
                    connection.close_stdin();
                }
            }
            Effect::Terminate => {
                if let Some(connection) = &mut self.connection {
                    connection.terminate();
                }
            }
            Effect::Kill => {
                let stopping = matches!(self.life.state(), State::Stopping { .. });
                match &mut self.connection {
                    Some(connection) if stopping => connection.kill(),
                    Some(connection) => connection.break_off(),
                    None => {}
                }
            }
        }
    }

    fn spawn(&mut self) {
        self.incarnation += 1;
        self.counters.begin();
        self.started = Some(Instant::now());
        if let Some(remote) = self.settings.remote.clone() {
            return self.connect(&remote);
        }
        let spec = process::Spec {
            program: self.settings.command.clone(),
            args: self.settings.args.clone(),
            env: self.settings.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            cwd: self.settings.cwd.clone(),
        };
        match self.shared.spawner.spawn(&spec) {
            Ok(child) => {
                self.pid = Some(child.pid);
                let (connection, stderr) = Connection::of_child(child, self.settings.max_message);
                self.connection = Some(connection);
                let backend: Arc<str> = Arc::clone(&self.shared.name);
                tokio::spawn(process::pump(stderr, self.stderr.clone(), backend, self.incarnation));
                let face = self.shared.face(&self.settings);
                let (shake, step) = Handshake::begin(self.settings.era, self.remembered, face);
                self.probe_due = shake.probing().then(|| Instant::now() + PROBE_WAIT);
                self.shake = Some(shake);
                self.on_step(step);
            }
            Err(error) => {
                let permanent = error.is_permanent();
                self.on(Event::SpawnFailed {
                    why: error.to_string(),
                    permanent,
                });
            }
        }
    }

    pub(super) fn on_step(&mut self, step: Step) {
        match step {
            Step::Send(lines) => {
                if let Some(connection) = &mut self.connection {
                    for line in lines {
                        connection.push_own(&line);
                    }
                }
            }
            Step::Wait => {}
            Step::Done(facts) => {
                self.shake = None;
                self.probe_due = None;
                self.remembered = Some(facts.era);
                self.shared.introduce(Arc::clone(&facts.introduced));
                let tools = facts.tools.clone();
                self.facts = Some(*facts);
                let tools = self.usable(tools);
                self.shared.lists.publish(Kind::Tools, tools, self.incarnation, false);
                if let Some(started) = self.started {
                    if self.starts.len() == 16 {
                        self.starts.pop_front();
                    }
                    self.starts.push_back(started.elapsed());
                }
                self.begin_listening();
                self.begin_lists();
                self.send_level();
                self.on(Event::Ready);
            }
            Step::Failed(why) => {
                self.shake = None;
                self.on(Event::Broken { why });
            }
        }
    }

    fn open(&mut self) {
        // The start that led here is counted already; with none before it no state was lost.
        if self.settings.state == config::StateKind::Volatile && self.starts.len() > 1 {
            // Whoever was held meant the state of the incarnation that is gone.
            self.shared
                .gate
                .fail_held(&CallError::from(Reason::StateLost).at(&self.shared.name));
        }
        self.publish();
        self.shared.set_condition(self.seat, Condition::Ready, &[]);
    }

    /// The incarnation is gone: every call it had goes back to the gate or is lost.
    fn settle(&mut self, why: String, wanted: bool) {
        // Whoever had a call there is to know that it was not the server's doing.
        let why = if wanted {
            format!("the router stopped it: {why}")
        } else {
            why
        };
        let written = self.connection.take().map_or(0, |c| c.written());
        self.shake = None;
        self.listing.clear();
        self.asking.clear();
        self.shared.belongings.forget(self.replica);
        self.facts = None;
        self.probe_due = None;
        self.closed = None;
        self.pid = None;
        let (mut returning, mut settled) = (Vec::new(), Vec::new());
        let (mut lost, mut replayed) = (0_usize, 0_usize);
        for entry in self.pending.drain() {
            let sent = entry.end.is_some_and(|end| end <= written);
            if sent && !entry.replay {
                lost += 1;
                settled.push((entry.reply, Settled::Lost { why: why.clone() }));
            } else {
                replayed += usize::from(sent);
                returning.push((entry.agent, entry.ticket, entry.bytes));
                settled.push((entry.reply, Settled::Returned { replayed: sent }));
            }
        }
        let unsent = returning.len() - replayed;
        if self.life.missed() > 1 && settled.is_empty() {
            debug!(backend = %self.shared.name, replica = self.replica, incarnation = self.incarnation, "ended: {why}");
        } else if wanted {
            info!(backend = %self.shared.name, replica = self.replica, incarnation = self.incarnation, lost, replayed, unsent, "ended: {why}");
        } else {
            warn!(backend = %self.shared.name, replica = self.replica, incarnation = self.incarnation, lost, replayed, unsent, "ended: {why}");
        }
        self.ended = Some(why);
        // The places first, the callers then: nothing may overtake those that go back.
        self.publish_down();
        self.shared.set_condition(self.seat, Condition::Down, &returning);
        for (reply, outcome) in settled {
            let _ = reply.send(outcome);
        }
    }

    fn give_up(&mut self, why: String) {
        let now = Instant::now();
        let (reason, retry) = match self.life.state() {
            State::CrashLoop { until, .. } => (Reason::CrashLoop(why), Some(until.saturating_duration_since(now))),
            _ => (Reason::Unavailable(why), None),
        };
        let mut error = CallError::from(reason).at(&self.shared.name);
        error.retry_after = retry;
        error.incarnation = Some(self.incarnation);
        match retry {
            Some(pause) => {
                warn!(backend = %self.shared.name, replica = self.replica, "keeps dying: calls are refused, next try in {:.0} s", pause.as_secs_f64());
            }
            None => {
                warn!(backend = %self.shared.name, replica = self.replica, "cannot be started: calls are refused until `pointsman restart {}`", self.shared.name);
            }
        }
        self.shared
            .set_condition(self.seat, Condition::GivenUp(Box::new(error)), &[]);
    }

    fn publish_down(&self) {
        self.phase.send_if_modified(|phase| {
            phase.live = None;
            true
        });
    }

    pub(super) fn publish(&self) {
        let mut starts: Vec<_> = self.starts.iter().copied().collect();
        starts.sort_unstable();
        let live = self
            .facts
            .as_ref()
            .filter(|_| self.life.takes_calls() && self.closed.is_none())
            .map(|facts| Live {
                incarnation: self.incarnation,
                era: facts.era,
                logging: facts.has("logging"),
                tasks: facts.has_tasks(),
                lasting: facts.era == Era::Modern && self.settings.remote.is_some(),
            });
        self.phase.send_replace(Phase {
            state: self.life.state().clone(),
            incarnation: self.incarnation,
            pid: self.pid,
            live,
            restarts: self.life.restarted(),
            started: self.started,
            usual_start: starts
                .get((starts.len() * 9 / 10).min(starts.len().saturating_sub(1)))
                .copied(),
            version: self.facts.as_ref().map(|f| f.version.clone()),
            ended: self.ended.clone(),
        });
    }
}

/// A random number in 0..1 for the jitter of pauses.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness the pauses have no jitter, which is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
