//! Backends: named upstream servers that stay while their processes come and go.
//!
//! A backend is a gate, a tool list and one actor for each of its targets. Everything about restarts lives in
//! here; the path of a call outside reads the same whether a target is up or down.

mod actor;
mod asking;
mod begin;
mod belongings;
mod connection;
mod effects;
pub mod face;
mod facts;
mod fetch;
pub mod gate;
pub mod handshake;
mod incoming;
mod listening;
mod listing;
pub mod lists;
mod over_http;
mod pending;
mod pipes;
pub mod queue;
pub mod restart;
mod shared;
mod spawn;
pub mod state;
mod status;
mod subscriptions;
pub mod target;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;

use self::gate::Gate;
use self::shared::Shared;
use self::spawn::{room, spawn_target};
use self::state::State;
use self::target::Control;
use crate::call::AgentKey;
use crate::config;
use crate::error::{CallError, Reason};
use crate::policy::{Facts, TargetView};
use crate::process::StderrRing;
use crate::wire::Kind;

pub use self::asking::refusal;
pub use self::belongings::Thing;
pub use self::face::{Face, Owner};
pub use self::gate::{Entry, Held, Permit};
pub use self::handshake::Introduced;
pub use self::lists::{Item, Known, List};
pub use self::status::{BackendStatus, TargetStatus};
pub use self::subscriptions::{Subscription, Watcher};
pub use self::target::{Ask, Flight, Live, Settled, Sink, Submit, Target};

/// A backend. Dropping the last handle stops its targets.
pub struct Backend {
    shared: Arc<Shared>,
    settings: ArcSwap<config::Backend>,
    targets: ArcSwap<Vec<Running>>,
    level: Mutex<Option<u8>>,
}

/// A target and its last words.
#[derive(Clone)]
struct Running {
    seat: u64,
    target: Arc<Target>,
    stderr: StderrRing,
}

impl Backend {
    /// Whose alone it is, says this to its targets.
    pub async fn tell(&self, notification: &str) {
        for running in self.targets.load_full().iter() {
            let line = notification.to_owned();
            running.target.control(Control::Tell(line)).await;
        }
    }

    /// Whether a target of the legacy era can ask an agent something in the middle of a call: where nobody could say
    /// whom it means, all that it asks is refused.
    pub fn may_ask(&self) -> bool {
        let settings = self.settings.load();
        self.shared.owner.is_some()
            || settings.remote.is_some()
            || settings.server_requests == config::ServerRequests::Serialize
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.shared.name
    }

    /// Its settings now.
    pub fn settings(&self) -> Arc<config::Backend> {
        self.settings.load_full()
    }

    /// Its gate.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// A call arrives at its gate.
    pub fn enter(&self, agent: &AgentKey, bytes: usize) -> Result<Entry, CallError> {
        self.shared.gate.enter(agent, bytes).map_err(|mut e| {
            if matches!(e.reason, Reason::CrashLoop(_)) {
                // The refusal is as old as the last death.
                e.retry_after = Some(self.probe_in());
            }
            e.at(&self.shared.name)
        })
    }

    /// When the next target in a crash loop is tried again; a little later where one is being tried now.
    fn probe_in(&self) -> Duration {
        let now = Instant::now();
        let due = |running: &Running| match running.target.phase().state {
            State::CrashLoop { until, .. } => Some(until.saturating_duration_since(now)),
            _ => None,
        };
        self.targets
            .load()
            .iter()
            .filter_map(due)
            .min()
            .unwrap_or(Duration::from_secs(1))
    }

    /// The list of a kind as the last incarnation gave it, and its changes.
    pub fn list(&self, kind: Kind) -> watch::Receiver<Known> {
        self.shared.lists.of(kind).subscribe()
    }

    /// The same without following it.
    pub fn known(&self, kind: Kind) -> Known {
        self.shared.lists.of(kind).borrow().clone()
    }

    /// What a target knows as `id` belongs to the agent behind `sink`, who calls it `name`: what the target says of it
    /// outside of calls goes there.
    pub fn belongs(&self, replica: u32, thing: Thing, id: &str, name: &str, sink: Arc<dyn Sink>) {
        self.shared.belongings.add(replica, thing, id, name, sink);
    }

    /// What the last incarnation said of itself; `None` before the first.
    pub fn introduced(&self) -> Option<Arc<Introduced>> {
        self.shared.introduced()
    }

    /// The targets that take calls now and have room, with what they are.
    pub fn live(&self) -> Vec<(Arc<Target>, Live)> {
        let targets = self.targets.load();
        // The gate counts for all of them together: with several, a policy could pick the same one each time.
        let room = match targets.len() {
            1 => usize::MAX,
            _ => room(&self.settings.load(), self.shared.owner.is_some()),
        };
        let in_flight = |target: &Target| target.counters.in_flight.load(std::sync::atomic::Ordering::Relaxed);
        targets
            .iter()
            .filter(|r| usize::try_from(in_flight(&r.target)).is_ok_and(|calls| calls < room))
            .filter_map(|r| r.target.live().map(|live| (Arc::clone(&r.target), live)))
            .collect()
    }

    /// Whether that incarnation of that replica takes calls.
    pub fn is_running(&self, replica: u32, incarnation: u64) -> bool {
        let same =
            |r: &Running| r.target.replica == replica && r.target.live().is_some_and(|l| l.incarnation == incarnation);
        self.targets.load().iter().any(same)
    }

