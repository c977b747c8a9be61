//! The endpoint as one session sees it: with targets of its own in the place of those that are nobody's to share.
//!
//! In the place of one that is not started yet, or has no room, something stands that has what the shared one has: it is
//! shown, and calls for it are refused. A task lets the endpoint follow the shared one while its session only listens.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::private::{Private, Privates, Things, remove};
use super::store::Session;
use crate::backend::{Backend, Known};
use crate::catalog::{Endpoint, View};
use crate::config::Scope;
use crate::error::Reason;
use crate::wire::Kind;

/// What a session sees in the place of an endpoint that it cannot share.
#[derive(Default)]
pub(super) struct Seen {
    endpoint: Option<Arc<Endpoint>>,
    stand_ins: HashMap<Arc<str>, StandIn>,
    follower: Option<Follower>,
}

/// In the place of a backend that the session does not have.
struct StandIn {
    backend: Arc<Backend>,
    base: Weak<Backend>,
    lists: [Known; 4],
}

/// The task that follows the shared endpoint; it ends with this.
struct Follower {
    of: Weak<Endpoint>,
    task: AbortHandle,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    fn new(base: &Arc<Backend>) -> Self {
        let why = "it has not been started for this session yet".to_owned();
        // Before its copy, so that a change in between is seen.
        let lists = Kind::ALL.map(|kind| base.known(kind));
        Self {
            backend: Backend::stand_in(base, Reason::Unavailable(why)),
            base: Arc::downgrade(base),
            lists,
        }
    }

    /// Whether it has what `base` has.
    fn is_of(&self, base: &Arc<Backend>) -> bool {
        let same = |(kind, then): (Kind, &Known)| match (base.known(kind), then) {
            (Some(now), Some(then)) => Arc::ptr_eq(&now, then),
            (now, then) => now.is_none() && then.is_none(),
        };
        std::ptr::eq(self.base.as_ptr(), Arc::as_ptr(base)) && Kind::ALL.into_iter().zip(&self.lists).all(same)
    }
}

impl Privates {
    /// The endpoint as a session sees it. What it must have for itself is started; what has no room refuses its calls.
    pub(super) async fn endpoint(&self, session: &Arc<Session>, shared: &Arc<Endpoint>) -> Arc<Endpoint> {
        let view = shared.view();
        if !view.has_private {
            return Arc::clone(shared);
        }
        let mut refused = Vec::new();
        for base in view.backends.iter().filter(|base| is_private(base)) {
            if let Err(error) = self.own(session, base).await {
                refused.push((Arc::clone(base.name()), error.reason));
            }
        }
        let endpoint = see(session, shared, refused);
        endpoint.fresh_view().await;
        endpoint
    }
}

fn is_private(backend: &Backend) -> bool {
    backend.settings().scope == Scope::Session
}

/// Brings what the session sees to the shared endpoint as it is now. All is decided under one lock: nobody puts back what
/// somebody else has changed.
fn see(session: &Arc<Session>, shared: &Arc<Endpoint>, refused: Vec<(Arc<str>, Reason)>) -> Arc<Endpoint> {
    let mut own = session.own.lock();
    let view = shared.view();
    let (members, gone) = own.members(&view);
    for (name, why) in refused {
        if let Some(stand_in) = own.seen.stand_ins.get(&name) {
            stand_in.backend.refuse(why);
        }
    }
    let follows = |follower: &Follower| std::ptr::eq(follower.of.as_ptr(), Arc::as_ptr(shared));
    if !own.seen.follower.as_ref().is_some_and(follows) {
        let (session, of) = (Arc::downgrade(session), Arc::downgrade(shared));
        let task = tokio::spawn(follow(session, Weak::clone(&of), shared.updates())).abort_handle();
        own.seen.follower = Some(Follower { of, task });
    }
    let endpoint = match &own.seen.endpoint {
        Some(endpoint) => {
            if !endpoint.is_given(&view.settings, &members) {
                endpoint.update(view.settings.clone(), members);
            }
            Arc::clone(endpoint)
        }
        None => {
            let endpoint = shared.alike(view.settings.clone(), members);
            session.know(&endpoint);
            own.seen.endpoint = Some(Arc::clone(&endpoint));
            endpoint
        }
    };
    drop(own);
    for private in gone {
        remove(&private, "its endpoint does not have it any more");
    }
    endpoint
}

impl Things {
    /// The backends of the endpoint for this session, and those of its own that it has no use for.
    fn members(&mut self, view: &View) -> (Vec<Arc<Backend>>, Vec<Arc<Private>>) {
        let private: Vec<&Arc<Backend>> = view.backends.iter().filter(|base| is_private(base)).collect();
        let wanted = |name: &Arc<str>| private.iter().any(|base| base.name() == name);
        let gone = self.backends.extract_if(|name, _| !wanted(name)).map(|(_, gone)| gone);
        let gone = gone.collect();
        let backends = &self.backends;
        let stand_ins = &mut self.seen.stand_ins;
        stand_ins.retain(|name, _| wanted(name) && !backends.contains_key(name));
        let member = |base: &Arc<Backend>| {
            if !is_private(base) {
                return Arc::clone(base);
            }
            if let Some(private) = backends.get(base.name()) {
                return Arc::clone(&private.backend);
            }
            let stand_in = stand_ins
                .entry(Arc::clone(base.name()))
                .or_insert_with(|| StandIn::new(base));
            if !stand_in.is_of(base) {
                *stand_in = StandIn::new(base);
            }
            Arc::clone(&stand_in.backend)
        };
        (view.backends.iter().map(member).collect(), gone)
    }
}

/// Lets what a session sees follow the shared endpoint, until that is removed: then the session's own goes too, and who
/// listens hears of it as everybody does.
async fn follow(session: Weak<Session>, shared: Weak<Endpoint>, mut updates: watch::Receiver<u64>) {
    while updates.changed().await.is_ok() {
        let Some(endpoint) = shared.upgrade() else { break };
        endpoint.fresh_view().await;
        let Some(session) = session.upgrade() else { return };
        see(&session, &endpoint, Vec::new());
    }
    let Some(session) = session.upgrade() else { return };
    let mut own = session.own.lock();
    if own.seen.follower.as_ref().is_some_and(|f| f.of.ptr_eq(&shared)) {
        let seen = std::mem::take(&mut own.seen);
        drop(own);
        drop(seen);
    }
}
