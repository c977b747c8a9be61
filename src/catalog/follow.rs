//! The task of an endpoint: makes a new view when a list, the backends, the settings or the policies changed.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::view::View;
use super::{Following, Wanted, next_version};
use crate::backend::Known;
use crate::wire::{Kind, Topic};

/// The pause before policies that failed are asked again, and how long it becomes at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];

/// What an endpoint and its task share.
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) path_backend: Option<Arc<str>>,
    pub(super) view: ArcSwap<View>,
    pub(super) versions: [watch::Sender<u64>; 3],
    pub(super) wanted: watch::Sender<Arc<Wanted>>,
    /// Rises when that was given, and when something else is shown.
    pub(super) updated: watch::Sender<u64>,
    /// How often a view was asked for.
    pub(super) asked: watch::Sender<u64>,
    /// The last asking that the view is an answer to.
    pub(super) made: watch::Sender<u64>,
    pub(super) policies: Following,
}

impl Shared {
    /// Whether another view would be the same.
    pub(super) fn is_fresh(&self, view: &View) -> bool {
        view.generation == Some(self.policies.borrow().generation())
            && view.is_of(&self.wanted.borrow())
            && view.is_up_to_date()
    }

    /// Puts a view in the place of the last one. The first one is no change: nobody knows another.
    fn publish(&self, view: View) {
        let view = Arc::new(view);
        let old = self.view.swap(Arc::clone(&view));
        let mut differs = false;
        for (topic, version) in Topic::ALL.into_iter().zip(&self.versions) {
            if old.generation.is_some() && old.differs(&view, topic) {
                version.send_modify(|v| *v = next_version());
                differs = true;
            }
        }
        if differs {
            self.updated.send_modify(|times| *times += 1);
        }
    }
}

/// Runs until the endpoint is dropped, which aborts it.
pub(super) async fn follow(shared: Arc<Shared>) {
    let (mut wanted, mut asked) = (shared.wanted.subscribe(), shared.asked.subscribe());
    let mut policies = shared.policies.clone();
    let [first, longest] = PAUSES;
    let mut pause = first;
    loop {
        let asking = *asked.borrow_and_update();
        let now = Arc::clone(&wanted.borrow_and_update());
        // Subscribed before the look: what changes in between must not be slept through.
        let mut lists: Vec<_> = now
            .backends
            .iter()
            .flat_map(|b| Kind::ALL.map(|kind| b.list(kind)))
            .collect();
        let began = Instant::now();
        let view = {
            // Not kept while nothing happens: a generation ends when nobody has it.
            let policy = Arc::clone(&policies.borrow_and_update());
            View::make(&shared, &now, &*policy).await
        };
        tracing::debug!(endpoint = &*shared.name, took = ?began.elapsed(), "what agents see is made");
        let sound = view.is_sound();
        shared.publish(view);
        shared.made.send_replace(asking);
        pause = if sound { first } else { (pause * 2).min(longest) };
        tokio::select! {
            () = changed(&mut wanted) => {}
            () = changed(&mut asked) => {}
            () = changed(&mut policies) => {}
            () = any_changed(&mut lists) => {}
            () = tokio::time::sleep(pause), if !sound => {}
        }
    }
}

/// Waits for a change; for ever where none can come.
async fn changed<T>(of: &mut watch::Receiver<T>) {
    if of.changed().await.is_err() {
        pending::<()>().await;
    }
}

async fn any_changed(lists: &mut [watch::Receiver<Known>]) {
    if lists.is_empty() {
        pending::<()>().await;
    }
    select_all(lists.iter_mut().map(|list| Box::pin(changed(list)))).await;
}
