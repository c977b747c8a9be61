//! Who wants to hear of changes of which resources of a backend. Targets are told the sum of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Backend;
use super::shared::Shared;
use super::target::{Control, Target};
use crate::wire::RawJson;

/// Hears of changed resources. Never blocks; what does not fit is dropped.
pub trait Watcher: Send + Sync {
    /// `params` of the notification that a resource changed.
    fn updated(&self, params: &RawJson);
}

/// The subscriptions at one backend.
#[derive(Default)]
pub(super) struct Subscriptions {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_uri: BTreeMap<Arc<str>, BTreeMap<u64, Arc<dyn Watcher>>>,
    last: u64,
}

impl Subscriptions {
    /// Adds one, and says what it is known by.
    pub(super) fn add(&self, uri: &str, watcher: Arc<dyn Watcher>) -> u64 {
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        table.by_uri.entry(uri.into()).or_default().insert(number, watcher);
        number
    }

    /// Takes one away; true where it was the last for its URI.
    pub(super) fn remove(&self, uri: &str, number: u64) -> bool {
        let mut table = self.table();
        let Some(watchers) = table.by_uri.get_mut(uri) else {
            return false;
        };
        watchers.remove(&number);
        let last = watchers.is_empty();
        if last {
            table.by_uri.remove(uri);
        }
        last
    }

    /// All URIs that anybody wants to hear of.
    pub(super) fn wanted(&self) -> BTreeSet<Arc<str>> {
        self.table().by_uri.keys().cloned().collect()
    }

    /// A resource changed: whoever wants to hear of it, or of what it is a part of, is told.
    pub(super) fn updated(&self, uri: &str, params: &RawJson) {
        self.tell(params, |wanted| is_part(uri, wanted));
    }

    /// Whoever wants to hear of this very resource is told.
    pub(super) fn updated_itself(&self, uri: &str, params: &RawJson) {
        self.tell(params, |wanted| wanted == uri);
    }

    fn tell(&self, params: &RawJson, is_meant: impl Fn(&str) -> bool) {
        let watchers: Vec<Arc<dyn Watcher>> = {
            let table = self.table();
            let concerned = table.by_uri.iter().filter(|(wanted, _)| is_meant(wanted));
            concerned.flat_map(|(_, watchers)| watchers.values().cloned()).collect()
        };
        for watcher in watchers {
            watcher.updated(params);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `uri` is `whole` or lies below it: a server may announce a part of what was subscribed to.
fn is_part(uri: &str, whole: &str) -> bool {
    uri.strip_prefix(whole)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || whole.ends_with('/'))
}

/// Somebody hears of changes of a resource until this is dropped.
#[derive(Debug)]
pub struct Subscription {
    shared: Weak<Shared>,
    targets: Vec<Weak<Target>>,
    uri: Box<str>,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        if shared.subscriptions.remove(&self.uri, self.number)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let targets = std::mem::take(&mut self.targets);
            runtime.spawn(async move {
                for target in targets.iter().filter_map(Weak::upgrade) {
                    target.control(Control::Subscriptions).await;
                }
            });
        }
    }
}

impl Backend {
    /// Somebody wants to hear of changes of a resource, until what is returned is dropped. The targets learn of it by
    /// [`Self::tell_subscriptions`].
    pub fn subscribe(&self, uri: &str, watcher: Arc<dyn Watcher>) -> Subscription {
        Subscription {
            number: self.shared.subscriptions.add(uri, watcher),
            shared: Arc::downgrade(&self.shared),
            targets: self.targets.load().iter().map(|r| Arc::downgrade(&r.target)).collect(),
            uri: uri.into(),
        }
    }

    /// Tells the targets what is subscribed to by now; nothing, where that is what they know.
    pub async fn tell_subscriptions(&self) {
        for running in self.targets.load_full().iter() {
            running.target.control(Control::Subscriptions).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ear(Mutex<Vec<String>>);

    impl Watcher for Ear {
        fn updated(&self, params: &RawJson) {
            self.0.lock().unwrap().push(params.as_str().to_owned());
        }
    }

    #[test]
    fn the_last_is_news_for_targets_and_updates_reach_whom_they_concern() {
        let subscriptions = Subscriptions::default();
        let (a, b) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
        let one = subscriptions.add("x://a", Arc::clone(&a) as _);
        let two = subscriptions.add("x://a", Arc::clone(&b) as _);
        let three = subscriptions.add("x://b", Arc::clone(&b) as _);
        assert_eq!(subscriptions.wanted().len(), 2);
        for uri in ["x://a", "x://a/part", "x://b", "x://ab"] {
            subscriptions.updated(uri, &RawJson::from(format!("\"{uri}\"")));
        }
        assert_eq!(*a.0.lock().unwrap(), ["\"x://a\"", "\"x://a/part\""]);
        assert_eq!(*b.0.lock().unwrap(), ["\"x://a\"", "\"x://a/part\"", "\"x://b\""]);
        assert!(!subscriptions.remove("x://a", two));
        assert!(subscriptions.remove("x://a", one) && !subscriptions.remove("x://a", one));
        assert!(subscriptions.remove("x://b", three) && subscriptions.wanted().is_empty());
    }
}
