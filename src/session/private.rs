//! Backends whose every session has a target of its own: started when the session first needs it, stopped when it is
//! over, when it is unused for long, or when another session needs the room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::listener::Ear;
use super::seen::Seen;
use super::store::Session;
use crate::backend::{Backend, Face, Owner};
use crate::config::{self, ServerRequests};
use crate::error::{Bound, CallError, Reason};
use crate::process::Spawner;

/// What one session has for itself.
#[derive(Default)]
pub(super) struct Own(Mutex<Things>);

#[derive(Default)]
pub(super) struct Things {
    pub(super) backends: HashMap<Arc<str>, Arc<Private>>,
    /// The endpoint as this session sees it.
    pub(super) seen: Seen,
}

/// A backend of one session.
pub(super) struct Private {
    pub(super) backend: Arc<Backend>,
    session: Weak<Session>,
    used: Mutex<Instant>,
}

impl Private {
    fn is_idle(&self) -> bool {
        let (held, ..) = self.backend.gate().load();
        held == 0 && self.backend.state().1 == 0
    }

    fn used(&self) -> Instant {
        *lock(&self.used)
    }
}

/// All backends of single sessions.
pub(super) struct Privates {
    spawner: Arc<dyn Spawner>,
    all: Mutex<HashMap<Arc<str>, Vec<Weak<Private>>>>,
}

impl Privates {
    /// None yet; their targets will be started by `spawner`.
    pub(super) fn new(spawner: Arc<dyn Spawner>) -> Self {
        Self {
            spawner,
            all: Mutex::default(),
        }
    }

    /// Those that are there now.
    pub(super) fn backends(&self) -> Vec<Arc<Backend>> {
        let all = lock(&self.all);
        let alive = all.values().flatten().filter_map(Weak::upgrade);
        alive.map(|private| Arc::clone(&private.backend)).collect()
    }

    /// The session's own instance of a backend.
    pub(super) async fn own(&self, session: &Arc<Session>, base: &Arc<Backend>) -> Result<Arc<Backend>, CallError> {
        let settings = base.settings();
        let known = session.own.lock().backends.get(base.name()).cloned();
        if let Some(private) = known {
            *lock(&private.used) = Instant::now();
            let present = private.backend.settings();
            if *present != one(&settings) {
                let respawn = config::needs_respawn(&present, &settings);
                private.backend.reconfigure(one(&settings), respawn).await;
            }
            return Ok(Arc::clone(&private.backend));
        }
        self.make_room(base.name(), settings.session_targets)?;
        let private = {
            let mut own = session.own.lock();
            if let Some(private) = own.backends.get(base.name()) {
                // Another request of the session was faster.
                return Ok(Arc::clone(&private.backend));
            }
            let private = Arc::new(Private {
                backend: Backend::start_for(base, one(&settings), Arc::clone(&self.spawner), owner(session)),
                session: Arc::downgrade(session),
                used: Mutex::new(Instant::now()),
            });
            own.backends.insert(Arc::clone(base.name()), Arc::clone(&private));
            private
        };
        info!(backend = %base.name(), session = session.number, "started for a session");
        lock(&self.all)
            .entry(Arc::clone(base.name()))
            .or_default()
            .push(Arc::downgrade(&private));
        tokio::spawn(stop_when_idle(Arc::downgrade(&private), settings.session_idle));
        // What the agent had said to one before it, that was stopped meanwhile.
        session.say_again(&private.backend).await;
        Ok(Arc::clone(&private.backend))
    }

    /// Stops the one that was unused for longest, where there are `most` already.
    fn make_room(&self, name: &Arc<str>, most: usize) -> Result<(), CallError> {
        let mut all = lock(&self.all);
        let alive = all.entry(Arc::clone(name)).or_default();
        alive.retain(|private| private.strong_count() > 0);
        if alive.len() < most {
            return Ok(());
        }
        let idle = alive.iter().filter_map(Weak::upgrade).filter(|p| p.is_idle());
        let Some(oldest) = idle.min_by_key(|private| private.used()) else {
            return Err(CallError::from(Reason::QueueFull(Bound::Sessions)).at(name));
        };
        drop(all);
        remove(&oldest, "another session needs the room");
        Ok(())
    }
}

/// A session has one instance, however many are shared.
fn one(settings: &config::Backend) -> config::Backend {
    config::Backend {
        replicas: 1,
        server_requests: ServerRequests::Off,
        ..settings.clone()
    }
}

async fn stop_when_idle(private: Weak<Private>, idle: Duration) {
    let mut due = Instant::now() + idle;
    loop {
        tokio::time::sleep_until(due).await;
        let Some(private) = private.upgrade() else { return };
        let now = Instant::now();
        due = private.used() + idle;
        if due > now {
            continue;
        }
        if private.is_idle() {
            remove(&private, "its session does not use it");
            return;
        }
        due = now + idle;
    }
}

/// Takes a backend from its session, and stops it. The next request of the session starts another.
pub(super) fn remove(private: &Arc<Private>, why: &'static str) {
    let name = private.backend.name();
    if let Some(session) = private.session.upgrade() {
        info!(backend = %name, session = session.number, "stopped for a session: {why}");
        let mut own = session.own.lock();
        // By now there may be another.
        if own.backends.get(name).is_some_and(|known| Arc::ptr_eq(known, private)) {
            own.backends.remove(name);
        }
    }
    let backend = Arc::clone(&private.backend);
    tokio::spawn(async move { backend.stop(Reason::Unavailable(why.to_owned())).await });
}

fn owner(session: &Arc<Session>) -> Owner {
    let router = Face::own(false);
    let said = session.introduction();
    Owner {
        face: Face {
            client: said.client.clone().unwrap_or(router.client),
            capabilities: said.capabilities.clone().unwrap_or(router.capabilities),
        },
        sink: Arc::new(Ear(Arc::downgrade(session))),
    }
}

impl Own {
    pub(super) fn lock(&self) -> MutexGuard<'_, Things> {
        lock(&self.0)
    }

    /// What is the session's own: whatever its agent says to nobody in particular is meant for these.
    pub(super) fn backends(&self) -> Vec<Arc<Backend>> {
        let own = self.lock();
        own.backends.values().map(|p| Arc::clone(&p.backend)).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
