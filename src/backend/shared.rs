//! What the actors of one backend share: its gate, its lists, and which of its targets are open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::watch;

use super::belongings::Belongings;
use super::face::{Face, Owner};
use super::gate::Gate;
use super::handshake::Introduced;
use super::lists::Lists;
use super::queue::Ticket;
use super::spawn::room;
use super::subscriptions::Subscriptions;
use crate::call::AgentKey;
use crate::config::{self, ServerRequests};
use crate::error::CallError;
use crate::policy::{Event, Observer};
use crate::process::Spawner;
use crate::remote::Wallet;

/// Whether a target takes calls.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// Yes.
    Ready,
    /// Not now: calls are held.
    Down,
    /// Not soon: calls are refused with this error, if no other target takes them.
    GivenUp(Box<CallError>),
}

/// Shared by the actors of one backend.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) gate: Gate,
    pub(super) spawner: Arc<dyn Spawner>,
    /// The router's own tokens, where the servers want some.
    pub(super) wallet: Arc<Wallet>,
    /// The agent whose alone the backend is, where it is one agent's.
    pub(super) owner: Option<Owner>,
    conditions: Mutex<Conditions>,
    pub(super) lists: Lists,
    pub(super) subscriptions: Subscriptions,
    pub(super) belongings: Belongings,
    observer: OnceLock<Arc<dyn Observer>>,
    introduced: Mutex<Option<Arc<Introduced>>>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Conditions {
    /// By seat, not by replica: one that is on its way out must not speak for its successor.
    by_seat: BTreeMap<u64, Condition>,
    last_seat: u64,
    room: usize,
}

impl Shared {
    pub(super) fn new(
        name: Arc<str>,
        spawner: Arc<dyn Spawner>,
        settings: &config::Backend,
        owner: Option<Owner>,
        wallet: Arc<Wallet>,
    ) -> Self {
        let gate = Gate::new(&settings.gate);
        let room = room(settings, owner.is_some());
        let conditions = Mutex::new(Conditions {
            by_seat: BTreeMap::new(),
            last_seat: 0,
            room,
        });
        Self {
            name,
            gate,
            spawner,
            wallet,
            owner,
            conditions,
            lists: Lists::default(),
            subscriptions: Subscriptions::default(),
            belongings: Belongings::default(),
            observer: OnceLock::new(),
            introduced: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Who its targets are told that they serve.
    pub(super) fn face(&self, settings: &config::Backend) -> Face {
        match &self.owner {
            Some(owner) => owner.face.clone(),
            None => {
                // A server over HTTP asks on the stream of the call that it asks for; HTTP+SSE has one stream for all.
                let by_stream = settings
                    .remote
                    .as_ref()
                    .is_some_and(|r| r.transport != config::Transport::Sse);
                Face::own(by_stream || settings.server_requests == ServerRequests::Serialize)
            }
        }
    }

    /// From now on this one is told of its targets. The first one counts.
    pub(super) fn observed_by(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    /// Who is told.
    pub(super) fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.get()
    }

    /// Tells that a target is in another state.
    pub(super) fn tell(&self, replica: u32, incarnation: u64, state: &str) {
        if let Some(observer) = self.observer().filter(|o| o.is_listening()) {
            observer.observe(Event::target(&self.name, replica, incarnation, state));
        }
    }

    /// A target said what it is.
    pub(super) fn introduce(&self, said: Arc<Introduced>) {
        let mut introduced = self.introduced.lock().unwrap_or_else(PoisonError::into_inner);
        *introduced = Some(said);
    }

    /// What the last incarnation said of itself.
    pub(super) fn introduced(&self) -> Option<Arc<Introduced>> {
        let introduced = self.introduced.lock().unwrap_or_else(PoisonError::into_inner);
        introduced.clone()
    }

    /// Wakes when a target came or went.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A target came or went, and its phase says so already.
    pub(super) fn tell_changed(&self) {
        self.changed.send_modify(|times| *times += 1);
    }

    /// A target is there, not ready yet. Its seat is how it is known from now on.
    pub(super) fn join(&self) -> u64 {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.last_seat += 1;
        let seat = conditions.last_seat;
        conditions.by_seat.insert(seat, Condition::Down);
        self.apply(&conditions, &[]);
        seat
    }

    /// A target changed; `returning` are its calls that go back to the gate.
    pub(super) fn set_condition(&self, seat: u64, condition: Condition, returning: &[(AgentKey, Ticket, usize)]) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        // A target that is down again after it was given up is only being probed: calls stay refused.
        if let Some(known) = conditions.by_seat.get_mut(&seat)
            && !(matches!(condition, Condition::Down) && matches!(known, Condition::GivenUp(_)))
        {
            *known = condition;
        }
        self.apply(&conditions, returning);
    }

    /// An operator or a new configuration gives the target a fresh start: calls are held for it again.
    pub(super) fn forgive(&self, seat: u64) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = conditions.by_seat.get_mut(&seat) {
            *known = Condition::Down;
        }
        self.apply(&conditions, &[]);
    }

    /// A target is gone for good.
    pub(super) fn forget(&self, seat: u64) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.by_seat.remove(&seat);
        self.apply(&conditions, &[]);
    }

    /// Each ready target has room for so many calls.
    pub(super) fn set_room(&self, room: usize) {
        let mut conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.room = room;
        self.apply(&conditions, &[]);
    }

    /// Calls that came too late for a target go back to the gate.
    pub(super) fn give_back(&self, returning: &[(AgentKey, Ticket, usize)]) {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        self.apply(&conditions, returning);
    }

    fn apply(&self, conditions: &Conditions, returning: &[(AgentKey, Ticket, usize)]) {
        let ready = conditions
            .by_seat
            .values()
            .filter(|c| matches!(c, Condition::Ready))
            .count();
        self.gate.targets_changed(ready * conditions.room, returning);
        if ready > 0 {
            return;
        }
        let mut refusal = None;
        for condition in conditions.by_seat.values() {
            match condition {
                Condition::GivenUp(error) => refusal = Some(error),
                Condition::Ready | Condition::Down => return self.gate.reopen(),
            }
        }
        match refusal {
            Some(error) => self.gate.refuse(error),
            None => self.gate.reopen(),
        }
    }
}
