//! Which calls leave a trace: those about which a plugin decided something, and all of them while somebody watches.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::shelf::{Found, Query, Shelf};
use super::trace::{Outcome, Trace};
use super::{Answer, Incoming, Router};
use crate::config;
use crate::error::CallError;

/// How long all calls are kept after somebody asked for all.
pub const WATCH: Duration = Duration::from_secs(60);
/// Bytes of traces in one answer, about.
const MOST_TOLD: usize = 2 << 20;

/// The traces that the router keeps.
#[derive(Debug)]
pub struct Traces {
    /// Nobody holds it for longer than it takes to put one or to look through them; calls that leave no trace never do.
    shelf: Mutex<Shelf>,
    /// Until when all calls are kept, in milliseconds from the beginning; 0: they are not.
    watched: AtomicU64,
    began: Instant,
    most: usize,
}

impl Traces {
    /// None yet, and room for as many as `[policies]` says.
    pub fn new(settings: &config::Policies) -> Self {
        let (most, bytes) = (settings.trace_calls, settings.trace_bytes);
        Self {
            shelf: Mutex::new(Shelf::new(most, bytes)),
            watched: AtomicU64::new(0),
            began: Instant::now(),
            most,
        }
    }

    /// How many are kept at most, of each kind; 0: none at all.
    pub fn most(&self) -> usize {
        self.most
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are wanted. Who asks for all sees to it that all are kept for a while.
    pub fn find(&self, query: &Query) -> Found {
        if query.all {
            let until = self.began.elapsed() + WATCH;
            let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
            self.watched.store(until, Relaxed);
        }
        self.shelf().find(query, MOST_TOLD)
    }

    /// The numbers of all calls that are kept, in order.
    pub fn calls(&self) -> Vec<u64> {
        self.shelf().calls()
    }

    fn is_watched(&self) -> bool {
        let until = self.watched.load(Relaxed);
        if until == 0 {
            return false;
        }
        let watched = self.began.elapsed() < Duration::from_millis(until);
        if !watched {
            // Whoever asks in this moment is not forgotten.
            let _ = self.watched.compare_exchange(until, 0, Relaxed, Relaxed);
        }
        watched
    }
}

/// A call that may leave a trace when it ends, also where nobody waits for it any more.
pub(super) struct Traced<'a> {
    router: &'a Router,
    incoming: &'a Incoming,
    began: Instant,
    over: bool,
}

impl<'a> Traced<'a> {
    pub(super) fn begin(router: &'a Router, incoming: &'a Incoming) -> Self {
        Self {
            router,
            incoming,
            began: Instant::now(),
            over: false,
        }
    }

    /// It ended like this.
    pub(super) fn end(mut self, ending: &Result<Answer, CallError>) {
        self.over = true;
        self.leave(|| Outcome::of(ending), ending.is_err());
    }

    fn leave(&self, outcome: impl FnOnce() -> Outcome, failed: bool) {
        let notes = self.incoming.call.trail.take();
        let traces = &self.router.traces;
        let wanted = notes.are_decisive() || traces.is_watched();
        // A call that failed may be a policy's affair although no plugin decided anything.
        if traces.most == 0 || !(wanted || failed) {
            return;
        }
        let outcome = outcome();
        if wanted || outcome.is_of_policy() {
            let ended = (outcome, self.began.elapsed());
            let policy = self.router.policies.current();
            let pinned = self.incoming.pinned.is_some();
            let trace = Trace::new(&self.incoming.call, notes, ended, pinned, &*policy);
            traces.shelf().put(trace);
        }
    }
}

impl Drop for Traced<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.leave(Outcome::cancelled, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_calls_are_kept_for_a_while_after_somebody_asked_for_all() {
        let traces = Traces::new(&config::Policies::default());
        let query = |all| Query {
            all,
            ..Query::default()
        };
        traces.find(&query(false));
        assert!(!traces.is_watched());
        traces.find(&query(true));
        tokio::time::advance(WATCH - Duration::from_millis(1)).await;
        assert!(traces.is_watched());
        traces.find(&query(true));
        tokio::time::advance(WATCH - Duration::from_millis(1)).await;
        assert!(traces.is_watched());
        tokio::time::advance(Duration::from_millis(2)).await;
        assert!(!traces.is_watched());
        assert_eq!(traces.watched.load(Relaxed), 0, "the next call has one load to do");
    }
}
