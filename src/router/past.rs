//! What a call has met on its way so far, and what an error may still say of it then.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::honest;
use crate::backend::{Backend, Held, Live, Target};
use crate::error::{CallError, Delivery, Reason};

/// The pause after a call was turned away for the first time; it doubles each time.
const FIRST: Duration = Duration::from_millis(100);
const DOUBLED: u32 = 6;

/// A target has no time for a call, or there is nothing to send it with: nothing was done.
pub(super) struct Later {
    pub(super) why: String,
    pub(super) pause: Duration,
    /// The target had it, and said so.
    pub(super) seen: bool,
    pub(super) target: Arc<Target>,
}

/// What has become of a call so far.
#[derive(Default)]
pub(super) struct Past {
    /// Set once it was written to a target that died: from then on no error may claim "not sent".
    pub(super) written: Option<String>,
    /// A target did not know its session when it came.
    pub(super) forgotten: bool,
    /// Why it waits, or waited last; and whether a target had it.
    turned_away: Option<(String, bool)>,
    times: u32,
    /// The targets that have no time for it, and until when.
    busy: Vec<(Arc<Target>, Instant)>,
    /// Before that it is not ready to go again.
    pub(super) from: Option<Instant>,
}

impl Past {
    /// It was turned away by a target of `backend`, and is back at the gate. `free`: it may go to any of them. An error
    /// where its wait ends before anyone will have time for it.
    pub(super) fn later(&mut self, later: Later, backend: &Backend, free: bool, held: &Held) -> Result<(), CallError> {
        let now = Instant::now();
        self.turned_away = Some((later.why, later.seen));
        if !later.seen {
            self.from = Some(now + later.pause);
            return Ok(());
        }
        let pause = later.pause.max(FIRST.saturating_mul(1 << self.times.min(DOUBLED)));
        self.busy.retain(|(_, until)| *until > now);
        self.busy.push((later.target, now + pause));
        if free && backend.live().iter().any(|(target, _)| !self.is_busy(target)) {
            held.willing();
            return Ok(());
        }
        self.times += 1;
        let first = self.busy.iter().map(|(_, until)| *until).filter(|_| free).min();
        let from = first.unwrap_or(now + pause);
        if from > held.until() {
            let mut error = CallError::from(Reason::HoldDeadline);
            error.waited = held.waited();
            error.retry_after = Some(from - now);
            return Err(error);
        }
        self.from = Some(from);
        Ok(())
    }

    fn is_busy(&self, target: &Arc<Target>) -> bool {
        self.busy.iter().any(|(busy, _)| Arc::ptr_eq(busy, target))
    }

    /// Leaves out those that have no time for it, as long as there are others.
    pub(super) fn spare(&mut self, live: &mut Vec<(Arc<Target>, Live)>) {
        if self.busy.is_empty() {
            return;
        }
        let now = Instant::now();
        self.busy.retain(|(_, until)| *until > now);
        if live.iter().any(|(target, _)| !self.is_busy(target)) {
            live.retain(|(target, _)| !self.is_busy(target));
        }
    }

    /// An error that says what is true after all that was.
    pub(super) fn error(&self, mut error: CallError) -> CallError {
        match &self.turned_away {
            // It was sent, if in vain.
            Some((why, true)) if error.delivery() == Delivery::NotSent => error.reason = Reason::Refused(why.clone()),
            Some((why, false)) if error.reason == Reason::HoldDeadline => {
                error.reason = Reason::Unavailable(why.clone());
            }
            _ => {}
        }
        honest(error, self.written.clone())
    }
}
