//! What `pointsman connect` knows and decides, without input or output: messages of the client, replies of the router
//! and the time in, effects out.
//!
//! Each message of the client is one POST. They leave one after the other: the next one when the head of the reply to
//! the last one has come, by which the router says that it has its place. What could not leave waits in its order
//! ([`Bridge::held`]), and so does what may be sent again after the router died.

mod client;
mod event;
mod replies;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use tokio::time::Instant;

pub use self::event::{Effect, Event, Limits, Mirror, Post};
pub use self::session::Session;
use self::session::{Legacy, Phase, Step};
use crate::error::Reason;
use crate::wire::{Era, RequestId, method};

/// A message of the client, from its arrival until nothing is left to be done about it.
#[derive(Debug)]
struct Message {
    /// Its place in the order of arrival.
    order: u64,
    body: ByteString,
    kind: Kind,
    /// Held since then.
    since: Instant,
    /// How often it was sent and not answered.
    tries: u32,
}

#[derive(Debug)]
enum Kind {
    /// Wants an answer.
    Request(Asked),
    /// Wants none.
    Note(Option<Mirror>),
    /// Answers a request of the router; of use to that session alone.
    Answer,
    /// Our own, to have a session again.
    Own(Step),
}

/// A request of the client.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    method: String,
    /// Of a modern one.
    mirror: Option<Mirror>,
    /// The client took it back: its answer is not wanted.
    cancelled: bool,
    /// Of `subscriptions/listen`: it was acknowledged.
    acknowledged: bool,
}

impl Asked {
    fn era(&self) -> Era {
        if self.mirror.is_some() {
            Era::Modern
        } else {
            Era::Legacy
        }
    }

    fn is_initialize(&self) -> bool {
        self.mirror.is_none() && self.method == method::INITIALIZE
    }

    /// Whether it does no harm if it runs twice.
    fn is_repeatable(&self) -> bool {
        let sets = [
            method::INITIALIZE,
            method::LISTEN,
            method::SET_LEVEL,
            session::SUBSCRIBE,
            session::UNSUBSCRIBE,
        ];
        method::is_read(&self.method) || sets.contains(&self.method.as_str())
    }
}

/// A message on its way, or a stream.
#[derive(Debug)]
struct Flight {
    message: Message,
    session: Option<Arc<Session>>,
    status: Option<u16>,
}

/// Whether a router is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    Down {
        /// It is looked for, and started if true.
        reaching: Option<bool>,
    },
}

/// The state between one client and the router.
pub struct Bridge {
    limits: Limits,
    /// Whether a router may be started.
    may_start: bool,
    link: Link,
    held: BTreeMap<u64, Message>,
    flights: BTreeMap<u64, Flight>,
    bytes: usize,
    /// The message that has to have its place before the next one leaves.
    leaving: Option<u64>,
    legacy: Option<Legacy>,
    next: u64,
    /// Nothing leaves before, for the last tries failed.
    pause: Option<Instant>,
    failures: u32,
    closing: Option<Instant>,
    ended: bool,
}

impl Bridge {
    /// Nothing was said yet.
    pub fn new(limits: Limits, may_start: bool) -> Self {
        Self {
            limits,
            may_start,
            link: Link::Down { reaching: None },
            held: BTreeMap::new(),
            flights: BTreeMap::new(),
            bytes: 0,
            leaving: None,
            legacy: None,
            next: 1,
            pause: None,
            failures: 0,
            closing: None,
            ended: false,
        }
    }

