//! Legacy sessions: bounded in number and size, forgotten when unused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::asking::{self, Asking};
use super::lists::versions;
use super::own_tools;
use super::private::Own;
use super::ring::Rank;
use super::room;
use super::roots::{self, Roots};
use super::stream::Stream;
use super::streams::Streams;
use crate::backend::{Ask, Subscription, refusal};
use crate::call::{AgentKey, Introduction, Principal};
use crate::catalog::Endpoint;
use crate::config;
use crate::wire::{RawJson, RequestId, Topic, Version};

/// The shortest and the longest time between two looks for sessions that are over.
const LOOKS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(60)];

/// The default severity: what an agent that never asked gets.
pub const DEFAULT_LEVEL: u8 = 1;

/// One legacy session.
pub struct Session {
    pub(super) me: Weak<Session>,
    /// Its number: what the rest of the router knows it by.
    pub number: u64,
    /// The revision agreed in `initialize`.
    pub version: Version,
    /// The name of the endpoint where it was opened. The endpoint itself may be removed and come back.
    pub endpoint: Arc<str>,
    /// Who opened it, where that was asked: nobody else may use it.
    pub principal: Option<Arc<Principal>>,
    /// Bytes that are kept for it.
    size: usize,
    /// What the agent said in `initialize`, and which backend it meant since.
    introduction: ArcSwap<Introduction>,
    /// The least severity of log messages wanted.
    pub level: AtomicU8,
    /// Whether the agent ever asked for one.
    pub level_asked: AtomicBool,
    /// The lists that the agent was told of in `initialize`.
    pub topics: Vec<Topic>,
    /// The versions of the lists, by topic, that the agent knows or was told of.
    pub known_lists: [AtomicU64; 3],
    /// Requests of servers that are out to the agent.
    pub(super) asking: Arc<Asking>,
    /// The resources whose changes the agent wants to hear of, by URI, and the backend of each.
    pub(super) subscriptions: Mutex<HashMap<String, (Arc<str>, Subscription)>>,
    /// What is for it alone.
    pub(super) own: Own,
    answer_wait: Duration,
    /// Whether the agent declared anything that a server could ask it.
    pub(super) can_be_asked: bool,
    /// The folders that the agent works in; `None` where it has none to tell of.
    pub(super) roots: Option<Roots>,
    running: Mutex<HashMap<RequestId, oneshot::Sender<()>>>,
    /// Its event streams.
    pub(super) streams: Arc<Streams>,
    used: Mutex<Instant>,
}

/// A request of the session that is running. Dropping it takes it off the list.
pub struct Running {
    session: Arc<Session>,
    key: RequestId,
    /// Resolves when the agent cancels it.
    pub cancelled: oneshot::Receiver<()>,
}

/// Why a request is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// Its id is that of another one.
    #[error("a request with this id is still running in this session: give each its own")]
    IdInUse,
    /// There are as many as there may be.
    #[error("{0} requests of this session are running, and more are not allowed (sessions.max-requests = {0})")]
    TooMany(usize),
}

impl Session {
    /// Its key for fairness, order and ownership.
    pub fn key(&self) -> AgentKey {
        AgentKey::Session(self.number)
    }

    /// It is over: what runs for it is cancelled, and what is its own is let go.
    fn close(&self) {
        for (_, cancel) in lock(&self.running).drain() {
            // The request may have ended in this moment.
            let _ = cancel.send(());
        }
        lock(&self.subscriptions).clear();
        self.streams.end_all();
        self.asking.end();
    }

    /// What the agent said in `initialize`, and which backend it meant since.
    pub fn introduction(&self) -> Arc<Introduction> {
        self.introduction.load_full()
    }

    /// From now on the agent means this backend, or none.
    pub(super) fn mean(&self, backend: Option<&str>) {
        let meant = own_tools::meaning(&self.introduction(), backend);
        self.introduction.store(Arc::new(meant));
    }

    /// Notes a running request, of which there may be `most`.
    pub fn begin(self: &Arc<Self>, id: &RequestId, most: usize) -> Result<Running, NotBegun> {
        let (sender, cancelled) = oneshot::channel();
        let key = id.key();
        let mut running = lock(&self.running);
        let full = running.len() >= most;
        match running.entry(key.clone()) {
            Entry::Occupied(_) => return Err(NotBegun::IdInUse),
            Entry::Vacant(_) if full => return Err(NotBegun::TooMany(most)),
            Entry::Vacant(place) => place.insert(sender),
        };
        Ok(Running {
            session: Arc::clone(self),
            key,
            cancelled,
        })
    }

