//! What a target is asked to announce: changed lists, and changed resources that agents subscribed to.
//!
//! A legacy target is told of each resource by a request; its lists it announces unasked. A modern one is told all at
//! once, by a listen request. When that changes, a new one goes out beside the old one, and the old one counts until
//! the new one is acknowledged: so nothing is heard twice, and nothing is missed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::actor::Actor;
use super::handshake::modern_meta;
use crate::wire::json::quote;
use crate::wire::message::write_request;
use crate::wire::meta::{self, Change};
use crate::wire::{Era, Object, RawJson, Topic, method};

/// The pause before a listen request that the target ended is made again.
const RETRY: Duration = Duration::from_secs(1);

/// What one incarnation was asked to announce.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Resources, as it was told last.
    told: BTreeSet<Arc<str>>,
    /// Requests made so far: their numbers are in their ids.
    made: u64,
    /// The listen request that counts.
    current: Option<String>,
    /// The one that will.
    next: Option<String>,
    /// When one that ended is made again.
    retry: Option<Instant>,
}

impl Listening {
    fn id(&mut self, what: &str) -> String {
        self.made += 1;
        quote(&format!("{what}-{}", self.made))
    }

    /// Whether a notification of a modern target counts: one of a listen request that is being replaced comes twice.
    fn counts(&self, params: Option<&Object<'_>>) -> bool {
        let meta = params.and_then(|p| Object::parse(p.get("_meta")?).ok());
        match (
            meta.as_ref().and_then(|m| m.get(method::META_SUBSCRIPTION)),
            &self.current,
        ) {
            (Some(id), Some(current)) => id == current,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// The first message of a listen request: from now on that one counts. Returns the one before.
    fn acknowledged(&mut self, params: Option<&Object<'_>>) -> Option<String> {
        let meta = params.and_then(|p| Object::parse(p.get("_meta")?).ok())?;
        let id = meta.get(method::META_SUBSCRIPTION)?;
        if self.next.as_deref() != Some(id) {
            return None;
        }
        std::mem::replace(&mut self.current, self.next.take())
    }
}

impl Actor {
    /// Asks a fresh target for all that is wanted.
    pub(super) fn begin_listening(&mut self) {
        self.listening = Listening::default();
        match self.facts.as_ref().map(|f| f.era) {
            Some(Era::Modern) => {
                self.listening.told = self.shared.subscriptions.wanted();
                self.listen();
            }
            Some(Era::Legacy) => self.subscribe(),
            None => {}
        }
        if self.incarnation > 1 {
            // What changed meanwhile nobody has announced: agents look again.
            for uri in self.shared.subscriptions.wanted() {
                let params = RawJson::from(format!("{{\"uri\":{}}}", quote(&uri)));
                self.shared.subscriptions.updated_itself(&uri, &params);
            }
        }
    }

    /// What agents want to hear of has changed.
    pub(super) fn update_listening(&mut self) {
        match self.facts.as_ref().map(|f| f.era) {
            Some(Era::Modern) => {
                let wanted = self.shared.subscriptions.wanted();
                // One at a time: what comes meanwhile is looked at when the present one is acknowledged.
                if wanted != self.listening.told && self.listening.next.is_none() {
                    self.listening.told = wanted;
                    self.listen();
                }
            }
            Some(Era::Legacy) => self.subscribe(),
            // Told after the handshake.
            None => {}
        }
    }

    fn subscribe(&mut self) {
        let wanted = self.shared.subscriptions.wanted();
        let told = std::mem::replace(&mut self.listening.told, wanted.clone());
        let changes = wanted.difference(&told).map(|uri| (method::SUBSCRIBE, uri));
        let changes = changes.chain(told.difference(&wanted).map(|uri| (method::UNSUBSCRIBE, uri)));
        for (what, uri) in changes {
            let id = self.listening.id("subscribe");
            let params = format!("{{\"uri\":{}}}", quote(uri));
            self.send_own(&write_request(Some(&id), what, Some(&params)));
        }
    }

    fn listen(&mut self) {
        let Some(facts) = &self.facts else { return };
        let mut filter = serde_json::Map::new();
        for topic in Topic::ALL {
            if facts.announces(topic) {
                filter.insert(topic.listen_key().to_owned(), true.into());
            }
        }
        if !self.listening.told.is_empty() {
            let uris: Vec<&str> = self.listening.told.iter().map(|uri| &**uri).collect();
            filter.insert("resourceSubscriptions".to_owned(), uris.into());
        }
        if filter.is_empty() && self.listening.current.is_none() {
            return;
        }
        let id = self.listening.id("listen");
        let params = json!({ "_meta": modern_meta(), "notifications": filter });
        self.send_own(&write_request(Some(&id), method::LISTEN, Some(&params.to_string())));
        self.listening.next = Some(id);
    }

    /// A listen request was answered, which is its end. One that had counted is made again after a pause; one that was
    /// refused is not, until something else is wanted. False where the answer is to something else.
    pub(super) fn on_listen_end(&mut self, id: &str) -> bool {
        if self.listening.next.as_deref() == Some(id) {
            self.listening.next = None;
            return true;
        }
        if self.listening.current.as_deref() != Some(id) {
            return false;
        }
        self.listening.current = None;
        self.listening.retry = Some(Instant::now() + RETRY);
        true
    }

    /// When a listen request that ended is made again.
    pub(super) fn listening_due(&self) -> Option<Instant> {
        self.listening.retry
    }

    /// Makes it again. What changed meanwhile is found out by asking.
    pub(super) fn listen_again(&mut self, now: Instant) {
        if self.listening.retry.is_none_or(|due| due > now) {
            return;
        }
        self.listening.retry = None;
        self.listening.told = self.shared.subscriptions.wanted();
        self.listen();
        for topic in Topic::ALL {
            let announced = self.facts.as_ref().is_some_and(|f| f.announces(topic));
            topic
                .kinds()
                .filter(|_| announced)
                .for_each(|kind| self.refresh(kind, false));
        }
    }

    /// Takes back a request of the router's own, by its raw id.
    pub(super) fn withdraw(&mut self, id: &str, reason: &str) {
        let params = format!("{{\"requestId\":{id},\"reason\":{}}}", quote(reason));
        self.send_own(&write_request(None, method::CANCELLED, Some(&params)));
    }

    /// What a target announces. False where the notification is about something else.
    pub(super) fn on_announcement(&mut self, name: &str, params: Option<&RawJson>) -> bool {
        let object = params.and_then(|p| Object::parse(p.as_str()).ok());
        match (name, Topic::told_by(name)) {
            (method::LISTEN_ACKNOWLEDGED, _) => {
                if let Some(before) = self.listening.acknowledged(object.as_ref()) {
                    self.withdraw(&before, "replaced");
                }
                self.update_listening();
            }
            // During the handshake: the page that was answered already may be stale.
            (_, Some(topic)) if self.shake.is_some() => self.listing.stale(topic),
            (_, Some(topic)) => {
                let has = self.facts.as_ref().is_some_and(|f| f.has(topic.capability()));
                if has && self.listening.counts(object.as_ref()) {
                    topic.kinds().for_each(|kind| self.refresh(kind, true));
                }
            }
            (method::RESOURCE_UPDATED, _) => {
                if self.listening.counts(object.as_ref())
                    && let (Some(object), Some(params)) = (object, params)
                    && let Some(uri) = object.get_str("uri").map(std::borrow::Cow::into_owned)
                {
                    // Without the id of the router's own listen request.
                    let bare = meta::changed(params.as_str(), method::META_SUBSCRIPTION, Change::Remove);
                    let bare = bare.map_or_else(|| params.clone(), RawJson::from);
                    self.shared.subscriptions.updated(&uri, &bare);
                }
            }
            _ => return false,
        }
        true
    }
}
