//! What was said on one event stream, numbered, as far as it is kept for a reader who comes back. Pure.
//!
//! Numbers begin with 1 and rise with every message; what is dropped leaves a gap, so that a reader who knows the last
//! number that it has sees each message once and in order, whatever it misses.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

/// What a message is worth when there is no room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Progress and log messages: the oldest is dropped first.
    Passing,
    /// Changes of lists and resources.
    News,
    /// Requests of servers: refused where there is no room, and then nobody waits for the answer.
    Firm,
}

/// What is kept at most. The response is not counted: there is one, and it is never dropped.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Messages.
    pub events: usize,
    /// Their bytes; a single message may be larger.
    pub bytes: usize,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    rank: Rank,
    said: Instant,
    event: Bytes,
}

/// The messages of one stream.
#[derive(Debug)]
pub(super) struct Ring {
    room: Room,
    kept: VecDeque<Kept>,
    bytes: usize,
    /// The response, after which there is nothing.
    last: Option<(u64, Bytes)>,
    /// The number of the newest.
    said: u64,
    /// The highest number that any reader was given.
    handed: u64,
}

impl Ring {
    /// Nothing was said yet.
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            kept: VecDeque::new(),
            bytes: 0,
            last: None,
            said: 0,
            handed: 0,
        }
    }

    /// Takes a message in, which `write` makes of its number; false where there is no room for it, or the stream is over.
    pub(super) fn push(&mut self, rank: Rank, now: Instant, write: impl FnOnce(u64) -> Bytes) -> bool {
        if self.last.is_some() {
            return false;
        }
        let event = write(self.said + 1);
        let too_much = |ring: &Self| {
            ring.kept.len() >= ring.room.events || (!ring.kept.is_empty() && ring.bytes + event.len() > ring.room.bytes)
        };
        while too_much(self) {
            if !self.drop_for(rank) {
                return false;
            }
        }
        self.said += 1;
        self.bytes += event.len();
        self.kept.push_back(Kept {
            number: self.said,
            rank,
            said: now,
            event,
        });
        true
    }

    /// Drops the message that is worth least, to make room for one of this rank.
    fn drop_for(&mut self, rank: Rank) -> bool {
        let handed = self.handed;
        let oldest = |is: &dyn Fn(&Kept) -> bool| self.kept.iter().position(is);
        let found = oldest(&|k| k.rank == Rank::Passing)
            .or_else(|| oldest(&|k| k.number <= handed))
            .or_else(|| {
                (rank != Rank::Passing)
                    .then(|| oldest(&|k| k.rank == Rank::News))
                    .flatten()
            });
        let dropped = found.and_then(|at| self.kept.remove(at));
        self.bytes -= dropped.as_ref().map_or(0, |k| k.event.len());
        dropped.is_some()
    }

    /// Takes the response in, which is the end.
    pub(super) fn end(&mut self, write: impl FnOnce(u64) -> Bytes) {
        if self.last.is_none() {
            self.said += 1;
            self.last = Some((self.said, write(self.said)));
        }
    }

    /// The first message that is kept after `position`, with its number.
    pub(super) fn after(&self, position: u64) -> Option<(u64, Bytes)> {
        let at = self.kept.partition_point(|k| k.number <= position);
        let kept = self.kept.get(at).map(|k| (k.number, &k.event));
        let last = self.last.as_ref().filter(|(number, _)| *number > position);
        let next = kept.or(last.map(|(number, event)| (*number, event)));
        next.map(|(number, event)| (number, event.clone()))
    }

    /// A reader was given this one.
    pub(super) fn hand_over(&mut self, number: u64) {
        self.handed = self.handed.max(number);
    }

    /// Forgets what readers were given and what was said before `then`: whoever wanted it again would have come.
    pub(super) fn forget(&mut self, then: Instant) {
        let handed = self.handed;
        while let Some(kept) = self.kept.pop_front_if(|k| k.number <= handed && k.said < then) {
            self.bytes -= kept.event.len();
        }
    }

    /// Forgets all; the numbers go on.
    pub(super) fn clear(&mut self) {
        self.kept = VecDeque::new();
        self.bytes = 0;
        self.last = None;
    }

    /// The number of the newest message.
    pub(super) fn said(&self) -> u64 {
        self.said
    }

    /// The highest number that any reader was given.
    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    /// Whether the response is there.
    pub(super) fn is_over(&self) -> bool {
        self.last.is_some()
    }

    /// Bytes that are kept, with the response.
    pub(super) fn size(&self) -> usize {
        self.bytes + self.last.as_ref().map_or(0, |(_, event)| event.len())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
#[path = "ring/tests.rs"]
mod tests;