    /// The agent no longer wants that request. Another session's request of the same id is not touched.
    pub fn cancel(&self, id: &RequestId) {
        if let Some(sender) = lock(&self.running).remove(&id.key()) {
            // The request may have ended in this moment.
            let _ = sender.send(());
        }
    }

    /// Says something on the agent's own stream, if that is open and has room.
    pub(super) fn push(&self, rank: Rank, message: &str) -> bool {
        self.streams.own().say(rank, message)
    }

    /// The agent knows, or will ask for, the lists of this endpoint as they are now.
    pub(super) fn know(&self, endpoint: &Endpoint) {
        for (known, version) in self.known_lists.iter().zip(versions(endpoint)) {
            known.store(version, Ordering::Relaxed);
        }
    }

    /// Puts a request of a server to the agent, on the stream of its call or on its own.
    pub(super) fn put(&self, ask: Ask, stream: Option<Arc<Stream>>) {
        let introduction = self.introduction();
        let capabilities = introduction.capabilities.as_ref().map(RawJson::as_str);
        if let Err(why) = asking::can_be_asked(capabilities, &ask) {
            let _ = ask.reply.send(Err(refusal(&why)));
            return;
        }
        let own = self.streams.own();
        let stream = stream
            .filter(|s| s.is_open())
            .or_else(|| own.is_open().then(|| Arc::clone(own)));
        self.asking.ask(ask, stream, self.answer_wait);
    }

    fn touch(&self, now: Instant) {
        *lock(&self.used) = now;
    }

    fn is_expired(&self, idle: Duration, now: Instant) -> bool {
        let since = self.idle_since();
        since.is_some_and(|since| now.duration_since(since) >= idle)
    }

    fn place<'a>(&'a self, id: &'a str) -> room::Place<'a> {
        room::Place {
            id,
            owner: self.principal.as_ref().map(|principal| &**principal.key()),
            idle: self.idle_since(),
            size: self.size,
        }
    }

    fn idle_since(&self) -> Option<Instant> {
        let busy = !lock(&self.running).is_empty() || self.asking.is_waiting() || self.streams.own().is_read();
        (!busy).then(|| *lock(&self.used))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.session.running).remove(&self.key);
        self.session.touch(Instant::now());
    }
}

/// Sessions by their secret ids, and the bytes that all of them take.
#[derive(Default)]
struct Table {
    by_id: HashMap<Box<str>, Arc<Session>>,
    bytes: usize,
}

impl Table {
    fn insert(&mut self, id: &str, session: &Arc<Session>) {
        self.bytes += session.size;
        self.by_id.insert(id.into(), Arc::clone(session));
    }

    fn remove(&mut self, id: &str) -> Option<Arc<Session>> {
        let session = self.by_id.remove(id)?;
        self.bytes -= session.size;
        Some(session)
    }

    fn take_expired(&mut self, idle: Duration, now: Instant) -> Vec<Arc<Session>> {
        let expired = self.by_id.extract_if(|_, session| session.is_expired(idle, now));
        let expired: Vec<_> = expired.map(|(_, session)| session).collect();
        self.bytes -= expired.iter().map(|session| session.size).sum::<usize>();
        expired
    }
}

/// All sessions.
pub struct Store {
    limits: config::Sessions,
    sessions: Mutex<Table>,
    next: AtomicU64,
    /// Ends those that nobody uses any more.
    sweeper: OnceLock<AbortHandle>,
}

impl Store {
    /// No sessions.
    pub fn new(limits: config::Sessions) -> Arc<Self> {
        let store = Arc::new(Self {
            limits,
            sessions: Mutex::default(),
            next: AtomicU64::new(1),
            sweeper: OnceLock::new(),
        });
        let sweeper = tokio::spawn(sweep(Arc::downgrade(&store))).abort_handle();
        store.sweeper.get_or_init(|| sweeper);
        store
    }

