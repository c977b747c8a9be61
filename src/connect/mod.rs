//! `pointsman connect`: a client that speaks stdio, and the router behind its local socket.
//!
//! `bridge` decides, as a pure state machine; this file is the loop around it. `exchange` is one request and its reply
//! (`events` reads its stream), `start` finds the router and starts it, `pipes` are the client's two.

pub mod bridge;
mod events;
mod exchange;
mod pipes;
mod start;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::bridge::{Bridge, Effect, Event, Limits, Session};
use self::exchange::{Call, Shape, exchange};
pub use self::start::Finder;
use crate::shutdown::Shutdown;

/// Replies that wait to be looked at; more wait in their sockets.
const EVENTS: usize = 64;
/// Lines that wait to be written; while there are so many, nothing is read.
const LINES: usize = 64;
/// Messages that are held or in flight: fewer than the files that a process may usually have open.
const MESSAGES: usize = 512;
/// Bytes of them.
const BYTES: usize = 64 << 20;
/// How long answers are waited for after the client's end. Clients give their servers a few seconds.
const GRACE: Duration = Duration::from_secs(5);
/// Time for the router to hear of the end, and for the client to take the last lines.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the router may take to take a message, before it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a read is sent again that the router died of, as it seems.
const REPEATS: u32 = 10;

/// What the command line says.
pub struct Options {
    /// `/mcp`, or `/mcp/NAME`.
    pub path: String,
    /// Headers of every request.
    pub headers: HeaderMap,
    /// Whether a router may be started.
    pub start: bool,
    /// How long messages are held while there is no router.
    pub wait: Duration,
}

/// What is under way.
struct Shim {
    finder: Arc<Finder>,
    shape: Shape,
    events: mpsc::Sender<Event>,
    /// Where the router was reached last.
    socket: Arc<Mutex<PathBuf>>,
    exchanges: HashMap<u64, AbortHandle>,
    reaching: Option<AbortHandle>,
}

/// Serves the client at stdin and stdout until it ends.
pub async fn run(options: Options, finder: Finder, shutdown: &Shutdown) {
    let body = finder.listen().max_body;
    let limits = Limits {
        messages: MESSAGES,
        bytes: BYTES.max(2 * body),
        body,
        wait: options.wait,
        grace: GRACE,
        repeats: REPEATS,
    };
    let (events, mut happened) = mpsc::channel(EVENTS);
    let mut lines = pipes::read(tokio::io::stdin(), pipes::read_limit(body));
    let (out, written) = pipes::write(tokio::io::stdout(), LINES);
    let mut bridge = Bridge::new(limits, options.start);
    let mut shim = Shim {
        finder: Arc::new(finder),
        shape: Shape {
            patience: PATIENCE.min(options.wait),
            path: options.path,
            headers: options.headers,
        },
        events,
        socket: Arc::default(),
        exchanges: HashMap::new(),
        reaching: None,
    };
    let signals = shutdown.subscribe();
    let mut open = true;
    loop {
        let due = bridge.deadline();
        let event = tokio::select! {
            Some(event) = happened.recv() => event,
            line = lines.recv(), if open => line.unwrap_or_else(|| {
                open = false;
                Event::Eof
            }),
            () = signals.draining(), if open => {
                open = false;
                Event::Eof
            }
            () = signals.now() => Event::Eof,
            // Nobody reads any more: that is the end as well, and a second time it does not wait.
            () = out.closed() => Event::Eof,
            () = async { match due { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => Event::Tick,
        };
        for effect in bridge.step(event, Instant::now()) {
            match effect {
                Effect::Write(line) => {
                    tokio::select! {
                        // That nobody reads is seen above.
                        _ = out.send(line) => {}
                        () = async { signals.draining().await; sleep(FAREWELL).await } => return,
                    }
                }
                Effect::End(session) => {
                    let farewell = async {
                        shim.end(session.as_deref()).await;
                        drop(out);
                        // Written, or the client is gone.
                        let _ = written.await;
                    };
                    let _ = timeout(2 * FAREWELL, farewell).await;
                    return;
                }
                effect => shim.act(effect),
            }
        }
    }
}

impl Shim {
    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Post(post) => self.send(post.number, self.shape.post(post)),
            Effect::Get(number, session) => self.send(number, self.shape.get(&session)),
            Effect::Drop(number) => {
                if let Some(exchange) = self.exchanges.remove(&number) {
                    exchange.abort();
                }
            }
            Effect::Reach { start } => self.reach(start),
            Effect::Write(_) | Effect::End(_) => {}
        }
    }

    fn at(&self) -> PathBuf {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&mut self, number: u64, call: Call) {
        let (socket, patience, events) = (self.at(), self.shape.patience, self.events.clone());
        let task = tokio::spawn(async move { exchange(&socket, call, patience, number, events).await });
        self.exchanges.retain(|_, exchange| !exchange.is_finished());
        self.exchanges.insert(number, task.abort_handle());
    }

    fn reach(&mut self, start: bool) {
        if let Some(reaching) = self.reaching.take() {
            reaching.abort();
        }
        let (finder, events, socket) = (Arc::clone(&self.finder), self.events.clone(), Arc::clone(&self.socket));
        let task = tokio::spawn(async move {
            let event = match finder.reach(start).await {
                Ok(path) => {
                    *socket.lock().unwrap_or_else(PoisonError::into_inner) = path;
                    Event::Reached
                }
                Err(why) => {
                    tracing::error!("the router cannot be reached: {why}");
                    Event::Unreachable(why)
                }
            };
            // Nobody listens any more when the program ends.
            let _ = events.send(event).await;
        });
        self.reaching = Some(task.abort_handle());
    }

    /// Ends the session. What is still in flight is given up.
    async fn end(&mut self, session: Option<&Session>) {
        for exchange in self.exchanges.values() {
            exchange.abort();
        }
        if let Some(session) = session {
            let (events, mut happened) = mpsc::channel(EVENTS);
            let socket = self.at();
            let ended = exchange(&socket, self.shape.delete(session), FAREWELL, 0, events);
            let heard = async { while happened.recv().await.is_some() {} };
            let _ = timeout(FAREWELL, futures_util::future::join(ended, heard)).await;
        }
    }
}
