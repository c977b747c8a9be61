//! What is in flight at one target: our ids and the callers behind them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::queue::Ticket;
use super::target::{Settled, Sink};
use crate::call::AgentKey;

/// A server may still log about a call that was cancelled. For so long its agent counts as having a call
/// there, so that such a message is not taken for somebody else's. For requests it counts until it is answered.
const GHOST_LIFE: Duration = Duration::from_secs(60);
/// Cancelled calls remembered at most.
const GHOSTS: usize = 1024;

/// One call in flight.
pub struct Entry {
    /// The id it was written with.
    pub id: u64,
    /// Who it is from.
    pub agent: AgentKey,
    /// Its place at the gate.
    pub ticket: Ticket,
    /// The bytes it was admitted with.
    pub bytes: usize,
    /// Whether it may be sent again if the target dies.
    pub replay: bool,
    /// Where in the target's input it ends; `None` while it is not being written.
    pub end: Option<u64>,
    /// When it came.
    pub since: Instant,
    /// Its caller.
    pub reply: oneshot::Sender<Settled>,
    /// Where its notifications go.
    pub sink: Option<Arc<dyn Sink>>,
}

/// The table of one target.
#[derive(Default)]
pub struct Pending {
    entries: BTreeMap<u64, Entry>,
    ghosts: VecDeque<(u64, AgentKey, Instant)>,
    /// There were more than are remembered.
    forgot: bool,
}

impl Pending {
    /// A call is about to be written.
    pub fn insert(&mut self, entry: Entry) {
        self.entries.insert(entry.id, entry);
    }

    /// The call with that id.
    pub fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    /// The call was answered.
    pub fn answered(&mut self, id: u64) -> Option<Entry> {
        if !self.ghosts.is_empty() {
            self.ghosts.retain(|(ghost, ..)| *ghost != id);
        }
        self.entries.remove(&id)
    }

    /// The call is no longer wanted. `None` where it was settled already.
    pub fn cancel(&mut self, id: u64, now: Instant) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if entry.end.is_some() {
            if self.ghosts.len() == GHOSTS {
                self.ghosts.pop_front();
                self.forgot = true;
            }
            self.ghosts.push_back((id, entry.agent.clone(), now));
        }
        Some(entry)
    }

    /// The only call that the target can be working on, and where its notifications go. One that was cancelled may
    /// still be worked on, however long ago that was; it is no matter where it was of the same agent.
    pub fn only(&self) -> Option<(u64, Option<Arc<dyn Sink>>)> {
        let mut entries = self.entries.values();
        let first = entries.next()?;
        let same = |agent: &AgentKey| first.agent.owns() && *agent == first.agent;
        let alone = entries.next().is_none() && !self.forgot && self.ghosts.iter().all(|(_, agent, _)| same(agent));
        alone.then(|| (first.id, first.sink.clone()))
    }

    /// The newest call, and where its notifications go.
    pub fn newest(&self) -> Option<(u64, Option<Arc<dyn Sink>>)> {
        let entry = self.entries.values().next_back()?;
        Some((entry.id, entry.sink.clone()))
    }

    /// Nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where a message goes that names no call: to the one agent that has calls here, and only if what
    /// owns them is known to be one agent, or the call is the only one. Otherwise it could be anybody's.
    pub fn sole_owner(&self, now: Instant) -> Option<Arc<dyn Sink>> {
        let young = |(_, agent, since): &(u64, AgentKey, Instant)| {
            (now.duration_since(*since) <= GHOST_LIFE).then(|| agent.clone())
        };
        let ghosts: Vec<AgentKey> = self.ghosts.iter().filter_map(young).collect();
        let mut entries = self.entries.values();
        let first = entries.next()?;
        let alone = entries.next().is_none() && ghosts.is_empty();
        let one_agent = first.agent.owns()
            && self.entries.values().all(|e| e.agent == first.agent)
            && ghosts.iter().all(|agent| *agent == first.agent);
        (alone || one_agent).then(|| first.sink.clone()).flatten()
    }

    /// Takes everything out, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = Entry> + use<> {
        self.ghosts.clear();
        self.forgot = false;
        std::mem::take(&mut self.entries).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Ask;
    use crate::wire::RawJson;

    struct Named;
    impl Sink for Named {
        fn progress(&self, _: RawJson) {}
        fn log(&self, _: u8, _: RawJson) {}
        fn ask(&self, _: Ask) {}
        fn note(&self, _: &str, _: Option<&RawJson>) {}
        fn later(&self) -> Option<Arc<dyn Sink>> {
            None
        }
    }

    fn entry(id: u64, agent: AgentKey) -> Entry {
        let (reply, _) = oneshot::channel();
        Entry {
            id,
            agent,
            ticket: Ticket(1),
            bytes: 1,
            replay: false,
            end: Some(1),
            since: Instant::now(),
            reply,
            sink: Some(Arc::new(Named)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_message_has_an_owner_only_while_one_agent_is_alone() {
        let (a, b, c) = (AgentKey::Session(1), AgentKey::Session(2), AgentKey::Connection(3));
        let now = Instant::now();
        let mut pending = Pending::default();
        assert!(pending.sole_owner(now).is_none());
        pending.insert(entry(1, a.clone()));
        pending.insert(entry(2, a.clone()));
        assert!(pending.sole_owner(now).is_some(), "two calls of one session");
        pending.insert(entry(3, b));
        assert!(pending.sole_owner(now).is_none(), "two sessions");
        pending.cancel(3, now);
        assert!(pending.sole_owner(now).is_none(), "the cancelled call may still log");
        assert!(pending.sole_owner(now + GHOST_LIFE * 2).is_some());
        let later = now + GHOST_LIFE * 2;
        pending.answered(1);
        pending.answered(2);
        pending.insert(entry(4, c.clone()));
        assert!(pending.sole_owner(later).is_some(), "the only call");
        assert!(
            pending.only().is_none(),
            "the cancelled one of another agent may still ask"
        );
        pending.answered(3);
        assert!(pending.only().is_some(), "it was answered after all");
        pending.insert(entry(5, c));
        assert!(pending.sole_owner(later).is_none(), "a connection owns nothing");
    }
}
