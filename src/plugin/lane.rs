//! The slow lane: guests that outlive a tick go on in turn, at half of the workers, and calls in between; at all of
//! them while nobody else asks a policy anything.
//!
//! A guest that only gave way for a moment and came back would, with a few others of its kind, have the workers nearly
//! to itself: each of them runs for a whole tick, a call for a hundredth of one. So between two ticks of guests a
//! worker serves what is ready.
//!
//! A turn is held while its guest computes and at no other time: a guest's task may not be polled for a long while,
//! when its agent does not read. For the same reason a turn that was offered and not taken up is offered to the next.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The turns of all slow guests. Clones are the same lane.
#[derive(Clone)]
pub(super) struct Lane(Arc<Mutex<Queue>>);

struct Queue {
    workers: usize,
    /// Guests that may go on at a time.
    width: usize,
    running: usize,
    /// Those who may go as soon as they come, and whether they have let a tick pass.
    offered: Vec<(u64, bool)>,
    waiting: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Queue {
    /// Offers what is free to those who wait, in their order.
    fn offer(&mut self) {
        while self.running + self.offered.len() < self.width
            && let Some((place, waker)) = self.waiting.pop_front()
        {
            self.offered.push((place, false));
            waker.wake();
        }
    }

    fn is_offered(&self, place: u64) -> bool {
        self.offered.iter().any(|(offered, _)| *offered == place)
    }

    /// Takes what was offered, or what nobody else wants.
    fn take(&mut self, place: u64) -> bool {
        let free = self.waiting.is_empty() && self.running + self.offered.len() < self.width;
        if !free && !self.is_offered(place) {
            return false;
        }
        self.offered.retain(|(offered, _)| *offered != place);
        self.running += 1;
        true
    }

    /// In line, unless there is something for it already.
    fn poll_offer(&mut self, place: u64, context: &mut Context<'_>) -> Poll<()> {
        if let Some((_, waker)) = self.waiting.iter_mut().find(|(waiting, _)| *waiting == place) {
            waker.clone_from(context.waker());
        } else if !self.is_offered(place) {
            self.waiting.push_back((place, context.waker().clone()));
            self.offer();
        }
        // The offer may have been its own.
        if self.is_offered(place) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Lane {
    /// The lane of a runtime with so many workers.
    pub(super) fn new(workers: usize) -> Self {
        Self(Arc::new(Mutex::new(Queue {
            workers,
            width: workers.max(1),
            running: 0,
            offered: Vec::new(),
            waiting: VecDeque::new(),
            next: 0,
        })))
    }

    /// A tick has passed, and policies were asked something in it, or were not (`quiet`). Offers that were not taken
    /// up since the last one go to others.
    pub(super) fn tick(&self, quiet: bool) {
        let mut queue = self.lock();
        let width = if quiet { queue.workers } else { queue.workers / 2 };
        queue.width = width.max(1);
        queue.offered.retain(|(_, stale)| !stale);
        for (_, stale) in &mut queue.offered {
            *stale = true;
        }
        queue.offer();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of one guest, while it has one. A guest in its first tick needs none.
#[derive(Default)]
pub(super) struct Turn(Arc<Mutex<Option<Running>>>);

impl Turn {
    /// Ends the turn, if it has one.
    pub(super) fn end(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Ends the turn and waits for the next one, which begins when this resolves. Tokio's own yield before it lets
    /// the worker look at its sockets and pipes; a guest that only woke itself would be back before that.
    pub(super) fn next(&self, lane: &Lane) -> impl Future<Output = ()> + Send + use<> {
        self.end();
        let (turn, place) = (Arc::clone(&self.0), Place::new(lane.clone()));
        async move {
            tokio::task::yield_now().await;
            while !place.lane.lock().take(place.number) {
                poll_fn(|context| place.lane.lock().poll_offer(place.number, context)).await;
                tokio::task::yield_now().await;
            }
            *turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running(place.lane.clone()));
        }
    }
}

/// A guest that computes; the turn is over when it is dropped.
struct Running(Lane);

impl Drop for Running {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.running -= 1;
        queue.offer();
    }
}

/// A place in line, left when it is dropped.
struct Place {
    lane: Lane,
    number: u64,
}

impl Place {
    fn new(lane: Lane) -> Self {
        let mut queue = lane.lock();
        queue.next += 1;
        let number = queue.next;
        drop(queue);
        Self { lane, number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.lane.lock();
        queue.waiting.retain(|(place, _)| *place != self.number);
        queue.offered.retain(|(place, _)| *place != self.number);
        queue.offer();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::Pin;

    type Next = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn next(turn: &Turn, lane: &Lane) -> Next {
        Box::pin(turn.next(lane))
    }

    /// Polls until it is in line, past its yields.
    fn in_line(waiting: &mut Next) {
        for _ in 0..3 {
            assert!(waiting.now_or_never().is_none(), "somebody else has the lane");
        }
    }

    #[tokio::test]
    async fn slow_guests_take_turns() {
        let lane = Lane::new(1);
        let turns: [Turn; 3] = std::array::from_fn(|_| Turn::default());
        turns[0].next(&lane).await;
        let mut second = next(&turns[1], &lane);
        in_line(&mut second);
        let mut third = next(&turns[2], &lane);
        in_line(&mut third);
        let mut first = next(&turns[0], &lane);
        in_line(&mut first);
        second.await;
        in_line(&mut third);
        in_line(&mut first);
        let mut second = next(&turns[1], &lane);
        third.await;
        in_line(&mut second);
        turns[2].end();
        first.await;
        drop(second);
        turns[0].end();
        let queue = lane.lock();
        assert_eq!((queue.running, queue.offered.len(), queue.waiting.len()), (0, 0, 0));
    }

    #[tokio::test]
    async fn one_that_does_not_come_or_leaves_keeps_nobody_waiting() {
        let lane = Lane::new(1);
        let turns: [Turn; 4] = std::array::from_fn(|_| Turn::default());
        turns[0].next(&lane).await;
        let mut absent = next(&turns[1], &lane);
        in_line(&mut absent);
        let mut leaves = next(&turns[2], &lane);
        in_line(&mut leaves);
        let mut third = next(&turns[3], &lane);
        in_line(&mut third);
        turns[0].end();
        // It was offered the turn, and its task is not polled.
        in_line(&mut third);
        lane.tick(true);
        in_line(&mut third);
        lane.tick(true);
        drop(leaves);
        third.await;
        turns[3].end();
        absent.await;
    }

    #[tokio::test]
    async fn the_lane_is_wide_while_nobody_else_asks() {
        let lane = Lane::new(4);
        let turns: [Turn; 5] = std::array::from_fn(|_| Turn::default());
        for turn in &turns[..4] {
            turn.next(&lane).await;
        }
        let mut fifth = next(&turns[4], &lane);
        in_line(&mut fifth);
        lane.tick(false);
        turns[0].end();
        turns[1].end();
        in_line(&mut fifth);
        turns[2].end();
        fifth.await;
    }

    #[tokio::test]
    async fn a_guest_that_is_not_polled_holds_nothing() {
        let lane = Lane::new(1);
        let (absent, other) = (Turn::default(), Turn::default());
        let mut polled_once = next(&absent, &lane);
        assert!((&mut polled_once).now_or_never().is_none(), "it yields first");
        for _ in 0..10 {
            other.next(&lane).await;
        }
    }
}
