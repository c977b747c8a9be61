//! Where a backend's calls wait: who is held, in which order they go, within which bounds. Pure.
//!
//! Fair between agents (each has a lane, lanes take turns), in order within one lane. A call of a lane goes
//! only after the one before it has entered its target, so that held calls cannot overtake each other.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::call::AgentKey;
use crate::config::Gate;
use crate::error::Bound;

/// A call's place at the gate. Tickets of one gate rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What becomes of a call that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It goes at once.
    Pass(Ticket),
    /// It waits.
    Hold(Ticket),
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    bytes: usize,
    /// False while its caller is not ready to go: it keeps its place, and its lane waits behind it.
    willing: bool,
}

#[derive(Debug, Default)]
struct Lane {
    calls: VecDeque<Held>,
    bytes: usize,
    /// The call that was let go last and has not entered its target yet.
    entering: Option<Ticket>,
}

/// The queue of one gate.
#[derive(Debug)]
pub struct Queue {
    limits: Gate,
    lanes: HashMap<AgentKey, Lane>,
    turns: VecDeque<AgentKey>,
    held: usize,
    bytes: usize,
    slots: usize,
    /// The calls past the gate. By name, not by number: a call that is over must not come back.
    past: HashSet<Ticket>,
    next: u64,
}

impl Queue {
    /// An empty queue without slots: everything waits.
    pub fn new(limits: Gate) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            held: 0,
            bytes: 0,
            slots: 0,
            past: HashSet::new(),
            next: 1,
        }
    }

    /// New bounds; what is held already stays.
    pub fn set_limits(&mut self, limits: Gate) {
        self.limits = limits;
    }

    /// How many calls may be past the gate at once: the room of all ready targets.
    pub fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }

    /// The ticket that the next call gets.
    pub fn coming(&self) -> Ticket {
        Ticket(self.next)
    }

    /// Calls held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Bytes held.
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Calls past the gate.
    pub fn used(&self) -> usize {
        self.past.len()
    }

    /// A call of `bytes` arrives.
    pub fn arrive(&mut self, agent: &AgentKey, bytes: usize) -> Result<Arrival, Bound> {
        let ticket = Ticket(self.next);
        if self.past.len() < self.slots && self.turns.is_empty() && !self.lanes.contains_key(agent) {
            self.next += 1;
            self.past.insert(ticket);
            return Ok(Arrival::Pass(ticket));
        }
        let (lane_calls, lane_bytes) = self.lanes.get(agent).map_or((0, 0), |l| (l.calls.len(), l.bytes));
        let bound = if self.held >= self.limits.capacity {
            Some(Bound::Count)
        } else if self.bytes.saturating_add(bytes) > self.limits.bytes {
            Some(Bound::Bytes)
        } else if lane_calls >= self.limits.agent_capacity {
            Some(Bound::AgentCount)
        } else if lane_bytes.saturating_add(bytes) > self.limits.agent_bytes {
            Some(Bound::AgentBytes)
        } else {
            None
        };
        if let Some(bound) = bound {
            return Err(bound);
        }
        self.next += 1;
        self.put(
            agent,
            Held {
                ticket,
                bytes,
                willing: true,
            },
        );
        Ok(Arrival::Hold(ticket))
    }

    /// A call that was past the gate comes back to its old place, whatever the bounds say: it was admitted
    /// once. It does not go again before [`Self::willing`]. Nothing happens where it is back or over already.
    pub fn come_back(&mut self, agent: &AgentKey, ticket: Ticket, bytes: usize) {
        if !self.past.remove(&ticket) {
            return;
        }
        self.put(
            agent,
            Held {
                ticket,
                bytes,
                willing: false,
            },
        );
        if let Some(lane) = self.lanes.get_mut(agent)
            && lane.entering == Some(ticket)
        {
            lane.entering = None;
        }
    }

    /// The caller of a call that came back is ready to go.
    pub fn willing(&mut self, agent: &AgentKey, ticket: Ticket) {
        if let Some(held) = self
            .lanes
            .get_mut(agent)
            .and_then(|l| l.calls.iter_mut().find(|h| h.ticket == ticket))
        {
            held.willing = true;
        }
    }

    /// The next call that goes now, if any. Lanes take turns.
    pub fn next_to_go(&mut self) -> Option<(AgentKey, Ticket)> {
        if self.past.len() >= self.slots {
            return None;
        }
        for _ in 0..self.turns.len() {
            let agent = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&agent) else {
                continue;
            };
            let may_go = lane.entering.is_none() && lane.calls.front().is_some_and(|h| h.willing);
            let gone = if may_go { lane.calls.pop_front() } else { None };
            if let Some(gone) = &gone {
                lane.bytes -= gone.bytes;
                lane.entering = Some(gone.ticket);
                self.held -= 1;
                self.bytes -= gone.bytes;
                self.past.insert(gone.ticket);
            }
            if !lane.calls.is_empty() {
                self.turns.push_back(agent.clone());
            }
            if let Some(gone) = gone {
                return Some((agent, gone.ticket));
            }
        }
        None
    }

    /// A call that was let go has entered its target (or never will): the next of its lane may go.
    pub fn entered(&mut self, agent: &AgentKey, ticket: Ticket) {
        if let Some(lane) = self.lanes.get_mut(agent)
            && lane.entering == Some(ticket)
        {
            lane.entering = None;
            if lane.calls.is_empty() {
                self.lanes.remove(agent);
            }
        }
    }

    /// A call is over, wherever it is: past the gate, or held and cancelled, expired or refused.
    pub fn over(&mut self, agent: &AgentKey, ticket: Ticket) {
        if self.past.remove(&ticket) {
            self.entered(agent, ticket);
        } else {
            self.leave(agent, ticket);
        }
    }

    fn leave(&mut self, agent: &AgentKey, ticket: Ticket) {
        let Some(lane) = self.lanes.get_mut(agent) else { return };
        if let Some(at) = lane.calls.iter().position(|h| h.ticket == ticket)
            && let Some(gone) = lane.calls.remove(at)
        {
            lane.bytes -= gone.bytes;
            self.held -= 1;
            self.bytes -= gone.bytes;
        }
        if lane.calls.is_empty() {
            self.turns.retain(|a| a != agent);
            if lane.entering.is_none() {
                self.lanes.remove(agent);
            }
        }
    }

    /// Whether the call is in the queue.
    pub fn holds(&self, agent: &AgentKey, ticket: Ticket) -> bool {
        self.lanes
            .get(agent)
            .is_some_and(|l| l.calls.iter().any(|h| h.ticket == ticket))
    }

    /// How many held calls go before this one, at most.
    pub fn ahead(&self, agent: &AgentKey, ticket: Ticket) -> usize {
        let own = self
            .lanes
            .get(agent)
            .and_then(|l| l.calls.iter().position(|h| h.ticket == ticket))
            .unwrap_or(0);
        let others = self
            .lanes
            .iter()
            .filter(|(a, _)| *a != agent)
            .map(|(_, l)| l.calls.len().min(own + 1));
        own + others.sum::<usize>()
    }

    fn put(&mut self, agent: &AgentKey, held: Held) {
        let lane = self.lanes.entry(agent.clone()).or_default();
        if lane.calls.is_empty() && !self.turns.contains(agent) {
            self.turns.push_back(agent.clone());
        }
        lane.bytes += held.bytes;
        self.held += 1;
        self.bytes += held.bytes;
        let at = lane.calls.partition_point(|h| h.ticket < held.ticket);
        lane.calls.insert(at, held);
    }
}

#[cfg(test)]
mod tests;
