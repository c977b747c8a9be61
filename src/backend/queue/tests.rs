//! The queue against a naive model: a list of calls that is searched from end to end.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Arrive(u64, usize),
    Next,
    Drain,
    Entered(usize),
    Over(usize),
    ComeBack(usize),
    Willing(usize),
    Slots(usize),
    Limits(usize, usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Held { willing: bool },
    Past,
    Gone,
}

#[derive(Debug)]
struct Known {
    agent: AgentKey,
    ticket: Ticket,
    bytes: usize,
    at: Where,
}

#[derive(Debug)]
struct Model {
    queue: Queue,
    calls: Vec<Known>,
    entering: BTreeMap<u64, Ticket>,
    slots: usize,
    limits: Gate,
    /// For each lane that could go: how often each other lane went since.
    passed_over: BTreeMap<u64, BTreeMap<u64, u32>>,
}

fn number(agent: &AgentKey) -> u64 {
    match agent {
        AgentKey::Session(n) | AgentKey::Connection(n) => *n,
        AgentKey::Principal(key) => key.len() as u64,
    }
}

fn limits(count: usize, bytes: usize) -> Gate {
    Gate {
        capacity: count,
        bytes,
        agent_capacity: count.div_ceil(2),
        agent_bytes: bytes.div_ceil(2),
        ..Gate::default()
    }
}

impl Model {
    fn new() -> Self {
        Self {
            queue: Queue::new(limits(12, 120)),
            calls: Vec::new(),
            entering: BTreeMap::new(),
            slots: 0,
            limits: limits(12, 120),
            passed_over: BTreeMap::new(),
        }
    }

    fn count(&self, which: impl Fn(&Known) -> bool) -> (usize, usize) {
        let all = self.calls.iter().filter(|c| which(c));
        all.fold((0, 0), |(n, bytes), c| (n + 1, bytes + c.bytes))
    }

    fn held(&self, agent: Option<u64>) -> (usize, usize) {
        self.count(|c| matches!(c.at, Where::Held { .. }) && agent.is_none_or(|a| number(&c.agent) == a))
    }

    fn head(&self, agent: u64) -> Option<&Known> {
        let held = |c: &&Known| matches!(c.at, Where::Held { .. }) && number(&c.agent) == agent;
        self.calls.iter().filter(held).min_by_key(|c| c.ticket)
    }

    fn could_go(&self, agent: u64) -> bool {
        !self.entering.contains_key(&agent) && self.head(agent).is_some_and(|h| h.at == Where::Held { willing: true })
    }

    fn past(&self) -> usize {
        self.count(|c| c.at == Where::Past).0
    }

    fn entered(&mut self, agent: u64, ticket: Ticket) {
        if self.entering.get(&agent) == Some(&ticket) {
            self.entering.remove(&agent);
        }
    }

    fn arrive(&mut self, agent: u64, bytes: usize) {
        let key = AgentKey::Session(agent);
        let ((held, all_bytes), (own, own_bytes)) = (self.held(None), self.held(Some(agent)));
        let passes = self.past() < self.slots && held == 0 && !self.entering.contains_key(&agent);
        let expected = if passes {
            Ok(true)
        } else if held >= self.limits.capacity {
            Err(Bound::Count)
        } else if all_bytes + bytes > self.limits.bytes {
            Err(Bound::Bytes)
        } else if own >= self.limits.agent_capacity {
            Err(Bound::AgentCount)
        } else if own_bytes + bytes > self.limits.agent_bytes {
            Err(Bound::AgentBytes)
        } else {
            Ok(false)
        };
        let got = self.queue.arrive(&key, bytes);
        let (ticket, at) = match got {
            Ok(Arrival::Pass(ticket)) => (ticket, Where::Past),
            Ok(Arrival::Hold(ticket)) => (ticket, Where::Held { willing: true }),
            Err(bound) => return assert_eq!(Err(bound), expected),
        };
        assert_eq!(Ok(at == Where::Past), expected);
        assert!(self.calls.iter().all(|c| c.ticket < ticket), "tickets rise");
        self.calls.push(Known {
            agent: key,
            ticket,
            bytes,
            at,
        });
    }

    fn next(&mut self) -> bool {
        let agents: BTreeSet<u64> = self.calls.iter().map(|c| number(&c.agent)).collect();
        let anybody = agents.iter().any(|a| self.could_go(*a));
        let Some((agent, ticket)) = self.queue.next_to_go() else {
            assert!(
                !anybody || self.past() >= self.slots,
                "somebody could go and nobody went"
            );
            return false;
        };
        assert!(self.past() < self.slots, "more calls past the gate than slots");
        let agent = number(&agent);
        assert!(self.could_go(agent), "{agent} went and could not go");
        assert_eq!(
            self.head(agent).map(|h| h.ticket),
            Some(ticket),
            "order within an agent"
        );
        for call in self.calls.iter_mut().filter(|c| c.ticket == ticket) {
            call.at = Where::Past;
        }
        self.entering.insert(agent, ticket);
        self.passed_over.remove(&agent);
        for (waits, others) in &mut self.passed_over {
            let times = others.entry(agent).or_default();
            *times += 1;
            assert!(*times <= 1, "{agent} went twice while {waits} could go");
        }
        true
    }

