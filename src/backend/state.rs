//! The life of one target as a pure state machine: state × event × now → state + effects.
//!
//! ```text
//!            Start             Ready
//!  Stopped --------> Starting -------> Ready ----.
//!     ^                 | ^              |       | Exited
//!     |          Exited | | pause over   |       v
//!     |                 v |              |    (verdict of the deaths)
//!     |               Backoff <----------+-----> CrashLoop --probe--> Starting
//!     |                                  | Stop / Restart
//!     '------ Stopping{drain|eof|term|kill} <----'     spawn impossible --> Failed
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::restart::{Restarts, Verdict};
use crate::config;

/// Where a target is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not running and not wanted.
    Stopped,
    /// Spawned, shaking hands.
    Starting {
        /// When it is given up.
        until: Instant,
    },
    /// Takes calls.
    Ready {
        /// Since when.
        since: Instant,
    },
    /// Dead; a new start is due.
    Backoff {
        /// When.
        until: Instant,
    },
    /// Dead too often; calls are refused.
    CrashLoop {
        /// When a probe starts.
        until: Instant,
        /// What it last died of.
        why: String,
    },
    /// Cannot be started at all until the configuration changes or an operator restarts it.
    Failed {
        /// Why.
        why: String,
    },
    /// On its way out.
    Stopping {
        /// The rung of the ladder.
        rung: Rung,
        /// When the next rung is due.
        until: Instant,
        /// Whether a new start follows.
        again: bool,
    },
}

/// The rungs of the stop ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// No new calls; those in flight may finish.
    Drain,
    /// Its stdin is closed.
    Eof,
    /// SIGTERM was sent.
    Term,
    /// SIGKILL was sent.
    Kill,
}

/// What happens to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is wanted.
    Start,
    /// The program could not be started.
    SpawnFailed {
        /// Why.
        why: String,
        /// Trying again cannot help.
        permanent: bool,
    },
    /// The handshake is done.
    Ready,
    /// The handshake failed, or the connection broke, while the process may still live.
    Broken {
        /// How.
        why: String,
    },
    /// The process ended.
    Exited {
        /// How.
        why: String,
    },
    /// It is somewhere else, and cannot be reached: nothing is known about its health.
    Unreachable {
        /// Why.
        why: String,
    },
    /// No call is in flight any more.
    Drained,
    /// Time passed.
    Tick,
    /// Stop and start again.
    Restart,
    /// Stop for good.
    Stop,
    /// Stop now, without waiting for anything.
    Kill,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Start the program and shake hands.
    Spawn,
    /// Open the gate to it.
    Open,
    /// Close the gate to it; calls in flight go on.
    Close,
    /// Its calls will not be answered any more: settle them.
    Settle {
        /// What happened.
        why: String,
    },
    /// Refuse calls: this target will not come back soon.
    GiveUp {
        /// Why.
        why: String,
    },
    /// Close its stdin.
    CloseStdin,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// One target's life.
#[derive(Debug)]
pub struct Life {
    state: State,
    restarts: Restarts,
    broken: Option<String>,
    restarted: u64,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            state: State::Stopped,
            restarts: Restarts::default(),
            broken: None,
            restarted: 0,
        }
    }
}

impl Life {
    /// Where it is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether calls may be written to it: it is ready, and nothing has gone wrong with it.
    pub fn takes_calls(&self) -> bool {
        matches!(self.state, State::Ready { .. }) && self.broken.is_none()
    }

    /// How often it was started again.
    pub fn restarted(&self) -> u64 {
        self.restarted
    }

    /// How often in a row it could not be reached.
    pub fn missed(&self) -> u32 {
        self.restarts.misses()
    }

