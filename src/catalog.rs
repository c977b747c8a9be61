//! What an endpoint offers: the lists of its backends, merged, under the names that agents see.

mod names;
mod offer;
mod shelf;
mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::backend::Backend;
use crate::config;
use crate::wire::{Kind, Topic};

pub use self::shelf::Page;
pub use self::view::View;

/// The last version given to any list. All endpoints share the series, so that whoever knows a list of an endpoint
/// that was removed sees that the one in its place has another.
static VERSION: AtomicU64 = AtomicU64::new(0);

fn next_version() -> u64 {
    VERSION.fetch_add(1, Ordering::Relaxed) + 1
}

/// A path with its backends, and their merged lists.
pub struct Endpoint {
    /// Its name; empty for `/mcp`.
    pub name: Arc<str>,
    /// Set where the path names one backend rather than a group.
    pub backend: Option<Arc<str>>,
    inner: Arc<Inner>,
    follower: Mutex<Option<AbortHandle>>,
}

struct Inner {
    view: ArcSwap<View>,
    versions: [watch::Sender<u64>; 3],
}

impl Endpoint {
    /// An endpoint that follows its backends' lists.
    pub fn new(
        name: &str,
        backend: Option<&str>,
        settings: config::Endpoint,
        backends: Vec<Arc<Backend>>,
    ) -> Arc<Self> {
        let view = View::new(settings, backends);
        let inner = Arc::new(Inner {
            view: ArcSwap::from_pointee(view),
            versions: Topic::ALL.map(|_| watch::Sender::new(next_version())),
        });
        let endpoint = Arc::new(Self {
            name: name.into(),
            backend: backend.map(Into::into),
            inner,
            follower: Mutex::new(None),
        });
        endpoint.follow();
        endpoint
    }

    /// New settings or backends. Agents are told only if their list differs.
    pub fn update(&self, settings: config::Endpoint, backends: Vec<Arc<Backend>>) {
        self.inner.replace(View::new(settings, backends));
        self.follow();
    }

    /// Its present state.
    pub fn view(&self) -> Arc<View> {
        self.inner.view.load_full()
    }

    /// Its state with every list that its backends have by now, for those who cannot wait for the follower.
    pub fn fresh_view(&self) -> Arc<View> {
        let view = self.view();
        if view.is_fresh() {
            return view;
        }
        self.inner
            .replace(View::new(view.settings.clone(), view.backends.clone()));
        self.view()
    }

    /// A number that rises each time its lists of this topic change.
    pub fn version(&self, topic: Topic) -> watch::Receiver<u64> {
        self.inner.versions[topic.position()].subscribe()
    }

    fn follow(&self) {
        let inner = Arc::downgrade(&self.inner);
        let backends = &self.view().backends;
        let mut lists: Vec<_> = backends
            .iter()
            .flat_map(|b| Kind::ALL.map(|kind| b.list(kind)))
            .collect();
        let task = tokio::spawn(async move {
            while !lists.is_empty() {
                let (changed, at, _) = select_all(lists.iter_mut().map(|l| Box::pin(l.changed()))).await;
                if changed.is_err() {
                    lists.remove(at);
                    continue;
                }
                let Some(inner) = inner.upgrade() else { return };
                let old = inner.view.load_full();
                inner.replace(View::new(old.settings.clone(), old.backends.clone()));
            }
        });
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = follower.replace(task.abort_handle()) {
            old.abort();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if let Some(task) = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Inner {
    fn replace(&self, view: View) {
        let view = Arc::new(view);
        let old = self.view.swap(Arc::clone(&view));
        for (topic, version) in Topic::ALL.into_iter().zip(&self.versions) {
            if old.differs(&view, topic) {
                version.send_modify(|v| *v = next_version());
            }
        }
    }
}
