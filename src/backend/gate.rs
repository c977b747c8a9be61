//! The gate of a backend: callers enter in turn when a target is ready and are held otherwise.
//!
//! A monitor around the pure [`Queue`], not an actor: a caller that is dropped must leave the gate at once,
//! and a destructor can take a lock but cannot send on a bounded channel. The lock is never held across an
//! await, and nothing under it does input or output.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::queue::{Arrival, Queue, Ticket};
use crate::call::AgentKey;
use crate::config;
use crate::error::{CallError, Reason};

/// A backend's gate. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    queue: Queue,
    waiting: HashMap<Ticket, oneshot::Sender<Result<(), CallError>>>,
    refusing: Option<CallError>,
    /// Calls before this one were failed, wherever they were then.
    failed: Option<(Ticket, CallError)>,
    /// Refusing whatever the targets do.
    shut: bool,
    wait: Duration,
    progress: Duration,
    pace: Pace,
}

/// How fast calls leave, to tell those who wait when they may expect to go.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    gap: Option<Duration>,
}

impl Pace {
    fn left(&mut self, now: Instant) {
        if let Some(last) = self.last.replace(now) {
            let gap = now.duration_since(last).min(Duration::from_secs(10));
            self.gap = Some(self.gap.map_or(gap, |old| (old * 7 + gap) / 8));
        }
    }
}

impl Inner {
    fn refuse(&mut self, error: &CallError) {
        self.refusing = Some(error.clone());
        for (_, waiter) in self.waiting.drain() {
            let _ = waiter.send(Err(error.clone()));
        }
    }

    fn failure(&self, ticket: Ticket) -> Option<CallError> {
        let (before, error) = self.failed.as_ref()?;
        (ticket < *before).then(|| error.clone())
    }

    /// Lets go whoever may go.
    fn pump(&mut self) {
        while let Some((agent, ticket)) = self.queue.next_to_go() {
            self.pace.left(Instant::now());
            match self.waiting.remove(&ticket) {
                Some(waiter) => {
                    // A caller that has gone meanwhile gives its slot back when it drops its `Held`.
                    let _ = waiter.send(Ok(()));
                }
                // Refused already, and its caller has not come by yet.
                None => self.queue.over(&agent, ticket),
            }
        }
    }
}

/// How the gate answers an arriving call.
pub enum Entry {
    /// Go.
    Pass(Permit),
    /// Wait.
    Hold(Held),
}

impl Gate {
    /// A closed gate.
    pub fn new(limits: &config::Gate) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                queue: Queue::new(limits.clone()),
                waiting: HashMap::new(),
                refusing: None,
                failed: None,
                shut: false,
                wait: limits.wait,
                progress: limits.progress,
                pace: Pace::default(),
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock is a bug that was reported already; the queue itself is left consistent by
        // every operation, so the others go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New bounds.
    pub fn set_limits(&self, limits: &config::Gate) {
        let mut inner = self.lock();
        inner.queue.set_limits(limits.clone());
        inner.wait = limits.wait;
        inner.progress = limits.progress;
    }

    /// A call arrives.
    pub fn enter(&self, agent: &AgentKey, bytes: usize) -> Result<Entry, CallError> {
        let now = Instant::now();
        let mut inner = self.lock();
        if let Some(refusal) = &inner.refusing {
            return Err(refusal.clone());
        }
        match inner.queue.arrive(agent, bytes) {
            Err(bound) => {
                let mut error = CallError::from(Reason::QueueFull(bound));
                error.retry_after = Some(Duration::from_secs(1));
                Err(error)
            }
            Ok(Arrival::Pass(ticket)) => {
                let place = Place {
                    gate: self.clone(),
                    agent: agent.clone(),
                    ticket,
                    bytes,
                    arrived: now,
                    until: now + inner.wait,
                };
                Ok(Entry::Pass(Permit {
                    place: Some(place),
                    held: false,
                }))
            }
            Ok(Arrival::Hold(ticket)) => {
                let (sender, receiver) = oneshot::channel();
                inner.waiting.insert(ticket, sender);
                let place = Place {
                    gate: self.clone(),
                    agent: agent.clone(),
                    ticket,
                    bytes,
                    arrived: now,
                    until: now + inner.wait,
                };
                // The lane may be free already, where only the order of its calls made this one wait.
                inner.pump();
                Ok(Entry::Hold(Held {
                    place: Some(place),
                    receiver,
                }))
            }
        }
    }

    /// The targets changed: so many calls may be past the gate at once, and those in `returning` get their
    /// old places back before anything else can pass. Opens a gate that refused, where there is room again.
    pub fn targets_changed(&self, slots: usize, returning: &[(AgentKey, Ticket, usize)]) {
        let mut inner = self.lock();
        if slots > 0 && !inner.shut {
            inner.refusing = None;
        }
        inner.queue.set_slots(slots);
        for (agent, ticket, bytes) in returning {
            inner.queue.come_back(agent, *ticket, *bytes);
        }
        inner.pump();
    }

    /// Refuses everything, held calls at once, until there are slots again or [`Self::reopen`].
    pub fn refuse(&self, error: &CallError) {
        let mut inner = self.lock();
        if !inner.shut {
            inner.refuse(error);
        }
    }

    /// Refuses everything, held calls at once, whatever the targets do, until [`Self::unshut`].
    pub fn shut(&self, error: &CallError) {
        let mut inner = self.lock();
        inner.shut = true;
        inner.refuse(error);
    }