    /// Requests of one session at most.
    pub fn max_requests(&self) -> usize {
        self.limits.max_requests
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.sessions).by_id.len()
    }

    /// Opens a session and returns its secret id. Makes room by ending those that were idle for longest, first of whoever
    /// has most; `None` where all are busy, or where the system has no randomness to make an id that cannot be guessed.
    pub fn open(
        &self,
        version: Version,
        endpoint: &Endpoint,
        topics: Vec<Topic>,
        introduction: Introduction,
        principal: Option<Arc<Principal>>,
    ) -> Option<(String, Arc<Session>)> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).ok()?;
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let known_lists = versions(endpoint).map(AtomicU64::new);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let capabilities = introduction.capabilities.as_ref().map(RawJson::as_str);
        let can_be_asked = asking::declares_any(capabilities);
        let roots = asking::declares(capabilities, "roots").then(Roots::default);
        let size = room::size(&introduction) + roots.as_ref().map_or(0, |_| roots::MOST);
        let session = Arc::new_cyclic(|me| Session {
            me: Weak::clone(me),
            number,
            version,
            endpoint: Arc::clone(&endpoint.name),
            size,
            can_be_asked,
            roots,
            introduction: ArcSwap::from_pointee(introduction),
            principal,
            level: AtomicU8::new(DEFAULT_LEVEL),
            level_asked: AtomicBool::new(false),
            topics,
            known_lists,
            asking: Arc::default(),
            subscriptions: Mutex::default(),
            own: Own::default(),
            answer_wait: self.limits.answer_wait,
            running: Mutex::default(),
            streams: Streams::new(number, &self.limits),
            used: Mutex::new(Instant::now()),
        });
        let mut sessions = lock(&self.sessions);
        let bounds = (self.limits.capacity, self.limits.bytes);
        let (mut over, mut fits) = (Vec::new(), true);
        if sessions.by_id.len() >= bounds.0 || sessions.bytes + session.size > bounds.1 {
            over = sessions.take_expired(self.limits.idle, Instant::now());
            let places: Vec<room::Place> = sessions.by_id.iter().map(|(id, s)| s.place(id)).collect();
            let leaving = room::leaving(&places, &session.place(&id), bounds);
            fits = leaving.is_some();
            let leaving: Vec<String> = leaving.into_iter().flatten().map(str::to_owned).collect();
            over.extend(leaving.iter().filter_map(|id| sessions.remove(id)));
        }
        if fits {
            sessions.insert(&id, &session);
        }
        drop(sessions);
        over.iter().for_each(|session| session.close());
        fits.then_some((id, session))
    }

    /// Ends those that were unused for long enough, and says when to look again.
    fn expire(&self, now: Instant) -> Instant {
        let mut sessions = lock(&self.sessions);
        let over = sessions.take_expired(self.limits.idle, now);
        let idle = sessions.by_id.values().filter_map(|session| session.idle_since());
        let next = idle.map(|since| since + self.limits.idle).min();
        drop(sessions);
        over.iter().for_each(|session| session.close());
        // One that is busy now, or is not there yet, is over no sooner than this.
        let latest = now + self.limits.idle.clamp(LOOKS[0], LOOKS[1]);
        next.map_or(latest, |next| next.clamp(now + LOOKS[0], latest))
    }

    /// The session of that id, if it is not forgotten.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        let now = Instant::now();
        let mut sessions = lock(&self.sessions);
        let session = Arc::clone(sessions.by_id.get(id)?);
        // Every request comes this way: only who seems forgotten is looked at closely.
        let seems_forgotten = now.duration_since(*lock(&session.used)) >= self.limits.idle;
        if seems_forgotten && session.is_expired(self.limits.idle, now) {
            sessions.remove(id);
            drop(sessions);
            session.close();
            return None;
        }
        session.touch(now);
        Some(session)
    }

    /// Ends a session and its stream; false where there was none.
    pub fn end(&self, id: &str) -> bool {
        let ended = lock(&self.sessions).remove(id);
        ended.is_some_and(|session| {
            session.close();
            true
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(sweeper) = self.sweeper.get() {
            sweeper.abort();
        }
    }
}

/// What belongs to a session, children and subscriptions, must not wait until somebody asks for it.
async fn sweep(store: Weak<Store>) {
    while let Some(due) = store.upgrade().map(|store| store.expire(Instant::now())) {
        tokio::time::sleep_until(due).await;
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
