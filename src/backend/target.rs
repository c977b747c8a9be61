//! A target from outside: the messages it takes, what it says of itself, and a call in flight there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::queue::Ticket;
use super::state::State;
use crate::call::AgentKey;
use crate::config;
use crate::wire::{Era, RawJson};

/// Where the notifications of a call go: to its agent. Never blocks; what does not fit is dropped.
pub trait Sink: Send + Sync {
    /// `params` of a progress notification of this call, with the router's token.
    fn progress(&self, params: RawJson);
    /// `params` of a log message that is this agent's, and its rank.
    fn log(&self, rank: u8, params: RawJson);
    /// A request of the target to this agent.
    fn ask(&self, ask: Ask);
    /// Any other notification that is this agent's.
    fn note(&self, method: &str, params: Option<&RawJson>);
    /// Where goes what is said to the agent when the call is over; `None` where it hears of nothing then.
    fn later(&self) -> Option<Arc<dyn Sink>>;
}

/// A request of a target to the agent whose call it works on.
#[derive(Debug)]
pub struct Ask {
    /// Its method.
    pub method: String,
    /// Its params, as they came; a progress token in there is the target's.
    pub params: Option<RawJson>,
    /// Takes the raw result, or the raw error. It is closed when the target no longer wants to know.
    pub reply: oneshot::Sender<Result<RawJson, RawJson>>,
    /// Takes `params` of progress notifications of the agent.
    pub progress: mpsc::Sender<RawJson>,
}

/// A call to be written.
pub struct Submit {
    /// The id it is written with.
    pub id: u64,
    /// The line, newline included.
    pub line: Vec<u8>,
    /// Who it is from.
    pub agent: AgentKey,
    /// Its place at the gate.
    pub ticket: Ticket,
    /// The bytes it was admitted with.
    pub bytes: usize,
    /// Whether it may be sent again if the target dies.
    pub replay: bool,
    /// The incarnation that it was made for.
    pub incarnation: u64,
    /// It met a lost session before: that it does so again may be its own doing.
    pub doubted: bool,
    /// Its caller.
    pub reply: oneshot::Sender<Settled>,
    /// Where its notifications go.
    pub sink: Option<Arc<dyn Sink>>,
}

/// How a call ended at its target.
#[derive(Debug)]
pub enum Settled {
    /// The target answered: the raw result or the raw error.
    Answered(Result<RawJson, RawJson>),
    /// It goes back to the gate: it was never written, or it may be sent again (`replayed`).
    Returned {
        /// It was written once already.
        replayed: bool,
    },
    /// It goes back to the gate: the target did not know its session, and did nothing.
    Forgotten {
        /// What it said.
        why: String,
    },
    /// It goes back to the gate for a while: nothing was done.
    Later {
        /// Why.
        why: String,
        /// How long.
        pause: Duration,
        /// The target had it, and said so.
        seen: bool,
    },
    /// It was refused, without an answer that could be handed on.
    Refused {
        /// How.
        why: String,
    },
    /// It was written, and the target died.
    Lost {
        /// How.
        why: String,
    },
}

/// What goes to a target about calls.
pub enum Work {
    /// Write this.
    Call(Submit),
    /// This is no longer wanted.
    Cancel(u64),
}

/// What goes to a target about itself.
pub enum Control {
    /// Stop and start again.
    Restart,
    /// Stop; answers when it has.
    Stop,
    /// Stop without waiting for anything.
    Kill,
    /// New settings, and whether the child must be started again to have them.
    Settings(Arc<config::Backend>, bool),
    /// Log messages from this rank on are wanted.
    LogLevel(u8),
    /// What agents want to hear of has changed.
    Subscriptions,
    /// A notification of the agent whose target it is.
    Tell(String),
}

/// A target that takes calls now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The number of its spawn.
    pub incarnation: u64,
    /// The era it speaks.
    pub era: Era,
    /// Whether it has the capability `logging`.
    pub logging: bool,
    /// Whether it says anything of tasks.
    pub tasks: bool,
    /// Whether what it knows outlives this incarnation: a stateless server somewhere else.
    pub lasting: bool,
}

/// What a target says of itself.
#[derive(Clone, Debug)]
pub struct Phase {
    /// Where it is in its life.
    pub state: State,
    /// The number of its newest spawn; 0 before the first.
    pub incarnation: u64,
    /// The process id of that.
    pub pid: Option<u32>,
    /// Set while it takes calls.
    pub live: Option<Live>,
    /// How often it was started again.
    pub restarts: u64,
    /// When the newest spawn began.
    pub started: Option<Instant>,
    /// How long it usually takes from spawn to ready: the 90th percentile of the last starts.
    pub usual_start: Option<Duration>,
    /// The protocol version, once agreed.
    pub version: Option<String>,
    /// How the incarnation before ended.
    pub ended: Option<String>,
}

impl Default for Phase {
    fn default() -> Self {
        Self {
            state: State::Stopped,
            incarnation: 0,
            pid: None,
            live: None,
            restarts: 0,
            started: None,
            usual_start: None,
            version: None,
            ended: None,
        }
    }
}

