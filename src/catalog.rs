//! What an endpoint offers: the lists of its backends, merged, as the policies show them.
//!
//! A [`View`] is made by the endpoint's own task, since policies are asked for it; everybody else reads the last one.

mod follow;
mod offer;
mod shelf;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::backend::Backend;
use crate::config;
use crate::policy::Policy;
use crate::wire::Topic;

use self::follow::Shared;
pub use self::shelf::Page;
pub use self::view::{Named, View};

/// The last version given to any list. All endpoints share the series, so that whoever knows a list of an endpoint
/// that was removed sees that the one in its place has another.
static VERSION: AtomicU64 = AtomicU64::new(0);

/// How long a view is waited for. Plugins have bounds of their own; this one is for a chain of many that meet them all.
const VIEW_WAIT: Duration = Duration::from_secs(5);

fn next_version() -> u64 {
    VERSION.fetch_add(1, Ordering::Relaxed) + 1
}

/// The policies in force, and their changes.
pub type Following = watch::Receiver<Arc<dyn Policy>>;

/// A path with its backends, and their merged lists.
pub struct Endpoint {
    /// Its name; empty for `/mcp`.
    pub name: Arc<str>,
    /// Set where the path names one backend rather than a group.
    pub backend: Option<Arc<str>>,
    shared: Arc<Shared>,
    follower: AbortHandle,
}

/// What a view is made of.
#[derive(Clone)]
struct Wanted {
    settings: config::Endpoint,
    backends: Vec<Arc<Backend>>,
}

impl Wanted {
    /// Whether policies of the endpoint's own are wanted and there are none: they were refused, or are on their way.
    fn lacks_policies(&self, endpoint: &Shared, policy: &dyn Policy) -> bool {
        let inherited = endpoint.path_backend.is_some();
        !self.settings.pipeline.is_empty() && !inherited && !policy.has_own(&endpoint.name)
    }
}

impl Endpoint {
    /// An endpoint that follows its backends' lists and the policies. It shows nothing before its first view: whoever
    /// puts it where agents are waits for [`Self::fresh_view`].
    pub fn new(
        name: &str,
        backend: Option<&str>,
        settings: config::Endpoint,
        backends: Vec<Arc<Backend>>,
        policies: Following,
    ) -> Arc<Self> {
        let (name, backend): (Arc<str>, _) = (name.into(), backend.map(Into::into));
        let shared = Arc::new(Shared {
            name: Arc::clone(&name),
            path_backend: Option::clone(&backend),
            view: ArcSwap::from_pointee(View::blank(settings.clone(), backends.clone())),
            versions: Topic::ALL.map(|_| watch::Sender::new(next_version())),
            wanted: watch::Sender::new(Arc::new(Wanted { settings, backends })),
            updated: watch::Sender::new(0),
            asked: watch::Sender::new(0),
            made: watch::Sender::new(0),
            policies,
        });
        let follower = tokio::spawn(follow::follow(Arc::clone(&shared))).abort_handle();
        Arc::new(Self {
            name,
            backend,
            shared,
            follower,
        })
    }

    /// The same path for one agent alone, with backends of its own.
    pub fn alike(&self, settings: config::Endpoint, backends: Vec<Arc<Backend>>) -> Arc<Self> {
        let policies = self.shared.policies.clone();
        Self::new(&self.name, self.backend.as_deref(), settings, backends, policies)
    }

    /// New settings or backends; in force with the next view. Agents are told only if their list differs.
    pub fn update(&self, settings: config::Endpoint, backends: Vec<Arc<Backend>>) {
        self.shared.wanted.send_replace(Arc::new(Wanted { settings, backends }));
        self.shared.updated.send_modify(|times| *times += 1);
    }

    /// Wakes when it was given settings and backends, and when it shows something else; an error when it is removed.
    pub fn updates(&self) -> watch::Receiver<u64> {
        self.shared.updated.subscribe()
    }

    /// Whether these are what it was given last.
    pub fn is_given(&self, settings: &config::Endpoint, backends: &[Arc<Backend>]) -> bool {
        let wanted = self.shared.wanted.borrow();
        wanted.settings == *settings
            && wanted.backends.len() == backends.len()
            && wanted.backends.iter().zip(backends).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Its present state.
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// Looks at its present state where it stands: all that run share the count of a handle to it.
    pub fn look<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.shared.view.load())
    }

    /// Its state with every list that its backends have by now, under the policies in force: waits until the follower
    /// has made it.
    pub async fn fresh_view(&self) -> Arc<View> {
        let view = self.view();
        if self.shared.is_fresh(&view) {
            return view;
        }
        let mut made = self.shared.made.subscribe();
        let mut mine = 0;
        self.shared.asked.send_modify(|asked| {
            *asked += 1;
            mine = *asked;
        });
        // What there is by then is better than nothing.
        let _ = tokio::time::timeout(VIEW_WAIT, made.wait_for(|made| *made >= mine)).await;
        self.view()
    }

    /// Its present state if it was made under this generation, else the one that is.
    pub async fn view_of(&self, generation: u64) -> Arc<View> {
        let view = self.view();
        match view.generation == Some(generation) {
            true => view,
            // Boxed: it is rare, and calls need not carry it.
            false => Box::pin(self.fresh_view()).await,
        }
    }

    /// A number that rises each time its lists of this topic change.
    pub fn version(&self, topic: Topic) -> watch::Receiver<u64> {
        self.shared.versions[topic.position()].subscribe()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.follower.abort();
    }
}
