//! The event streams of one legacy session: those of its calls, its own, and how long they wait for their agent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::ring::Room;
use super::stream::{Reader, Start, Stream};
use crate::config;

/// All streams of a session.
pub(super) struct Streams {
    /// The session's number.
    session: u64,
    room: Room,
    most: usize,
    keep: Duration,
    next: AtomicU64,
    own: Arc<Stream>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    calls: BTreeMap<u64, Arc<Stream>>,
    /// Whether a task looks after those that were left.
    is_swept: bool,
}

/// What a `Last-Event-ID` leads to.
pub(super) enum Resumed {
    /// The session's own stream, behind this message.
    Own(Start),
    /// The stream of a call.
    Call(Reader),
    /// A stream that has nothing more.
    Over,
    /// Nothing: it is no id of this session, or its stream waited for too long.
    Unknown,
}

impl Streams {
    /// Those of a session that has just been opened.
    pub(super) fn new(session: u64, limits: &config::Sessions) -> Arc<Self> {
        let room = Room {
            events: limits.stream_events,
            bytes: limits.stream_bytes,
        };
        Arc::new(Self {
            session,
            room,
            most: limits.streams,
            keep: limits.stream_keep,
            next: AtomicU64::new(1),
            own: Stream::new((session, 0), room, false),
            table: Mutex::default(),
        })
    }

    /// The session's own stream: that of GET. Open once it was read.
    pub(super) fn own(&self) -> &Arc<Stream> {
        &self.own
    }

    /// How long a stream waits.
    pub(super) fn keep(&self) -> Duration {
        self.keep
    }

    /// A stream for a call, which only those know who use it.
    pub(super) fn open(&self) -> Arc<Stream> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Stream::new((self.session, number), self.room, true)
    }

    /// The call is answered with its stream: from now on its agent may leave it and come back.
    pub(super) fn serve(self: &Arc<Self>, reader: Reader) -> Reader {
        let stream = reader.stream();
        self.lock().calls.insert(stream.number(), Arc::clone(stream));
        reader.kept_in(self)
    }

    /// A connection for the session's own stream.
    pub(super) fn read_own(self: &Arc<Self>, start: Start) -> Reader {
        self.own.read(start).kept_in(self)
    }

    /// Where `Last-Event-ID` leads.
    pub(super) fn resume(self: &Arc<Self>, id: &str) -> Resumed {
        let mut parts = id.trim().splitn(3, '.').map(|part| part.parse::<u64>().ok());
        let (Some(Some(session)), Some(Some(stream)), Some(Some(number))) = (parts.next(), parts.next(), parts.next())
        else {
            return Resumed::Unknown;
        };
        let found = match stream {
            0 => Some(Arc::clone(&self.own)),
            _ => self.lock().calls.get(&stream).cloned(),
        };
        let Some(found) = found.filter(|found| session == self.session && !found.is_ahead(number)) else {
            return Resumed::Unknown;
        };
        if stream == 0 {
            Resumed::Own(Start::After(number))
        } else if found.is_over_at(number) {
            Resumed::Over
        } else {
            Resumed::Call(found.read(Start::After(number)).kept_in(self))
        }
    }

    /// A call's response is said.
    pub(super) fn end(self: &Arc<Self>, stream: &Stream, response: &str) {
        stream.end(response);
        self.left();
    }

    /// A connection left its stream, or a stream that was left has grown.
    pub(super) fn left(self: &Arc<Self>) {
        let mut table = self.lock();
        self.bound(&mut table);
        if !table.is_swept
            && self.first_left(&table).is_some()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            table.is_swept = true;
            runtime.spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Forgets those that are too many: first what was read to its end, and of these what was left first.
    fn bound(&self, table: &mut Table) {
        let mut left = Vec::new();
        for (number, stream) in &table.calls {
            if let Some(condition) = stream.condition()
                && let Some(since) = condition.left
            {
                left.push((!condition.is_read, since, *number, condition.size));
            }
        }
        let mut bytes: usize = left.iter().map(|(.., size)| size).sum();
        let room = self.room.bytes.saturating_mul(self.most);
        if left.len() <= self.most && bytes <= room {
            return;
        }
        left.sort_unstable();
        let mut count = left.len();
        for (_, _, number, size) in left {
            // One alone may be of any size, as a response may.
            if count <= self.most && (bytes <= room || count == 1) {
                return;
            }
            count -= 1;
            bytes -= size;
            if let Some(stream) = table.calls.remove(&number) {
                stream.close();
            }
        }
    }

    /// When the first of those was left that wait.
    fn first_left(&self, table: &Table) -> Option<Instant> {
        let all = table.calls.values().chain([&self.own]);
        all.filter_map(|stream| stream.condition()?.left).min()
    }

    /// Forgets those that have waited long enough, and says when the next one will have; `None` when there is none.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let is_due = |stream: &Stream| {
            let left = stream.condition().and_then(|condition| condition.left);
            left.is_some_and(|left| now.duration_since(left) >= self.keep)
        };
        let mut table = self.lock();
        table.calls.retain(|_, stream| {
            let due = is_due(stream);
            if due {
                stream.close();
            }
            !due
        });
        if is_due(&self.own) {
            self.own.close();
        }
        let next = self.first_left(&table);
        table.is_swept = next.is_some();
        next.map(|left| left + self.keep)
    }

    /// The session is over, and all its streams.
    pub(super) fn end_all(&self) {
        let calls = std::mem::take(&mut self.lock().calls);
        for stream in calls.values() {
            stream.close();
        }
        self.own.close();
    }

    /// Streams of calls that are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().calls.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after the streams that were left, as long as there are any.
async fn sweep(streams: Weak<Streams>) {
    loop {
        let Some(due) = streams.upgrade().and_then(|streams| streams.expire(Instant::now())) else {
            return;
        };
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
#[path = "streams/tests.rs"]
mod tests;