    /// A live target as a policy sees it.
    pub fn view(self: &Arc<Self>, target: &Target, live: &Live) -> TargetView {
        use std::sync::atomic::Ordering::Relaxed;
        TargetView {
            backend: Arc::clone(&self.shared.name),
            replica: target.replica,
            incarnation: live.incarnation,
            in_flight: target.counters.in_flight.load(Relaxed),
            answered: target.counters.answered.load(Relaxed),
            latency: target.counters.latency(),
            facts: Some(Arc::clone(self) as Arc<dyn Facts>),
        }
    }

    /// The best of its targets' states, and the calls in flight at all of them.
    pub fn state(&self) -> (&'static str, u32) {
        let order = |s: &State| match s {
            State::Ready { .. } => 0,
            State::Starting { .. } => 1,
            State::Backoff { .. } => 2,
            State::Stopping { .. } => 3,
            State::CrashLoop { .. } => 4,
            State::Failed { .. } => 5,
            State::Stopped => 6,
        };
        // Every call asks for this: nothing is cloned, nothing allocated.
        let (mut best, mut in_flight) = ((6, "stopped"), 0);
        for running in self.targets.load().iter() {
            best = best.min(running.target.in_state(|s| (order(s), s.as_str())));
            in_flight += running
                .target
                .counters
                .in_flight
                .load(std::sync::atomic::Ordering::Relaxed);
        }
        (best.1, in_flight)
    }

    /// Wakes when a target came or went.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes()
    }

    /// True while a target is on its first start: its list is not known yet but may be soon.
    pub fn is_first_start(&self, kind: Kind) -> bool {
        self.shared.lists.of(kind).borrow().is_none()
            && self.targets.load().iter().any(|r| {
                let phase = r.target.phase();
                let starts = matches!(phase.state, State::Starting { .. } | State::Stopped);
                phase.live.is_some() || (phase.incarnation <= 1 && starts)
            })
    }

    /// The newest incarnation of any of its targets.
    pub fn incarnation(&self) -> u64 {
        self.targets
            .load()
            .iter()
            .map(|r| r.target.phase().incarnation)
            .max()
            .unwrap_or(0)
    }

    /// When one of its targets is expected to be ready.
    pub fn eta(&self) -> Option<Duration> {
        let now = Instant::now();
        self.targets
            .load()
            .iter()
            .filter_map(|r| r.target.phase().eta(now))
            .min()
    }

    /// Log messages from `rank` on are wanted by somebody. Targets are told the most talkative level that was
    /// ever asked for; each agent's own level is applied on the way to it.
    pub async fn want_level(&self, rank: u8) {
        {
            let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
            if level.is_some_and(|l| l <= rank) {
                return;
            }
            *level = Some(rank);
        }
        for running in self.targets.load_full().iter() {
            running.target.control(Control::LogLevel(rank)).await;
        }
    }

    /// Stops and starts every target, also after [`Self::stop`]. Where there are several each waits for the one
    /// before it, so that calls go on; returns when the last one was told.
    pub async fn restart(&self) {
        self.shared.gate.unshut();
        let targets = self.targets.load_full();
        for (position, running) in targets.iter().enumerate() {
            let before = running.target.phase().incarnation;
            running.target.control(Control::Restart).await;
            if position + 1 < targets.len() {
                running.target.settled_after(before).await;
            }
        }
    }

    /// Takes new settings. `respawn`: the child must be started again to have them.
    pub async fn reconfigure(&self, settings: config::Backend, respawn: bool) {
        let settings = Arc::new(settings);
        self.shared.gate.set_limits(&settings.gate);
        self.shared.set_room(room(&settings, self.shared.owner.is_some()));
        let old = self.targets.load_full();
        let wanted = usize::try_from(settings.replicas).unwrap_or(usize::MAX);
        let level = *self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let mut targets: Vec<Running> = old.iter().take(wanted).cloned().collect();
        for replica in u32::try_from(targets.len()).unwrap_or(u32::MAX)..settings.replicas {
            targets.push(spawn_target(&self.shared, replica, &settings, level));
        }
        let gone: Vec<Running> = old.iter().skip(wanted).cloned().collect();
        self.settings.store(Arc::clone(&settings));
        self.targets.store(Arc::new(targets));
        for running in old.iter().take(wanted) {
            running
                .target
                .control(Control::Settings(Arc::clone(&settings), respawn))
                .await;
        }
        for running in gone {
            self.shared.forget(running.seat);
            running.target.control(Control::Stop).await;
        }
    }

    /// Refuses calls and stops every target by the ladder; returns when all processes are gone.
    pub async fn stop(&self, reason: Reason) {
        self.refuse(reason);
        let targets = self.targets.load_full();
        for running in targets.iter() {
            running.target.control(Control::Stop).await;
        }
        for running in targets.iter() {
            running.target.stopped().await;
        }
    }

    /// Refuses calls from now on, held ones included; those in flight go on.
    pub fn refuse(&self, reason: Reason) {
        self.shared.gate.shut(&CallError::from(reason).at(&self.shared.name));
    }

    /// Kills every target now.
    pub async fn kill(&self) {
        let targets = self.targets.load_full();
        for running in targets.iter() {
            running.target.control(Control::Kill).await;
        }
        for running in targets.iter() {
            running.target.stopped().await;
        }
    }
}
