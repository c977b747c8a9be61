//! An event stream of a legacy session: it outlives its connections, which are readers of it with a position.
//!
//! Streamable HTTP of 2025-03-26 and later, "Resumability and Redelivery": event ids are unique in the session and name
//! the stream; whoever comes back with one gets what followed it on that stream, and nothing of another.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream as Events;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep, interval_at};

use super::ring::{Rank, Ring, Room};
use super::streams::Streams;
use crate::transport::sse;

/// The stream.
pub(super) struct Stream {
    /// The session's number, and its own in the session; 0 is the one of GET.
    name: (u64, u64),
    state: Mutex<State>,
}

struct State {
    ring: Ring,
    /// False: nobody will come for it, and what is said is not taken.
    open: bool,
    /// The connection that reads: there is one at most, for every message goes out once.
    reader: Option<u64>,
    readers: u64,
    waker: Option<Waker>,
    /// When the last one left.
    left: Instant,
}

/// Where a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With what no connection was given.
    Unread,
    /// Behind the message of this number.
    After(u64),
}

/// How a stream is, for those who keep it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    /// When its last connection left; `None` while there is one.
    pub left: Option<Instant>,
    /// Its response is there, and a connection was given all of it.
    pub is_read: bool,
    /// Bytes that it holds.
    pub size: usize,
}

impl Stream {
    /// A stream without messages. One that is not open takes none until it is read.
    pub(super) fn new(name: (u64, u64), room: Room, open: bool) -> Arc<Self> {
        let state = State {
            ring: Ring::new(room),
            open,
            reader: None,
            readers: 0,
            waker: None,
            left: Instant::now(),
        };
        Arc::new(Self {
            name,
            state: Mutex::new(state),
        })
    }

    /// Its number in the session.
    pub(super) fn number(&self) -> u64 {
        self.name.1
    }

    /// The id of a message: `SESSION.STREAM.NUMBER`.
    fn id(&self, number: u64) -> String {
        format!("{}.{}.{number}", self.name.0, self.name.1)
    }

    /// Says something on it, if it is open and has room.
    pub(super) fn say(&self, rank: Rank, message: &str) -> bool {
        let mut state = self.lock();
        if !state.open {
            return false;
        }
        let write = |number| sse::numbered(&self.id(number), message);
        let said = state.ring.push(rank, Instant::now(), write);
        wake(state);
        said
    }

    /// Says the last thing.
    pub(super) fn end(&self, response: &str) {
        let mut state = self.lock();
        if state.open {
            state.ring.end(|number| sse::numbered(&self.id(number), response));
        }
        wake(state);
    }

    /// Nobody will come for it: it forgets all, and its connection ends.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.open = false;
        state.ring.clear();
        wake(state);
    }

    /// Whether what is said may still be read.
    pub(super) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Whether a connection reads it now.
    pub(super) fn is_read(&self) -> bool {
        let state = self.lock();
        state.open && state.reader.is_some()
    }

    /// How it is; `None` where it is not open.
    pub(super) fn condition(&self) -> Option<Condition> {
        let state = self.lock();
        state.open.then(|| Condition {
            left: state.reader.is_none().then_some(state.left),
            is_read: state.ring.is_over() && state.ring.handed() == state.ring.said(),
            size: state.ring.size(),
        })
    }

    /// Whether there never was a message of this number.
    pub(super) fn is_ahead(&self, number: u64) -> bool {
        number > self.lock().ring.said()
    }

    /// Whether all was said, and this was the last.
    pub(super) fn is_over_at(&self, number: u64) -> bool {
        let state = self.lock();
        state.ring.is_over() && number >= state.ring.said()
    }

    /// A connection that reads it from now on, in the place of another one, which ends.
    pub(super) fn read(self: &Arc<Self>, start: Start) -> Reader {
        let mut state = self.lock();
        state.open |= self.number() == 0;
        state.readers += 1;
        let ticket = state.readers;
        state.reader = Some(ticket);
        let position = match start {
            Start::Unread => state.ring.handed(),
            Start::After(position) => position,
        };
        wake(state);
        Reader {
            stream: Arc::clone(self),
            ticket,
            position,
            kept_in: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A connection's place in a stream. Dropping it leaves the stream as it is.
pub(super) struct Reader {
    stream: Arc<Stream>,
    ticket: u64,
    position: u64,
    /// Who keeps the stream when it is left.
    kept_in: Option<Arc<Streams>>,
}

impl Reader {
    /// From now on somebody keeps the stream for when it is left. Before that, who leaves it ends it.
    pub(super) fn kept_in(mut self, streams: &Arc<Streams>) -> Self {
        self.kept_in = Some(Arc::clone(streams));
        self
    }

    /// The stream.
    pub(super) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The event that names the place where the connection begins, and says how soon to come back. Its data is empty:
    /// for clients of 2025-11-25 and later (SEP-1699).
    pub(super) fn primer(&self, retry: Duration) -> Bytes {
        sse::primer(&self.stream.id(self.position), retry)
    }

    /// Whether there is something to read.
    pub(super) fn has_more(&self) -> bool {
        self.stream.lock().ring.after(self.position).is_some()
    }

    /// Ready when there is something to read.
    pub(super) fn poll_more(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.stream.lock();
        if state.ring.after(self.position).is_some() {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next message; `None` when there will be none, or another connection reads.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.stream.lock();
        if !state.open || state.reader != Some(self.ticket) {
            return Poll::Ready(None);
        }
        if let Some((number, event)) = state.ring.after(self.position) {
            self.position = number;
            state.ring.hand_over(number);
            return Poll::Ready(Some(event));
        }
        if state.ring.is_over() {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The same as a future. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Lets the stream forget what was read so long ago that nobody comes for it.
    pub(super) fn forget(&self) {
        let keep = self.kept_in.as_ref().map(|streams| streams.keep());
        if let Some(then) = keep.and_then(|keep| Instant::now().checked_sub(keep)) {
            self.stream.lock().ring.forget(then);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        {
            let mut state = self.stream.lock();
            if state.reader != Some(self.ticket) {
                return;
            }
            state.reader = None;
            state.waker = None;
            state.left = Instant::now();
        }
        match self.kept_in.take() {
            Some(streams) => streams.left(),
            None => self.stream.close(),
        }
    }
}

/// One connection of a call's stream.
pub(super) struct Connection {
    first: Option<Bytes>,
    reader: Reader,
    keep_alive: Interval,
    until: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// What it sends first, what it reads, the distance of the comments that keep it open, and how long it lasts.
    pub(super) fn new(first: Option<Bytes>, reader: Reader, keep_alive: Duration, last: Option<Duration>) -> Self {
        let mut keep_alive = interval_at(Instant::now() + keep_alive, keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            first,
            reader,
            keep_alive,
            until: last.map(|last| Box::pin(tokio::time::sleep(last))),
        }
    }
}

impl Events for Connection {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Poll::Ready(event) = self.reader.poll_next(cx) {
            return Poll::Ready(event);
        }
        if let Some(until) = &mut self.until
            && until.as_mut().poll(cx).is_ready()
        {
            // The end of the connection, and not of the stream.
            return Poll::Ready(None);
        }
        std::task::ready!(self.keep_alive.poll_tick(cx));
        self.reader.forget();
        Poll::Ready(Some(sse::comment("working")))
    }
}