    fn apply(&mut self, op: Op) {
        let pick = |n: usize, calls: &[Known]| (!calls.is_empty()).then(|| n % calls.len());
        match op {
            Op::Arrive(agent, bytes) => self.arrive(agent, bytes),
            Op::Next => {
                self.next();
            }
            Op::Drain => while self.next() {},
            Op::Slots(n) => {
                self.slots = n;
                self.queue.set_slots(n);
            }
            Op::Limits(count, bytes) => {
                self.limits = limits(count, bytes);
                self.queue.set_limits(self.limits.clone());
            }
            Op::Entered(n) | Op::Over(n) | Op::ComeBack(n) | Op::Willing(n) => {
                let Some(n) = pick(n, &self.calls) else { return };
                let (agent, ticket, at) = (self.calls[n].agent.clone(), self.calls[n].ticket, self.calls[n].at);
                let lane = number(&agent);
                match op {
                    Op::Entered(_) => {
                        self.queue.entered(&agent, ticket);
                        self.entered(lane, ticket);
                    }
                    Op::Over(_) => {
                        self.queue.over(&agent, ticket);
                        self.calls[n].at = Where::Gone;
                        self.entered(lane, ticket);
                    }
                    Op::ComeBack(_) => {
                        self.queue.come_back(&agent, ticket, self.calls[n].bytes);
                        if at == Where::Past {
                            self.calls[n].at = Where::Held { willing: false };
                            self.entered(lane, ticket);
                        }
                    }
                    _ => {
                        self.queue.willing(&agent, ticket);
                        if matches!(at, Where::Held { .. }) {
                            self.calls[n].at = Where::Held { willing: true };
                        }
                    }
                }
            }
        }
    }

    fn check(&mut self) {
        let (held, bytes) = self.held(None);
        assert_eq!((self.queue.held(), self.queue.held_bytes()), (held, bytes));
        assert_eq!(self.queue.used(), self.past());
        let waiting: BTreeSet<u64> = (0..8).filter(|a| self.head(*a).is_some()).collect();
        let turns: Vec<u64> = self.queue.turns.iter().map(number).collect();
        assert_eq!(
            turns.len(),
            waiting.len(),
            "each lane stands once in the turns: {turns:?}"
        );
        assert_eq!(turns.into_iter().collect::<BTreeSet<_>>(), waiting);
        let lanes: BTreeSet<u64> = self.queue.lanes.keys().map(number).collect();
        let wanted: BTreeSet<u64> = waiting.iter().chain(self.entering.keys()).copied().collect();
        assert_eq!(
            lanes, wanted,
            "a lane lives while it holds a call or one of its calls is entering"
        );
        for call in &self.calls {
            let holds = matches!(call.at, Where::Held { .. });
            assert_eq!(self.queue.holds(&call.agent, call.ticket), holds);
            if holds {
                let agent = number(&call.agent);
                let before = |c: &&Known| matches!(c.at, Where::Held { .. }) && c.ticket < call.ticket;
                let own = self
                    .calls
                    .iter()
                    .filter(before)
                    .filter(|c| number(&c.agent) == agent)
                    .count();
                let others = (0..8)
                    .filter(|a| *a != agent)
                    .map(|a| self.held(Some(a)).0.min(own + 1));
                assert_eq!(self.queue.ahead(&call.agent, call.ticket), own + others.sum::<usize>());
            }
        }
        let ready: BTreeSet<u64> = waiting.into_iter().filter(|a| self.could_go(*a)).collect();
        self.passed_over.retain(|a, _| ready.contains(a));
        for agent in ready {
            self.passed_over.entry(agent).or_default();
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u64..4, 0_usize..30).prop_map(|(a, b)| Op::Arrive(a, b)),
        4 => Just(Op::Next),
        1 => Just(Op::Drain),
        4 => (0_usize..64).prop_map(Op::Entered),
        4 => (0_usize..64).prop_map(Op::Over),
        3 => (0_usize..64).prop_map(Op::ComeBack),
        3 => (0_usize..64).prop_map(Op::Willing),
        2 => (0_usize..6).prop_map(Op::Slots),
        1 => (0_usize..14, 0_usize..140).prop_map(|(n, b)| Op::Limits(n, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn it_does_what_a_list_of_calls_would_do(ops in proptest::collection::vec(op(), 0..120)) {
        let mut model = Model::new();
        for op in ops {
            let went = model.calls.len();
            model.apply(op);
            // What is over is forgotten half of the time, so that old tickets are tried as well.
            if went.is_multiple_of(2) {
                model.calls.retain(|c| c.at != Where::Gone);
            }
            model.check();
        }
        // Everybody goes in the end, and nothing is left.
        model.apply(Op::Slots(1000));
        for n in 0..model.calls.len() {
            model.apply(Op::Willing(n));
        }
        for _ in 0..=model.calls.len() {
            model.apply(Op::Drain);
            for n in 0..model.calls.len() {
                model.apply(Op::Entered(n));
            }
        }
        assert_eq!(model.queue.held(), 0, "a held call was forgotten");
        for n in 0..model.calls.len() {
            model.apply(Op::Over(n));
        }
        let queue = &model.queue;
        assert!(queue.lanes.is_empty() && queue.turns.is_empty() && queue.past.is_empty());
        assert_eq!(queue.held_bytes(), 0);
    }
}

#[test]
fn a_call_that_is_over_does_not_come_back() {
    let agent = AgentKey::Session(1);
    let mut queue = Queue::new(Gate::default());
    queue.set_slots(1);
    let Ok(Arrival::Pass(first)) = queue.arrive(&agent, 1) else {
        panic!("an open gate")
    };
    queue.over(&agent, first);
    // Its target dies before it hears that the caller has gone.
    queue.come_back(&agent, first, 1);
    assert_eq!((queue.held(), queue.used()), (0, 0));
    assert!(matches!(queue.arrive(&agent, 1), Ok(Arrival::Pass(_))));
}
