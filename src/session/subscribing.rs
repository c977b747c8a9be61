//! The resources that a session wants to hear of: bounded, and told again to a target that takes the place of another.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::ring::Rank;
use super::store::{Session, lock};
use crate::backend::{Backend, Subscription, Watcher};
use crate::wire::message::write_request;
use crate::wire::{RawJson, method};

/// Bytes of the URI of a resource that is subscribed to at most: it is kept, and told to every incarnation.
pub(super) const MAX_URI: usize = 2 * 1024;
/// Resources that one session subscribes to at most.
const MAX_SUBSCRIPTIONS: usize = 1000;

impl Session {
    /// Who hears of changed resources for it.
    pub(super) fn ear(&self) -> Arc<dyn Watcher> {
        Arc::new(Ear(Weak::clone(&self.me)))
    }

    /// The agent hears of changes of a resource of `backend` until it no longer wants to.
    pub(super) async fn subscribe(&self, uri: &str, backend: &Backend, subscription: Subscription) {
        lock(&self.subscriptions).insert(uri.to_owned(), (Arc::clone(backend.name()), subscription));
        backend.tell_subscriptions().await;
    }

    /// Tells a fresh backend of its own what the agent had said to the one before it.
    pub(super) async fn say_again(&self, backend: &Backend) {
        if self.level_asked.load(Ordering::Relaxed) {
            backend.want_level(self.level.load(Ordering::Relaxed)).await;
        }
        let wanted: Vec<String> = {
            let known = lock(&self.subscriptions);
            let here = known.iter().filter(|(_, (name, _))| name == backend.name());
            here.map(|(uri, _)| uri.clone()).collect()
        };
        for uri in &wanted {
            let subscription = backend.subscribe(uri, self.ear());
            lock(&self.subscriptions).insert(uri.clone(), (Arc::clone(backend.name()), subscription));
        }
        if !wanted.is_empty() {
            backend.tell_subscriptions().await;
        }
    }

    /// Whether it may subscribe to that too; an error says why not.
    pub(super) fn may_subscribe(&self, uri: &str) -> Result<(), String> {
        let known = lock(&self.subscriptions);
        if uri.len() > MAX_URI {
            return Err(format!("the URI is longer than {MAX_URI} bytes"));
        }
        if known.len() >= MAX_SUBSCRIPTIONS && !known.contains_key(uri) {
            return Err(format!("a session subscribes to {MAX_SUBSCRIPTIONS} resources at most"));
        }
        Ok(())
    }

    /// It no longer does.
    pub(super) fn unsubscribe(&self, uri: &str) {
        lock(&self.subscriptions).remove(uri);
    }
}

/// Hears for a session, and does not keep it alive.
struct Ear(Weak<Session>);

impl Watcher for Ear {
    fn updated(&self, params: &RawJson) {
        if let Some(session) = self.0.upgrade() {
            let told = write_request(None, method::RESOURCE_UPDATED, Some(params.as_str()));
            session.push(Rank::News, &told);
        }
    }
}
