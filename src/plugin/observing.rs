//! Events on their way to a plugin: a bounded queue, and a task that asks the plugin about some at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use wasmtime::component::Resource;
use wasmtime::error::Context;

use super::bindings::pointsman::policy::types as wit;
use super::fault::Fault;
use super::host::{State, Subject, at, length};
use super::instance::Instance;
use super::loaded::Loaded;
use super::question::Question;
use crate::policy::{Event, Hook};

/// Events that wait for one plugin at most.
const QUEUE: usize = 4096;
/// Events of one hook call at most.
const BATCH: usize = 256;
/// How long others are waited for after the first.
const GATHER: Duration = Duration::from_millis(50);

/// Marks handles to events.
pub enum EventsHandle {}

/// Some events.
pub(super) struct Batch {
    events: Vec<Event>,
    missed: u64,
}

/// The queue of one plugin. Dropping it ends its task, after what is in it.
pub(super) struct Observer {
    queue: mpsc::Sender<Event>,
    missed: Arc<AtomicU64>,
}

impl Observer {
    /// Begins to ask `plugin`.
    pub(super) fn start(plugin: Weak<Loaded>) -> Self {
        let (queue, events) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        tokio::spawn(run(plugin, events, Arc::clone(&missed)));
        Self { queue, missed }
    }

    /// Tells it, if there is room.
    pub(super) fn tell(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn run(plugin: Weak<Loaded>, mut queue: mpsc::Receiver<Event>, missed: Arc<AtomicU64>) {
    while let Some(first) = queue.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut events = vec![first];
        while events.len() < BATCH
            && let Ok(event) = queue.try_recv()
        {
            events.push(event);
        }
        let Some(plugin) = plugin.upgrade() else { return };
        let batch = Arc::new(Batch {
            events,
            missed: missed.swap(0, Ordering::Relaxed),
        });
        // A fault is told and counted by whoever asks. What it swallowed, or what came while the plugin was switched
        // off, was missed.
        if plugin.ask(&Observe { batch: &batch }).await.is_err() {
            let events = u64::try_from(batch.events.len()).unwrap_or(u64::MAX);
            missed.fetch_add(batch.missed.saturating_add(events), Ordering::Relaxed);
        }
    }
}

/// What do you make of these?
struct Observe<'a> {
    batch: &'a Arc<Batch>,
}

impl Question for Observe<'_> {
    type Raw = ();
    type Answer = ();
    const HOOK: Hook = Hook::Observe;

    fn subject(&self) -> Subject {
        Subject {
            events: Some(Arc::clone(self.batch)),
            ..Subject::default()
        }
    }

    fn portions(&self) -> u64 {
        1 + u64::try_from(self.batch.events.len() / 16).unwrap_or(0)
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<(), String>> {
        let (store, hook) = to.observe()?;
        hook.call_observe(store, Resource::new_borrow(0)).await
    }

    fn check(&self, (): (), _: usize) -> Result<(), Fault> {
        Ok(())
    }
}

impl State {
    fn batch(&self) -> wasmtime::Result<&Batch> {
        self.subject.events.as_deref().context("there are no events now")
    }

    fn event(&self, position: u32) -> wasmtime::Result<&Event> {
        at(Some(&self.batch()?.events), position)
    }
}

impl wit::HostEvents for State {
    fn len(&mut self, _: Resource<EventsHandle>) -> wasmtime::Result<u32> {
        Ok(length(Some(&self.batch()?.events)))
    }
    fn missed(&mut self, _: Resource<EventsHandle>) -> wasmtime::Result<u64> {
        Ok(self.batch()?.missed)
    }
    fn kind(&mut self, _: Resource<EventsHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.event(position)?.kind.to_owned())
    }
    fn json(&mut self, _: Resource<EventsHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.event(position)?.to_json())
    }
    fn drop(&mut self, _: Resource<EventsHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}