    /// Lets the targets decide again.
    pub fn unshut(&self) {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.shut) {
            inner.refusing = None;
        }
    }

    /// Fails what is held now, what is past the gate and would be held again, but not what comes.
    pub fn fail_held(&self, error: &CallError) {
        let mut inner = self.lock();
        inner.failed = Some((inner.queue.coming(), error.clone()));
        for (_, waiter) in inner.waiting.drain() {
            let _ = waiter.send(Err(error.clone()));
        }
    }

    /// Holds again instead of refusing.
    pub fn reopen(&self) {
        let mut inner = self.lock();
        if !inner.shut {
            inner.refusing = None;
        }
    }

    /// Calls held, their bytes, and calls past the gate.
    pub fn load(&self) -> (usize, usize, usize) {
        let inner = self.lock();
        (inner.queue.held(), inner.queue.held_bytes(), inner.queue.used())
    }

    /// Distance of the progress notifications to those who wait.
    pub fn progress_every(&self) -> Duration {
        self.lock().progress
    }
}

/// A call's place: in the queue or past the gate, never both.
#[derive(Debug)]
struct Place {
    gate: Gate,
    agent: AgentKey,
    ticket: Ticket,
    bytes: usize,
    arrived: Instant,
    until: Instant,
}

/// A call that is held. Dropping it leaves the gate.
#[derive(Debug)]
pub struct Held {
    place: Option<Place>,
    receiver: oneshot::Receiver<Result<(), CallError>>,
}

impl Held {
    /// When it has waited long enough.
    pub fn until(&self) -> Instant {
        self.place.as_ref().map_or_else(Instant::now, |p| p.until)
    }

    /// How long it has waited so far.
    pub fn waited(&self) -> Duration {
        self.place.as_ref().map_or(Duration::ZERO, |p| p.arrived.elapsed())
    }

    /// How many go before it, at most, and how long that takes by the pace so far.
    pub fn position(&self) -> (usize, Option<Duration>) {
        let Some(place) = &self.place else { return (0, None) };
        let inner = place.gate.lock();
        let ahead = inner.queue.ahead(&place.agent, place.ticket);
        (
            ahead,
            inner.pace.gap.map(|gap| gap * u32::try_from(ahead).unwrap_or(u32::MAX)),
        )
    }

    /// Waits to be let go, or refused. Cancel safe: call it again after other events.
    pub async fn turn(&mut self) -> Result<(), CallError> {
        match (&mut self.receiver).await {
            Ok(turn) => turn,
            Err(_) => Err(CallError::from(Reason::Unavailable("it was removed".into()))),
        }
    }

    /// Turns the place into a permit, after [`Self::turn`] said go.
    pub fn go(mut self) -> Permit {
        Permit {
            place: self.place.take(),
            held: true,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut inner = place.gate.lock();
        inner.waiting.remove(&place.ticket);
        // Where it was let go already, its slot is given back.
        inner.queue.over(&place.agent, place.ticket);
        inner.pump();
    }
}

/// A call past the gate. Dropping it frees its slot.
#[derive(Debug)]
pub struct Permit {
    place: Option<Place>,
    held: bool,
}

impl Permit {
    /// Its place in the order of arrivals, for [`Gate::targets_changed`].
    pub fn ticket(&self) -> Ticket {
        self.place.as_ref().map_or(Ticket(0), |p| p.ticket)
    }

    /// The bytes it was admitted with.
    pub fn bytes(&self) -> usize {
        self.place.as_ref().map_or(0, |p| p.bytes)
    }

    /// How long ago the call arrived at the gate.
    pub fn waited(&self) -> Duration {
        self.place.as_ref().map_or(Duration::ZERO, |p| p.arrived.elapsed())
    }

    /// Why it may not go after all, although it has passed: see [`Gate::fail_held`].
    pub fn failed(&self) -> Option<CallError> {
        let place = self.place.as_ref()?;
        place.gate.lock().failure(place.ticket)
    }

    /// The call is in its target's inbox: the next of its agent may follow.
    pub fn entered(&mut self) {
        if !self.held {
            return;
        }
        self.held = false;
        if let Some(place) = &self.place {
            let mut inner = place.gate.lock();
            inner.queue.entered(&place.agent, place.ticket);
            inner.pump();
        }
    }

    /// Back to the gate, to its old place, where a target that went down has put it already. `replayed`: it was
    /// sent once, and its waiting begins anew.
    pub fn hold_again(mut self, replayed: bool) -> Result<Held, CallError> {
        let Some(mut place) = self.place.take() else {
            return Err(CallError::from(Reason::Unavailable("it was removed".into())));
        };
        let (sender, receiver) = oneshot::channel();
        let mut inner = place.gate.lock();
        inner.queue.come_back(&place.agent, place.ticket, place.bytes);
        let late = (!replayed && place.until <= Instant::now()).then(|| CallError {
            waited: place.arrived.elapsed(),
            ..CallError::from(Reason::HoldDeadline)
        });
        if let Some(refusal) = inner.refusing.clone().or_else(|| inner.failure(place.ticket)).or(late) {
            inner.queue.over(&place.agent, place.ticket);
            inner.pump();
            return Err(refusal);
        }
        inner.waiting.insert(place.ticket, sender);
        if replayed {
            place.until = Instant::now() + inner.wait;
        }
        // Its slot is free while it is not willing: agents behind it need not wait for its policy.
        inner.pump();
        drop(inner);
        Ok(Held {
            place: Some(place),
            receiver,
        })
    }
}

impl Held {
    /// Ready to go, after [`Permit::hold_again`].
    pub fn willing(&self) {
        if let Some(place) = &self.place {
            let mut inner = place.gate.lock();
            inner.queue.willing(&place.agent, place.ticket);
            inner.pump();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut inner = place.gate.lock();
        inner.queue.over(&place.agent, place.ticket);
        inner.pump();
    }
}

#[cfg(test)]
mod tests;