impl Phase {
    /// When it is expected to be ready, from now; `None` where nobody can say.
    pub fn eta(&self, now: Instant) -> Option<Duration> {
        let start = self.usual_start?;
        match &self.state {
            State::Ready { .. } => Some(Duration::ZERO),
            State::Starting { .. } => {
                Some(start.saturating_sub(self.started.map_or(Duration::ZERO, |s| now.duration_since(s))))
            }
            State::Backoff { until } | State::CrashLoop { until, .. } => {
                Some(until.saturating_duration_since(now) + start)
            }
            State::Stopping { until, again: true, .. } => Some(until.saturating_duration_since(now) + start),
            State::Stopped | State::Failed { .. } | State::Stopping { .. } => None,
        }
    }
}

/// Counters that callers and the actor share.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls in flight.
    pub in_flight: AtomicU32,
    /// Calls answered by the present incarnation.
    pub answered: AtomicU64,
    /// Microseconds that the present incarnation takes to answer: a moving average; 0 before its first answer.
    latency: AtomicU64,
    /// Lines that were no message, or answers that nobody waits for.
    pub junk: AtomicU64,
    next_id: AtomicU64,
}

impl Counters {
    /// A call was answered after so long.
    pub(super) fn answered_after(&self, took: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let before = self.latency.load(Ordering::Relaxed);
        // The actor alone writes it.
        let now = match before {
            0 => took,
            _ => before - before / 8 + took / 8,
        };
        self.latency.store(now.max(1), Ordering::Relaxed);
    }

    /// Another incarnation begins.
    pub(super) fn begin(&self) {
        self.answered.store(0, Ordering::Relaxed);
        self.latency.store(0, Ordering::Relaxed);
    }

    /// How long answers take; `None` before the first.
    pub fn latency(&self) -> Option<Duration> {
        match self.latency.load(Ordering::Relaxed) {
            0 => None,
            took => Some(Duration::from_micros(took)),
        }
    }
}

/// A handle to a target.
pub struct Target {
    /// Which of the backend's replicas it is.
    pub replica: u32,
    /// Its counters.
    pub counters: Arc<Counters>,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) control: mpsc::Sender<Control>,
    pub(super) phase: watch::Receiver<Phase>,
}

impl Target {
    /// What it says of itself now.
    pub fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Set while it takes calls.
    pub fn live(&self) -> Option<Live> {
        self.phase.borrow().live
    }

    /// Looks at its state where it stands.
    pub(super) fn in_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.phase.borrow().state)
    }

    /// An id that no other call at this target has, in any incarnation.
    pub fn next_id(&self) -> u64 {
        // The ids below belong to the handshake.
        self.counters.next_id.fetch_add(1, Ordering::Relaxed) + 100
    }

    /// Hands a call over. It is in flight until the guard is dropped.
    pub async fn submit(&self, submit: Submit, receiver: oneshot::Receiver<Settled>) -> Flight {
        let id = submit.id;
        self.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        let mut flight = Flight {
            id,
            work: self.work.clone(),
            counters: Arc::clone(&self.counters),
            receiver,
            accepted: true,
            settled: false,
        };
        // The inbox has room for all that the gate lets pass, so this rarely waits. A target that is gone takes
        // nothing.
        flight.accepted = match self.work.try_send(Work::Call(submit)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(call)) => Box::pin(self.work.send(call)).await.is_ok(),
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        };
        flight
    }

    /// Tells it something about itself.
    pub async fn control(&self, control: Control) {
        // A target that is gone needs no telling.
        let _ = self.control.send(control).await;
    }

    /// Waits until an incarnation after `before` takes calls, or it is clear that none will soon.
    pub async fn settled_after(&self, before: u64) {
        let mut phase = self.phase.clone();
        let settled = |p: &Phase| {
            let hopeless = !matches!(
                p.state,
                State::Starting { .. } | State::Stopping { .. } | State::Ready { .. }
            );
            p.incarnation > before && (p.live.is_some() || hopeless)
        };
        // An actor that is gone settles no more.
        let _ = phase.wait_for(settled).await;
    }

    /// Waits until it has stopped.
    pub async fn stopped(&self) {
        let mut phase = self.phase.clone();
        // An actor that is gone has stopped as well.
        let _ = phase.wait_for(|p| p.state == State::Stopped).await;
    }
}

/// A call in flight. Dropping it before it settled cancels it at the target.
pub struct Flight {
    id: u64,
    work: mpsc::Sender<Work>,
    counters: Arc<Counters>,
    receiver: oneshot::Receiver<Settled>,
    accepted: bool,
    settled: bool,
}

impl Flight {
    /// Waits for the end of it. Cancel safe.
    pub async fn settled(&mut self) -> Settled {
        let settled = (&mut self.receiver).await;
        self.settled = true;
        match settled {
            Ok(settled) => settled,
            // Its actor ended without a word: by a bug, and then nobody knows how far the call got.
            Err(_) if self.accepted => Settled::Lost {
                why: "the router lost track of the process".to_owned(),
            },
            Err(_) => Settled::Returned { replayed: false },
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.settled {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(cancel)) = self.work.try_send(Work::Cancel(self.id)) {
            // The inbox is full of calls for a moment; the target must still hear of it.
            let work = self.work.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { work.send(cancel).await });
            }
        }
    }
}
