//! What an endpoint offers: the tools of its backends under the names that agents see.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use futures_util::future::select_all;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::backend::{Backend, ToolList};
use crate::config::{self, Names};
use crate::policy::Candidate;
use crate::wire::Object;
use crate::wire::header::Mirrored;
use crate::wire::json::quote;

/// The longest name shown: what the model interfaces accept.
const MAX_NAME: usize = 64;
/// Between backend and tool.
const SEPARATOR: &str = "__";

/// The last version given to any list. All endpoints share the series, so that whoever knows a list of an endpoint
/// that was removed sees that the one in its place has another.
static VERSION: AtomicU64 = AtomicU64::new(0);

fn next_version() -> u64 {
    VERSION.fetch_add(1, Ordering::Relaxed) + 1
}

/// A path with its backends, and the merged list of their tools.
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
    version: watch::Sender<u64>,
}

/// One state of an endpoint: its settings, its backends and the names they give.
pub struct View {
    /// How it names tools and reports errors.
    pub settings: config::Endpoint,
    /// Its backends, in a stable order.
    pub backends: Vec<Arc<Backend>>,
    by_name: HashMap<String, Vec<(usize, Arc<str>)>>,
    tools: Arc<str>,
    /// The lists it was made of.
    lists: Vec<Option<Arc<ToolList>>>,
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
            version: watch::Sender::new(next_version()),
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
        let same = |(backend, list): (&Arc<Backend>, &Option<Arc<ToolList>>)| match (&*backend.tools().borrow(), list) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            (now, then) => now.is_none() && then.is_none(),
        };
        if view.backends.iter().zip(&view.lists).all(same) {
            return view;
        }
        self.inner
            .replace(View::new(view.settings.clone(), view.backends.clone()));
        self.view()
    }

    /// A number that rises each time its list changes.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    fn follow(&self) {
        let inner = Arc::downgrade(&self.inner);
        let mut lists: Vec<_> = self.view().backends.iter().map(|b| b.tools()).collect();
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
        let old = self.view.swap(Arc::new(view));
        if old.tools != self.view.load().tools {
            self.version.send_modify(|v| *v = next_version());
        }
    }
}

impl View {
    fn new(settings: config::Endpoint, backends: Vec<Arc<Backend>>) -> Self {
        let prefixed = prefixes(&settings, backends.len());
        let mut by_name: HashMap<String, Vec<(usize, Arc<str>)>> = HashMap::new();
        let mut tools = String::from("[");
        let lists: Vec<Option<Arc<ToolList>>> = backends.iter().map(|b| b.tools().borrow().clone()).collect();
        for (at, (backend, list)) in backends.iter().zip(&lists).enumerate() {
            for tool in list.iter().flat_map(|l| l.tools()) {
                let shown = if prefixed {
                    prefixed_name(backend.name(), &tool.name)
                } else {
                    tool.name.clone()
                };
                let owners = by_name.entry(shown.clone()).or_default();
                // A name that stands twice is listed once; who takes the call is the policy's matter.
                if owners.is_empty() {
                    if tools.len() > 1 {
                        tools.push(',');
                    }
                    if prefixed {
                        let mut object = Object::parse(tool.raw.as_str()).unwrap_or_default();
                        object.set("name", quote(&shown));
                        object.write(&mut tools);
                    } else {
                        tools.push_str(tool.raw.as_str());
                    }
                }
                if !owners.iter().any(|(owner, _)| *owner == at) {
                    owners.push((at, tool.name.as_str().into()));
                }
            }
        }
        tools.push(']');
        Self {
            settings,
            backends,
            by_name,
            tools: tools.into(),
            lists,
        }
    }

    /// The merged list, as a JSON array.
    pub fn tools(&self) -> &Arc<str> {
        &self.tools
    }

    /// The arguments of the tool `name` that modern clients mirror in headers, as its first owner says.
    pub fn mirrored(&self, name: &str) -> Vec<Mirrored> {
        let owner = self.by_name.get(name).and_then(|owners| owners.first());
        owner
            .and_then(|(at, tool)| self.lists.get(*at)?.as_ref()?.get(tool))
            .map(|tool| tool.mirrored.clone())
            .unwrap_or_default()
    }

    /// Every backend of the endpoint as a candidate for `name`.
    pub fn candidates(&self, name: Option<&str>) -> Arc<[Candidate]> {
        let known = name.and_then(|n| self.by_name.get(n));
        self.backends
            .iter()
            .enumerate()
            .map(|(at, backend)| {
                let offers = match (name, known) {
                    (None, _) => true,
                    (_, Some(owners)) => owners.iter().any(|(owner, _)| *owner == at),
                    // Before its first list a backend may have anything that its prefix fits.
                    (Some(name), None) => backend.tools().borrow().is_none() && self.may_have(backend, name),
                };
                let (state, in_flight) = backend.state();
                let (held, ..) = backend.gate().load();
                let held = u32::try_from(held).unwrap_or(u32::MAX);
                Candidate {
                    backend: Arc::clone(backend.name()),
                    offers,
                    state,
                    held,
                    in_flight,
                }
            })
            .collect()
    }

    /// What `name` is called at `backend`.
    pub fn name_at(&self, backend: &str, name: &str) -> Arc<str> {
        let owners = self.by_name.get(name).into_iter().flatten();
        for (at, tool) in owners {
            if self.backends.get(*at).is_some_and(|b| **b.name() == *backend) {
                return Arc::clone(tool);
            }
        }
        let prefix = name.strip_prefix(backend).and_then(|rest| rest.strip_prefix(SEPARATOR));
        match prefix {
            Some(tool) if prefixes(&self.settings, self.backends.len()) => tool.into(),
            _ => name.into(),
        }
    }

    fn may_have(&self, backend: &Backend, name: &str) -> bool {
        !prefixes(&self.settings, self.backends.len())
            || name
                .strip_prefix(&**backend.name())
                .is_some_and(|rest| rest.starts_with(SEPARATOR))
    }
}

/// Whether names carry their backend.
fn prefixes(settings: &config::Endpoint, backends: usize) -> bool {
    match settings.names {
        Names::Auto => backends > 1,
        Names::Prefixed => true,
        Names::Plain => false,
    }
}

/// `BACKEND__TOOL`, at most 64 characters: longer ones end in a hash of the whole.
fn prefixed_name(backend: &str, tool: &str) -> String {
    let whole = format!("{backend}{SEPARATOR}{tool}");
    if whole.chars().count() <= MAX_NAME {
        return whole;
    }
    let mut short: String = whole.chars().take(MAX_NAME - 9).collect();
    short.push('_');
    for byte in Sha256::digest(whole.as_bytes()).iter().take(4) {
        // Writing to a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixed_names_do_not_depend_on_how_many_backends_there_are() {
        let prefixed = |names| {
            let settings = config::Endpoint {
                names,
                ..config::Endpoint::default()
            };
            [1, 2].map(|backends| prefixes(&settings, backends))
        };
        assert_eq!(prefixed(Names::Auto), [false, true]);
        assert_eq!(prefixed(Names::Prefixed), [true, true]);
        assert_eq!(prefixed(Names::Plain), [false, false]);
    }

    #[test]
    fn long_names_end_in_a_hash_and_stay_apart() {
        assert_eq!(prefixed_name("git", "status"), "git__status");
        let (a, b) = (
            prefixed_name("git", &format!("{}a", "x".repeat(70))),
            prefixed_name("git", &format!("{}b", "x".repeat(70))),
        );
        assert_eq!((a.len(), b.len()), (64, 64));
        assert_ne!(a, b);
    }
}
