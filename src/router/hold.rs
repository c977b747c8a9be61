//! Holding a call: waiting for its turn, its deadline or a new generation, and telling its agent meanwhile.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::{Listener, Policies};
use crate::backend::{Backend, Held};
use crate::call::Call;
use crate::error::{CallError, Reason};

/// The first word to a waiting agent comes after at most so long.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// Notes in the trail of a call how long it waited, also where it was taken back meanwhile.
pub(super) struct Waited<'a>(Instant, &'a Call);

impl<'a> Waited<'a> {
    pub(super) fn since(began: Instant, call: &'a Call) -> Self {
        Self(began, call)
    }
}

impl Drop for Waited<'_> {
    fn drop(&mut self) {
        self.1.trail.waited(self.0.elapsed());
    }
}

/// Why the wait ended.
pub(super) enum Turn {
    /// It may go.
    Go,
    /// A newer generation is active: ask it where the call goes.
    Reroute,
}

/// Waits at the gate. Before `from` it is not ready to go, where that is some time.
pub(super) async fn wait(
    held: &mut Held,
    from: &mut Option<Instant>,
    backend: &Backend,
    listener: Option<&dyn Listener>,
    policies: &Policies,
    generation: u64,
) -> Result<Turn, CallError> {
    let mut changes = policies.changes();
    if policies.current().generation() != generation {
        return Ok(Turn::Reroute);
    }
    let every = backend.gate().progress_every();
    let mut words = interval_at(Instant::now() + every.min(FIRST_WORD), every);
    words.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = held.until();
    loop {
        tokio::select! {
            biased;
            turn = held.turn() => return turn.map(|()| Turn::Go).map_err(|e| with_wait(e, held, backend)),
            _ = changes.changed() => {
                if policies.current().generation() != generation {
                    return Ok(Turn::Reroute);
                }
            }
            () = sleep_until(until) => return Err(with_wait(CallError::from(Reason::HoldDeadline), held, backend)),
            () = sleep_until(from.unwrap_or(until)), if from.is_some() => {
                *from = None;
                held.willing();
            }
            _ = words.tick() => {
                if let Some(listener) = listener {
                    let (ahead, pace) = held.position();
                    let eta = backend.eta().map(|eta| eta + pace.unwrap_or_default());
                    listener.waiting(backend.name(), ahead, eta, backend.state().0);
                }
            }
        }
    }
}

/// A policy said *hold*: asks again after `pause`, or sooner when a target came or went or the policies changed.
pub(super) async fn pause(held: &Held, pause: Duration, call: &Call, backend: &Backend, policies: &Policies) {
    if pause.is_zero() {
        return;
    }
    let _noted = Waited::since(Instant::now(), call);
    let mut changes = policies.changes();
    let mut targets = backend.changes();
    let until = (Instant::now() + pause.clamp(Duration::from_millis(1), Duration::from_secs(1))).min(held.until());
    tokio::select! {
        () = sleep_until(until) => {}
        _ = changes.changed() => {}
        _ = targets.changed() => {}
    }
}

fn with_wait(mut error: CallError, held: &Held, backend: &Backend) -> CallError {
    error.waited = held.waited();
    error.eta = backend.eta();
    error.incarnation = error.incarnation.or(Some(backend.incarnation()));
    error
}
