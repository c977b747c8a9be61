//! Calls of modern agents that wait for input which a legacy server asked for in the middle of them.
//!
//! The call stays in flight at its target; the agent holds a sealed word for it and comes back with the answers.
//! Whoever does not come back in time is given up, and his server is told. Where there is no room for another one, whoever
//! has most gives way with his oldest: calls that nobody comes back for must not shut out everybody else.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::debug;

use super::listener::CallListener;
use crate::backend::Ask;
use crate::call::AgentKey;
use crate::error::CallError;
use crate::router::Answer;

/// A call under way.
pub(super) type Run = Pin<Box<dyn Future<Output = Result<Answer, CallError>> + Send>>;

/// A call that can be asked for input.
pub(super) struct Ongoing {
    /// The rest of it.
    pub(super) run: Run,
    /// Whether it runs in a task of its own.
    pub(super) spawned: bool,
    /// What its server asks.
    pub(super) asks: mpsc::Receiver<Ask>,
    /// What its server asked and was not told yet, by the key that the agent was given.
    pub(super) open: Vec<(String, Ask)>,
    /// How many questions there were.
    pub(super) asked: usize,
    /// Where its notifications go.
    pub(super) listener: Arc<CallListener>,
}

/// The calls that wait.
pub(super) struct Parking {
    calls: Mutex<Lot>,
    capacity: usize,
}

#[derive(Default)]
struct Lot {
    by_id: HashMap<String, Parked>,
    /// How many there were.
    count: u64,
}

struct Parked {
    call: Ongoing,
    end: AbortHandle,
    owner: AgentKey,
    /// The how many-th it is.
    number: u64,
}

impl Lot {
    /// The oldest of whoever has most, with one more of `coming`.
    fn longest_of_most(&self, coming: &AgentKey) -> Option<String> {
        let mut counts = HashMap::from([(coming, 1_usize)]);
        for parked in self.by_id.values() {
            *counts.entry(&parked.owner).or_default() += 1;
        }
        let weight = |parked: &Parked| (counts.get(&parked.owner).copied(), Reverse(parked.number));
        let found = self.by_id.iter().max_by_key(|(_, parked)| weight(parked));
        found.map(|(id, _)| id.clone())
    }
}

impl Parking {
    /// Room for so many.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            calls: Mutex::default(),
            capacity,
        })
    }

    /// Parks a call of `owner` for so long, and says what it is known by; gives it back where that cannot be. The call
    /// goes on meanwhile.
    pub(super) fn park(
        self: &Arc<Self>,
        mut call: Ongoing,
        owner: AgentKey,
        patience: Duration,
    ) -> Result<String, Box<Ongoing>> {
        let mut random = [0_u8; 16];
        if self.capacity == 0 || getrandom::fill(&mut random).is_err() {
            return Err(Box::new(call));
        }
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        if !call.spawned {
            call.run = spawned(call.run);
            call.spawned = true;
        }
        let (parking, gone) = (Arc::downgrade(self), id.clone());
        // Held until it is in, so that its end cannot come before it.
        let mut calls = lock(&self.calls);
        let end = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            // Dropping it cancels the call and refuses what was asked.
            drop(Weak::upgrade(&parking).and_then(|parking| lock(&parking.calls).by_id.remove(&gone)));
        });
        let mut leaving = None;
        if calls.by_id.len() >= self.capacity {
            leaving = calls.longest_of_most(&owner).and_then(|id| calls.by_id.remove(&id));
        }
        calls.count += 1;
        let (number, end) = (calls.count, end.abort_handle());
        let parked = Parked {
            call,
            end,
            owner,
            number,
        };
        calls.by_id.insert(id.clone(), parked);
        drop(calls);
        if let Some(leaving) = leaving {
            leaving.end.abort();
            debug!(agent = %leaving.owner, "a call that waits for input is given up for another one");
        }
        Ok(id)
    }

    /// The call that waits under that name.
    pub(super) fn take(&self, id: &str) -> Option<Ongoing> {
        let parked = lock(&self.calls).by_id.remove(id)?;
        parked.end.abort();
        Some(parked.call)
    }
}

/// Runs `run` in a task of its own, which ends when the returned future is dropped.
fn spawned(run: Run) -> Run {
    let mut task = Abort(tokio::spawn(run));
    Box::pin(async move {
        match (&mut task.0).await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    })
}

struct Abort(tokio::task::JoinHandle<Result<Answer, CallError>>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
