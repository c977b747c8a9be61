//! Legacy sessions: bounded in number, forgotten when unused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::asking::{self, Asking};
use super::lists::versions;
use super::own_tools;
use super::private::Own;
use super::ring::Rank;
use super::stream::Stream;
use super::streams::Streams;
use crate::backend::{Ask, Subscription, refusal};
use crate::call::{AgentKey, Introduction, Principal};
use crate::catalog::Endpoint;
use crate::config;
use crate::wire::{RawJson, RequestId, Topic, Version};

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

/// All sessions.
pub struct Store {
    limits: config::Sessions,
    sessions: Mutex<HashMap<Box<str>, Arc<Session>>>,
    next: AtomicU64,
}

impl Store {
    /// No sessions.
    pub fn new(limits: config::Sessions) -> Self {
        Self {
            limits,
            sessions: Mutex::new(HashMap::new()),
            next: AtomicU64::new(1),
        }
    }

    /// Requests of one session at most.
    pub fn max_requests(&self) -> usize {
        self.limits.max_requests
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        lock(&self.sessions).len()
    }

    /// Opens a session and returns its secret id. Makes room by ending the longest idle one; `None` where all
    /// are busy, or where the system has no randomness to make an id that cannot be guessed.
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
        let session = Arc::new_cyclic(|me| Session {
            me: Weak::clone(me),
            number,
            version,
            endpoint: Arc::clone(&endpoint.name),
            can_be_asked: asking::declares_any(introduction.capabilities.as_ref().map(RawJson::as_str)),
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
        if sessions.len() >= self.limits.capacity {
            let now = Instant::now();
            sessions.retain(|_, s| {
                s.idle_since()
                    .is_none_or(|since| now.duration_since(since) < self.limits.idle)
            });
        }
        if sessions.len() >= self.limits.capacity {
            let oldest = sessions
                .iter()
                .filter_map(|(id, s)| s.idle_since().map(|since| (since, id.clone())))
                .min()?;
            sessions.remove(&oldest.1);
        }
        sessions.insert(id.clone().into_boxed_str(), Arc::clone(&session));
        Some((id, session))
    }

    /// The session of that id, if it is not forgotten.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        let now = Instant::now();
        let mut sessions = lock(&self.sessions);
        let session = sessions.get(id)?.clone();
        // Every request comes this way: only who seems forgotten is looked at closely.
        let is_idle = |since: Instant| now.duration_since(since) >= self.limits.idle;
        if is_idle(*lock(&session.used)) && session.idle_since().is_some_and(is_idle) {
            sessions.remove(id);
            return None;
        }
        drop(sessions);
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::stream::Start;
    use super::*;
    use crate::policy::NoPolicy;
    use crate::router::Policies;

    fn store(capacity: usize) -> Store {
        Store::new(config::Sessions {
            capacity,
            idle: Duration::from_secs(60),
            max_requests: 2,
            parked: 2,
            answer_wait: Duration::from_secs(60),
            ..config::Sessions::default()
        })
    }

    fn open(store: &Store) -> Option<(String, Arc<Session>)> {
        let policies = Policies::new(Arc::new(NoPolicy)).changes();
        let endpoint = Endpoint::new("", None, config::Endpoint::default(), Vec::new(), policies);
        store.open(
            Version::V20250618,
            &endpoint,
            Topic::ALL.into(),
            Introduction::default(),
            None,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_one_makes_room_and_the_unused_are_forgotten() {
        let store = store(2);
        let (a, _) = open(&store).unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (b, _) = open(&store).unwrap();
        assert!(store.get(&a).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        let (c, session) = open(&store).unwrap();
        assert!(
            store.get(&b).is_none_or(|_| store.get(&a).is_none()),
            "one of the two had to go"
        );
        let busy = session.begin(&RequestId::from_raw("1").unwrap(), 2).unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert!(store.get(&c).is_some(), "a running request keeps it");
        drop(busy);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(store.get(&c).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_in_use_is_refused_and_a_cancel_meets_only_its_own_session() {
        let store = store(9);
        let ((_, a), (_, b)) = (open(&store).unwrap(), open(&store).unwrap());
        let (one, same, two) = (
            RequestId::from_raw("\"a\"").unwrap(),
            RequestId::from_raw("\"\\u0061\"").unwrap(),
            RequestId::from_raw("2").unwrap(),
        );
        let mut in_a = a.begin(&one, 2).unwrap();
        let mut in_b = b.begin(&one, 2).unwrap();
        let refused = |id: &RequestId| a.begin(id, 2).err();
        assert_eq!(refused(&same), Some(NotBegun::IdInUse), "written otherwise");
        let _second = a.begin(&two, 2).unwrap();
        assert_eq!(refused(&two), Some(NotBegun::IdInUse), "full or not");
        let third = refused(&RequestId::from_raw("3").unwrap()).unwrap();
        assert_eq!(third, NotBegun::TooMany(2));
        assert!(third.to_string().contains("sessions.max-requests = 2"), "{third}");
        a.cancel(&same);
        assert!(in_a.cancelled.try_recv().is_ok() && in_b.cancelled.try_recv().is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_its_stream() {
        let store = store(9);
        let (id, session) = open(&store).unwrap();
        let mut stream = session.streams.read_own(Start::Unread);
        assert!(store.end(&id) && !store.end(&id));
        assert!(stream.next().await.is_none());
    }
}
