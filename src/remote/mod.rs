//! Servers over HTTP: how messages get there and back, as if through a pipe. Streamable HTTP in both eras, and HTTP+SSE
//! of 2024-11-05.
//!
//! Every message is a request of its own, run by a task of its own; [`Remote`] owns these tasks and tells what comes of
//! them. Nothing is ever sent twice here: what failed is reported with what is known about it.

mod client;
mod credentials;
mod ends;
mod exchange;
mod link;
mod open;
mod origin;
mod out;
mod probe;
mod reply;
mod sse;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(unix)]
mod unix;
pub mod web;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use self::client::Mark;
use self::exchange::End;
use self::link::{Link, Word};
use self::out::Out;
use crate::wire::method;

pub use self::credentials::Wallet;
pub use self::open::OpenError;
pub use self::out::Mirrors;

/// Messages of the server that wait to be taken.
const WORDS: usize = 64;
/// Messages of the router's own on their way at a time; beyond it no more is taken in.
const OWN: usize = 64;
/// Time for the answer to one of these. Its owner sees to all else.
const OWN_PATIENCE: Duration = Duration::from_secs(10);

/// What comes from a server.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A message, one line without its newline.
    Message {
        /// Its text.
        text: Bytes,
        /// The call on whose stream it came; `None` where it came on one for all.
        call: Option<u64>,
    },
    /// The server cannot have seen this call.
    Unsent {
        /// The call.
        id: u64,
        /// Why.
        why: String,
    },
    /// The server did nothing about this call, for it did not know its session.
    Forgotten {
        /// The call.
        id: u64,
        /// What it said.
        why: String,
    },
    /// Nothing was done about this call, and may be later.
    Later {
        /// The call.
        id: u64,
        /// Why.
        why: String,
        /// After this time, where one was named.
        after: Option<Duration>,
        /// The server had it, and said so.
        seen: bool,
    },
    /// The server broke off the question which era it speaks.
    Unanswered {
        /// How.
        why: String,
        /// It closed the connection: it may have died of the question.
        hung_up: bool,
    },
    /// This call was written, and no answer will come.
    Failed {
        /// The call.
        id: u64,
        /// Why.
        why: String,
        /// Another try may have an answer.
        again: bool,
    },
    /// The server refused this call without an answer of the protocol.
    Refused {
        /// The call.
        id: u64,
        /// Why.
        why: String,
    },
    /// No more calls can be sent; those that are written may still be answered. Comes once.
    Down {
        /// Why.
        why: String,
    },
    /// All is over, and every call was reported. The last event.
    Gone {
        /// Why.
        why: String,
        /// The server could not be reached.
        unreachable: bool,
    },
}

/// A call on its way.
struct Running {
    task: AbortHandle,
    mark: Arc<Mark>,
    modern: bool,
}

/// A task that belongs to no call.
struct Other {
    /// The raw id of the request that it is for.
    id: String,
    task: AbortHandle,
    /// It is there for as long as the server is.
    standing: bool,
}

/// What a task was for.
enum Done {
    /// A message, how that ended, and what is wrong with the server, where a break was the reason to look.
    Post(Box<Out>, End, Option<End>),
    Stream(End),
    Farewell,
}

/// The connections to one server, for one incarnation. Dropping it ends them all.
pub struct Remote {
    link: Arc<Link>,
    words: mpsc::Receiver<Word>,
    tasks: JoinSet<Done>,
    calls: HashMap<u64, Running>,
    /// Calls that met a lost session before.
    doubted: HashSet<u64>,
    others: Vec<Other>,
    /// What waits for the third step of a legacy handshake to be done.
    queue: VecDeque<Out>,
    queued: usize,
    greeting: bool,
    started: Vec<u64>,
    ready: VecDeque<Event>,
    mirrors: Mirrors,
    may_be_old: bool,
    /// No call was sent yet: hands are still being shaken.
    fresh: bool,
    down: Option<(String, bool)>,
    leaving: bool,
    gone: bool,
}

impl Remote {
    /// Sends a message, newline included. `call` is the router's number of the call it is.
    pub fn push(&mut self, call: Option<u64>, mut line: Vec<u8>) {
        line.pop_if(|byte| *byte == b'\n');
        let out = Out::new(call, line.into(), &self.mirrors);
        if self.greeting {
            self.queued += out.body.len();
            self.queue.push_back(out);
        } else {
            self.send(out);
        }
    }

    fn send(&mut self, out: Out) {
        if self.down.is_some() {
            return;
        }
        if let Some(id) = out.withdraws() {
            self.others.retain(|other| {
                let same = other.id == id;
                if same {
                    other.task.abort();
                }
                !same
            });
        }
        if out.id().is_none() && !self.link.is_legacy() {
            // A modern server has no use for answers, nor for a word about requests that end with their connection.
            return;
        }
        self.greeting |= out.method == method::INITIALIZED;
        let id = out.id().unwrap_or_default().to_owned();
        let (call, modern, standing) = (out.call, out.mirrored.is_some(), out.method == method::LISTEN);
        let doubted = call.is_some_and(|id| self.doubted.remove(&id));
        let mark = Arc::<Mark>::default();
        let task = self
            .tasks
            .spawn(run(Arc::clone(&self.link), out, Arc::clone(&mark), doubted));
        match call {
            Some(id) => {
                self.fresh = false;
                self.started.push(id);
                self.calls.insert(id, Running { task, mark, modern });
            }
            None => self.other(id, task, standing),
        }
    }