    /// What follows from an event.
    pub fn step(&mut self, event: Event, now: Instant) -> Vec<Effect> {
        let mut out = Vec::new();
        if self.ended {
            return out;
        }
        match event {
            Event::Line(line) => self.line(&line, now, &mut out),
            Event::TooLong(limit) => out.push(words::too_long("null", limit)),
            Event::Eof if self.closing.is_some() => self.closing = Some(now),
            Event::Eof => self.closing = Some(now + self.limits.grace),
            Event::Reached => self.link = Link::Up,
            Event::Unreachable(why) => self.unreachable(&why, now, &mut out),
            Event::Head {
                number,
                status,
                session,
            } => self.head(number, status, session, now, &mut out),
            Event::Said(number, text) => self.said(number, &text, now, &mut out),
            Event::Ended(number) => self.reply_ended(number, now, &mut out),
            Event::Cut(number) => self.cut(number, now, &mut out),
            Event::Refused(number) => self.refused(number, now),
            Event::Tick => {}
        }
        self.expire(now, &mut out);
        self.send(now, &mut out);
        self.look_for_a_router(&mut out);
        self.end_if_done(now, &mut out);
        out
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let oldest = self.held.values().map(|m| m.since + self.limits.wait).min();
        [oldest, self.pause, self.closing].into_iter().flatten().min()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes a message in, at the end of the order.
    fn hold(&mut self, kind: Kind, body: ByteString, now: Instant) {
        let order = self.number();
        self.bytes += body.len();
        let message = Message {
            order,
            body,
            kind,
            since: now,
            tries: 0,
        };
        self.held.insert(order, message);
    }

    /// Takes one back to its old place.
    fn hold_again(&mut self, mut message: Message, now: Instant) {
        message.since = now;
        self.held.insert(message.order, message);
    }

    /// Nothing more is to be done about a message.
    fn forget(&mut self, message: &Message) {
        self.bytes -= message.body.len();
    }

    /// Sends what may leave: first what makes a session, then the oldest.
    fn send(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.pause.is_some_and(|until| until <= now) {
            self.pause = None;
        }
        while self.link == Link::Up && self.pause.is_none() && self.leaving.is_none() {
            if let Some((step, body)) = self.next_step() {
                let order = self.number();
                self.bytes += body.len();
                let message = Message {
                    order,
                    body,
                    kind: Kind::Own(step),
                    since: now,
                    tries: 0,
                };
                self.post(message, out);
            } else if let Some((_, message)) = self.held.pop_first() {
                self.post(message, out);
            } else {
                break;
            }
        }
        if self.link == Link::Up && self.pause.is_none() {
            self.open_stream(out);
        }
    }

    fn post(&mut self, message: Message, out: &mut Vec<Effect>) {
        let open = || self.legacy.as_ref().and_then(Legacy::session).cloned();
        let (mirror, session) = match &message.kind {
            Kind::Request(asked) if asked.is_initialize() => (None, None),
            Kind::Request(Asked { mirror: Some(m), .. }) | Kind::Note(Some(m)) => (Some(m.clone()), None),
            Kind::Own(Step::Initialize) => (None, None),
            _ => (None, open()),
        };
        let number = self.number();
        out.push(Effect::Post(Post {
            number,
            session: session.clone(),
            mirror,
            body: message.body.clone(),
        }));
        self.leaving = Some(number);
        self.flights.insert(
            number,
            Flight {
                message,
                session,
                status: None,
            },
        );
    }

    /// What was held for too long is not held any longer.
    fn expire(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let late = |m: &Message| m.since + self.limits.wait <= now;
        let orders: Vec<u64> = self.held.values().filter(|m| late(m)).map(|m| m.order).collect();
        for message in orders
            .iter()
            .filter_map(|order| self.held.remove(order))
            .collect::<Vec<_>>()
        {
            self.fail(message, Reason::HoldDeadline, now, out);
        }
    }

    /// Says to the client that a request has failed; others just end.
    fn fail(&mut self, message: Message, reason: Reason, now: Instant, out: &mut Vec<Effect>) {
        self.forget(&message);
        if let Kind::Request(asked) = message.kind
            && !asked.cancelled
        {
            out.push(words::failed(&asked.id, reason, now.duration_since(message.since)));
        }
    }

    /// No router, and none could be started: nothing waits for it any longer.
    fn unreachable(&mut self, why: &str, now: Instant, out: &mut Vec<Effect>) {
        self.link = Link::Down { reaching: None };
        for message in std::mem::take(&mut self.held).into_values() {
            self.fail(message, Reason::Unavailable(why.to_owned()), now, out);
        }
    }

    /// The router is not there, or not as it was.
    fn down(&mut self) {
        if self.link == Link::Up {
            self.link = Link::Down { reaching: None };
        }
    }

    /// A try failed: the next one comes later, for whatever is wrong may stay so.
    fn pause(&mut self, now: Instant) {
        let pause = Duration::from_millis(20) * 2_u32.pow(self.failures.min(6));
        self.failures += 1;
        self.pause = Some(now + pause);
    }

    /// A router is started only for a request; for all else it is enough to look whether one is there.
    fn look_for_a_router(&mut self, out: &mut Vec<Effect>) {
        let Link::Down { reaching } = self.link else { return };
        let wants_an_answer = |m: &Message| matches!(m.kind, Kind::Request(_));
        let start = self.may_start && self.held.values().any(wants_an_answer);
        let wanted =
            !self.held.is_empty() || (self.closing.is_none() && self.legacy.as_ref().is_some_and(|l| l.initialized));
        if wanted && (reaching.is_none() || (start && reaching == Some(false))) {
            self.link = Link::Down { reaching: Some(start) };
            out.push(Effect::Reach { start });
        }
    }

    /// After the client's end: once nothing is left that it could still hear, or its time is over.
    fn end_if_done(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(until) = self.closing else { return };
        let waited_for = |f: &Flight| match &f.message.kind {
            Kind::Request(asked) => asked.method != method::LISTEN && !asked.cancelled,
            Kind::Note(_) | Kind::Answer => true,
            Kind::Own(_) => false,
        };
        let busy = !self.held.is_empty() || self.flights.values().any(waited_for);
        if !busy || until <= now {
            self.ended = true;
            let session = self.legacy.as_ref().filter(|l| matches!(l.phase, Phase::Open(_)));
            out.push(Effect::End(session.and_then(Legacy::session).cloned()));
        }
    }
}
