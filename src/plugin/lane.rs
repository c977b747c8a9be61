//! The slow lane: guests that take longer than a tick go on one after the other, and calls in between.
//!
//! A guest that only gave way for a moment and came back would, with a few others of its kind, have the workers nearly
//! to itself: each of them runs for a whole tick, a call for a hundredth of one.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all slow guests. Clones are the same lane.
#[derive(Clone)]
pub(super) struct Lane(Arc<Semaphore>);

/// The turn of one guest, while it has one. A guest in its first tick needs none.
#[derive(Default)]
pub(super) struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Lane {
    /// As wide as half of the workers, and at least one guest.
    pub(super) fn new(workers: usize) -> Self {
        Self(Arc::new(Semaphore::new((workers / 2).max(1))))
    }
}

impl Turn {
    /// Ends the turn, if it has one.
    pub(super) fn end(&self) {
        lock(&self.0).take();
    }

    /// Ends the turn, and waits for the next one: in line, and then until the worker has looked at its sockets and
    /// pipes and done what it found. (A guest that only woke itself would be back before that.)
    pub(super) fn next(&self, lane: &Lane) -> impl Future<Output = ()> + Send + use<> {
        self.end();
        let (turn, lane) = (Arc::clone(&self.0), Arc::clone(&lane.0));
        async move {
            let permit = lane.acquire_owned().await;
            tokio::task::yield_now().await;
            *lock(&turn) = permit.ok();
        }
    }
}

fn lock(turn: &Mutex<Option<OwnedSemaphorePermit>>) -> MutexGuard<'_, Option<OwnedSemaphorePermit>> {
    // A permit is taken or put, nothing in between.
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[tokio::test]
    async fn slow_guests_take_turns() {
        let lane = Lane::new(1);
        let (first, second) = (Turn::default(), Turn::default());
        first.next(&lane).await;
        let mut waiting = Box::pin(second.next(&lane));
        assert!((&mut waiting).now_or_never().is_none(), "the first one has the lane");
        let mut again = Box::pin(first.next(&lane));
        waiting.await;
        assert!((&mut again).now_or_never().is_none(), "now the second one has it");
        drop(second);
        again.await;
        first.end();
        assert_eq!(lane.0.available_permits(), 1);
    }
}
