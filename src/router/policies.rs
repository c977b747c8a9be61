//! The policies in force: one immutable generation, swapped as a whole.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::policy::{Event, Observer, Policy};

/// The active generation. Clones share it.
#[derive(Clone)]
pub struct Policies {
    current: Arc<ArcSwap<Arc<dyn Policy>>>,
    changed: watch::Sender<Arc<dyn Policy>>,
}

impl Policies {
    /// Begins with `policy`.
    pub fn new(policy: Arc<dyn Policy>) -> Self {
        let changed = watch::Sender::new(Arc::clone(&policy));
        Self {
            current: Arc::new(ArcSwap::from_pointee(policy)),
            changed,
        }
    }

    /// The generation that a call beginning now is served by.
    pub fn current(&self) -> Arc<dyn Policy> {
        Arc::clone(&self.current.load())
    }

    /// Makes `policy` the active generation. Calls that run keep theirs.
    pub fn swap(&self, policy: Arc<dyn Policy>) {
        self.current.store(Arc::new(Arc::clone(&policy)));
        self.changed.send_replace(policy);
    }

    /// Who tells them of what happens outside of calls.
    pub fn observer(&self) -> Arc<dyn Observer> {
        Arc::new(self.clone())
    }

    /// Wakes those who hold calls, and those who show lists, when another generation becomes active.
    pub fn changes(&self) -> watch::Receiver<Arc<dyn Policy>> {
        self.changed.subscribe()
    }
}

impl Observer for Policies {
    fn is_listening(&self) -> bool {
        self.current.load().observes()
    }

    fn observe(&self, event: Event) {
        self.current.load().tell(event, None);
    }
}