    /// When [`Event::Tick`] is due.
    pub fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Starting { until }
            | State::Backoff { until }
            | State::CrashLoop { until, .. }
            | State::Stopping { until, .. } => Some(*until),
            State::Stopped | State::Ready { .. } | State::Failed { .. } => None,
        }
    }

    /// One step. `jitter` is a random number in 0..1.
    pub fn step(&mut self, event: Event, now: Instant, jitter: f64, rules: &config::Backend) -> Vec<Effect> {
        use State as S;
        match (event, self.state.clone()) {
            (Event::Start, S::Stopped) => self.spawn(now, rules),
            // One that was given up meanwhile is on its way out, whatever it still says.
            (Event::Ready, S::Starting { .. }) if self.broken.is_none() => {
                self.state = S::Ready { since: now };
                self.restarts.reached();
                vec![Effect::Open]
            }
            (Event::SpawnFailed { why, permanent: true }, S::Starting { .. }) => {
                self.state = S::Failed { why: why.clone() };
                vec![Effect::Settle { why: why.clone() }, Effect::GiveUp { why }]
            }
            (Event::SpawnFailed { why, permanent: false }, S::Starting { .. }) => {
                self.died(why, false, now, jitter, rules)
            }
            (Event::Broken { why }, S::Starting { .. } | S::Ready { .. }) => {
                // The exit follows and decides; until then nothing more is sent there.
                self.broken.get_or_insert(why);
                vec![Effect::Close, Effect::Kill]
            }
            (Event::Exited { why }, S::Starting { .. }) => self.died(why, false, now, jitter, rules),
            (Event::Exited { why }, S::Ready { since }) => {
                let stable = now.duration_since(since) >= rules.stable_after;
                self.died(why, stable, now, jitter, rules)
            }
            (Event::Unreachable { why }, S::Starting { .. } | S::Ready { .. }) => {
                // What is out of reach is tried again and again; calls are held for as long as they may be.
                let why = self.broken.take().unwrap_or(why);
                let pause = self.restarts.missed(jitter, &rules.backoff);
                self.state = S::Backoff { until: now + pause };
                vec![Effect::Settle { why }]
            }
            (Event::Exited { why } | Event::Unreachable { why }, S::Stopping { again, .. }) => {
                let mut effects = vec![Effect::Settle { why }];
                if again {
                    self.restarted += 1;
                    effects.extend(self.spawn(now, rules));
                } else {
                    self.state = S::Stopped;
                }
                effects
            }
            (Event::Tick, state) if self.due().is_some_and(|due| due <= now) => self.time_is_up(state, now, rules),
            (
                Event::Drained,
                S::Stopping {
                    rung: Rung::Drain,
                    again,
                    ..
                },
            ) => self.climb(Rung::Eof, again, now, rules),
            (Event::Restart, S::Backoff { .. } | S::CrashLoop { .. } | S::Failed { .. } | S::Stopped) => {
                self.restarts.forgive();
                self.restarted += 1;
                self.spawn(now, rules)
            }
            (Event::Restart, S::Ready { .. }) => self.drain(true, now, rules),
            (Event::Restart, S::Starting { .. }) => {
                self.restarts.forgive();
                self.climb(Rung::Eof, true, now, rules)
            }
            (Event::Restart, S::Stopping { rung, until, .. }) => {
                self.state = S::Stopping {
                    rung,
                    until,
                    again: true,
                };
                vec![]
            }
            (Event::Stop, S::Ready { .. }) => self.drain(false, now, rules),
            (Event::Stop, S::Starting { .. }) => self.climb(Rung::Eof, false, now, rules),
            (Event::Stop, S::Stopping { rung, until, .. }) => {
                self.state = S::Stopping {
                    rung,
                    // A drain that began for a restart gets no more time than one that begins now.
                    until: match rung {
                        Rung::Drain => until.min(now + rules.stop.drain),
                        _ => until,
                    },
                    again: false,
                };
                vec![]
            }
            (Event::Stop | Event::Kill, S::Backoff { .. } | S::CrashLoop { .. } | S::Failed { .. }) => {
                self.state = S::Stopped;
                vec![]
            }
            (Event::Kill, S::Ready { .. } | S::Starting { .. } | S::Stopping { .. }) => {
                self.climb(Rung::Kill, false, now, rules)
            }
            _ => vec![],
        }
    }

    fn spawn(&mut self, now: Instant, rules: &config::Backend) -> Vec<Effect> {
        self.broken = None;
        self.state = State::Starting {
            until: now + rules.start_timeout,
        };
        vec![Effect::Spawn]
    }

    fn died(&mut self, why: String, stable: bool, now: Instant, jitter: f64, rules: &config::Backend) -> Vec<Effect> {
        // What broke is broken off by a kill: how that ended would only mislead.
        let why = self.broken.take().unwrap_or(why);
        let mut effects = vec![Effect::Settle { why: why.clone() }];
        match self
            .restarts
            .died(now, stable, jitter, &rules.backoff, &rules.crash_loop)
        {
            Verdict::Retry(pause) if pause.is_zero() => {
                self.restarted += 1;
                effects.extend(self.spawn(now, rules));
            }
            Verdict::Retry(pause) => self.state = State::Backoff { until: now + pause },
            Verdict::GiveUp(pause) => {
                self.state = State::CrashLoop {
                    until: now + pause,
                    why: why.clone(),
                };
                effects.push(Effect::GiveUp { why });
            }
        }
        effects
    }

    fn time_is_up(&mut self, state: State, now: Instant, rules: &config::Backend) -> Vec<Effect> {
        match state {
            State::Backoff { .. } | State::CrashLoop { .. } => {
                self.restarted += 1;
                self.spawn(now, rules)
            }
            State::Starting { .. } => {
                let why = format!("it was not ready within {:.1} s", rules.start_timeout.as_secs_f64());
                self.broken.get_or_insert(why);
                // The exit follows at once; should it not, the kill is repeated.
                self.state = State::Starting {
                    until: now + Duration::from_secs(1),
                };
                vec![Effect::Kill]
            }
            State::Stopping { rung, again, .. } => {
                let next = match rung {
                    Rung::Drain => Rung::Eof,
                    Rung::Eof => Rung::Term,
                    Rung::Term | Rung::Kill => Rung::Kill,
                };
                self.climb(next, again, now, rules)
            }
            _ => vec![],
        }
    }

    fn drain(&mut self, again: bool, now: Instant, rules: &config::Backend) -> Vec<Effect> {
        self.restarts.forgive();
        self.state = State::Stopping {
            rung: Rung::Drain,
            until: now + rules.stop.drain,
            again,
        };
        vec![Effect::Close]
    }

    fn climb(&mut self, rung: Rung, again: bool, now: Instant, rules: &config::Backend) -> Vec<Effect> {
        let (wait, effects) = match rung {
            Rung::Drain => (rules.stop.drain, vec![]),
            Rung::Eof => (rules.stop.eof, vec![Effect::Close, Effect::CloseStdin]),
            Rung::Term => (rules.stop.term, vec![Effect::Terminate]),
            Rung::Kill => (Duration::from_secs(1), vec![Effect::Close, Effect::Kill]),
        };
        self.state = State::Stopping {
            rung,
            until: now + wait,
            again,
        };
        effects
    }
}

impl State {
    /// Its word in status and for policies.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Backoff { .. } => "backoff",
            Self::CrashLoop { .. } => "crash-loop",
            Self::Failed { .. } => "failed",
            Self::Stopping { .. } => "stopping",
        }
    }
}

#[cfg(test)]
mod tests;