    fn other(&mut self, id: String, task: AbortHandle, standing: bool) {
        self.others.retain(|other| !other.task.is_finished());
        self.others.push(Other { id, task, standing });
    }

    /// The call that is pushed next met a lost session before: that it does so again is not believed at once.
    pub fn doubt(&mut self, id: u64) {
        self.doubted.insert(id);
    }

    /// Gives up a call. True where its server needs no further word about that.
    pub fn take_back(&mut self, id: u64) -> bool {
        self.doubted.remove(&id);
        if let Some(at) = self.queue.iter().position(|out| out.call == Some(id)) {
            if let Some(out) = self.queue.remove(at) {
                self.queued -= out.body.len();
            }
            return true;
        }
        let Some(running) = self.calls.remove(&id) else {
            return false;
        };
        // First of all: what was given up is not written by anybody.
        let unwritten = running.mark.give_up();
        running.task.abort();
        // In the modern era closing the connection is how a call is cancelled.
        running.modern || unwritten
    }

    /// Bytes that wait to be sent; more than there can be where too much of the router's own is on its way.
    pub fn backlog(&self) -> usize {
        let passing = |other: &&Other| !other.standing && !other.task.is_finished();
        let own = self.others.iter().filter(passing).take(OWN + 1);
        if own.count() > OWN { usize::MAX } else { self.queued }
    }

    /// The calls that were begun since this was asked last.
    pub fn started(&mut self) -> impl Iterator<Item = u64> + '_ {
        self.started.drain(..)
    }

    /// Waits for what comes next; for ever after [`Event::Gone`]. Cancel safe.
    pub async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            let over = self.calls.is_empty() && !self.leaving && self.words.is_empty();
            if let Some((why, unreachable)) = self.down.as_ref().filter(|_| over && !self.gone) {
                self.gone = true;
                return Event::Gone {
                    why: why.clone(),
                    unreachable: *unreachable,
                };
            }
            // Unbiased: a server that talks without end must not hide the ends of calls.
            tokio::select! {
                Some(word) = self.words.recv(), if !self.gone => self.heard(word),
                Some(done) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                    // What a task said before its end comes first.
                    for _ in 0..self.words.len() {
                        if let Ok(word) = self.words.try_recv() {
                            self.heard(word);
                        }
                    }
                    self.done(done.map(|(_, done)| done));
                }
                else => std::future::pending().await,
            }
        }
    }

    fn heard(&mut self, Word(text, call): Word) {
        self.ready.push_back(Event::Message { text, call });
    }

    /// Takes leave: no more is sent, and a legacy server hears that its session is over.
    pub fn close(&mut self) {
        let up = self.down.is_none();
        self.end("its connections were closed".to_owned(), false);
        self.drop_calls();
        if up {
            self.part();
        }
    }

    /// A legacy server hears that its session is over.
    fn part(&mut self) {
        if self.link.has_session() && !self.link.is_old() && !self.leaving {
            self.leaving = true;
            let link = Arc::clone(&self.link);
            self.tasks.spawn(async move {
                link.farewell().await;
                Done::Farewell
            });
        }
    }

    /// Ends what went wrong: takes leave, or closes every connection now where that was tried already.
    pub fn break_off(&mut self) {
        match self.down.is_none() {
            true => self.close(),
            false => self.kill(),
        }
    }

    /// Closes every connection now.
    pub fn kill(&mut self) {
        self.end("its connections were closed".to_owned(), false);
        self.drop_calls();
        self.leaving = false;
        self.tasks.abort_all();
    }

    /// What was begun counts as sent, and is left to the owner.
    fn drop_calls(&mut self) {
        for (_, running) in self.calls.drain() {
            running.task.abort();
        }
    }
}

/// One message, to its end.
async fn run(link: Arc<Link>, out: Out, mark: Arc<Mark>, doubted: bool) -> Done {
    let mut end = if out.method == method::LISTEN {
        exchange::listen(&link, &out).await
    } else if out.call.is_some() || out.has_owner() {
        exchange::exchange(&link, &out, &mark).await
    } else {
        let answered = timeout(OWN_PATIENCE, exchange::exchange(&link, &out, &mark)).await;
        answered.unwrap_or_else(|_| End::Broken {
            why: format!("no answer came within {} s", OWN_PATIENCE.as_secs()),
            again: false,
        })
    };
    let health = match &end {
        End::Broken { again: true, .. } | End::Faulty(_) if out.call.is_some() => probe::probe(&link).await,
        End::SessionLost(_) if doubted => probe::probe(&link).await.or_else(|| {
            // The session is well: it was the call that the server meant.
            let refused = End::Refused("it answered as if its session was lost, which is not so".to_owned());
            let _ = std::mem::replace(&mut end, refused);
            None
        }),
        _ => None,
    };
    Done::Post(Box::new(out), end, health)
}
