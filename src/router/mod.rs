//! The path of a call: route, gate, select, transform, target, transform. Runs in its caller's task.

mod choose;
mod directory;
mod encode;
mod hold;
mod observe;
mod past;
mod policies;
mod send;
mod settle;
mod shelf;
mod trace;
mod traces;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use self::past::{Later, Past};
pub use self::policies::Policies;
use self::settle::Trials;
pub use self::shelf::{Found, Query};
pub use self::trace::Trace;
use self::traces::Traced;
pub use self::traces::{Traces, WATCH};
use crate::backend::{Backend, Entry, Held, Live, Permit, Sink, Subscription, Target, Watcher};
use crate::call::Call;
use crate::catalog::Endpoint;
use crate::error::{CallError, Reason};
use crate::policy::{FaultKind, Policy};
use crate::wire::{Era, RawJson};

/// What a caller hears while its call runs, besides what its target says.
pub trait Listener: Sink {
    /// The call is held: so many may go before it, and then it is expected to take so long.
    fn waiting(&self, backend: &str, ahead: usize, eta: Option<Duration>, state: &str);
}

/// A call with all that the way needs.
pub struct Incoming {
    /// The call.
    pub call: Arc<Call>,
    /// Where it arrived.
    pub endpoint: Arc<Endpoint>,
    /// Whom its notifications go to.
    pub listener: Option<Arc<dyn Listener>>,
    /// Whether progress is wanted.
    pub progress: bool,
    /// The least severity of log messages wanted, for targets that are told with each request.
    pub log_level: Option<&'static str>,
    /// The only incarnation that knows what it goes on from.
    pub pinned: Option<Pinned>,
    /// For `resources/subscribe`: who wants to hear of the resource.
    pub watcher: Option<Arc<dyn Watcher>>,
    /// Set while a target has it: whoever takes the call back then cannot know whether it ran.
    pub handed_over: AtomicBool,
}

impl Incoming {
    /// What its agent is told when it takes the call back now.
    pub fn cancelled(&self) -> CallError {
        let sent = self.handed_over.load(Ordering::Relaxed);
        Reason::Cancelled { sent }.into()
    }
}

/// One incarnation of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The backend.
    pub backend: Arc<str>,
    /// Which of its replicas.
    pub replica: u32,
    /// The number of its spawn; `None` where what it knows outlives its incarnations and the router.
    pub incarnation: Option<u64>,
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    /// The raw result, or the raw error, of whoever answered.
    pub body: Result<RawJson, RawJson>,
    /// The era the answer is written in.
    pub era: Era,
    /// Who answered; `None` for a policy.
    pub from: Option<Pinned>,
    /// What its agent hears of from now on, after `resources/subscribe`.
    pub subscription: Option<Subscription>,
    /// Whether there can be tasks in it: its target says that it has such.
    pub tasks: bool,
}

impl Answer {
    /// A result that a policy gave.
    fn of_policy(body: RawJson) -> Self {
        Self {
            body: Ok(body),
            era: Era::Legacy,
            from: None,
            subscription: None,
            tasks: false,
        }
    }
}

/// Endpoints, backends and policies, each replaced as a whole.
pub struct Router {
    backends: ArcSwap<BTreeMap<String, Arc<Backend>>>,
    endpoints: ArcSwap<BTreeMap<String, Arc<Endpoint>>>,
    policies: Policies,
    traces: Traces,
}

/// Where a call goes.
struct Destination {
    backend: Arc<Backend>,
    name: Option<Arc<str>>,
    /// Whether the name is a guess, for the backend has not said yet what it has.
    presumed: bool,
}

enum Routed {
    To(Destination),
    Answered(RawJson),
}

impl Router {
    /// A router without backends and endpoints.
    pub fn new(policies: Policies, traces: Traces) -> Self {
        Self {
            backends: ArcSwap::default(),
            endpoints: ArcSwap::default(),
            policies,
            traces,
        }
    }

    /// Its backends by name.
    pub fn backends(&self) -> Arc<BTreeMap<String, Arc<Backend>>> {
        self.backends.load_full()
    }

    /// Whether any of them can ask an agent something in the middle of a call. A policy may send a call to any.
    pub fn may_ask(&self) -> bool {
        self.backends.load().values().any(|backend| backend.may_ask())
    }

    /// Replaces the backends.
    pub fn set_backends(&self, backends: BTreeMap<String, Arc<Backend>>) {
        self.backends.store(Arc::new(backends));
    }

    /// The endpoint of that name.
    pub fn endpoint(&self, name: &str) -> Option<Arc<Endpoint>> {
        self.endpoints.load().get(name).cloned()
    }

    /// Its endpoints by name.
    pub fn endpoints(&self) -> Arc<BTreeMap<String, Arc<Endpoint>>> {
        self.endpoints.load_full()
    }

    /// Replaces the endpoints.
    pub fn set_endpoints(&self, endpoints: BTreeMap<String, Arc<Endpoint>>) {
        self.endpoints.store(Arc::new(endpoints));
    }

    /// The policies in force.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// What is known of calls that ended.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Carries a call to its end.
    pub async fn call(&self, incoming: &Incoming) -> Result<Answer, CallError> {
        let traced = Traced::begin(self, incoming);
        let policy = self.policies.current();
        let outcome = match policy.observes() {
            false => self.carry(incoming, policy).await,
            // Boxed: others need not carry what telling takes.
            true => Box::pin(self.carry_and_tell(incoming, policy)).await,
        };
        traced.end(&outcome);
        outcome
    }

    async fn carry(&self, incoming: &Incoming, mut policy: Arc<dyn Policy>) -> Result<Answer, CallError> {
        let view = incoming.endpoint.view_of(policy.generation()).await;
        let mut to = match self.route(&*policy, incoming, &view).await? {
            Routed::To(to) => to,
            Routed::Answered(body) => return Ok(Answer::of_policy(body)),
        };
        let bytes = incoming.call.params.size();
        let mut entry = to.backend.enter(&incoming.call.agent, bytes)?;
        let mut past = Past::default();
        let mut trials = Trials::default();
        loop {
            let permit = match entry {
                Entry::Pass(permit) => permit,
                // Boxed: most calls are never held, and need not carry what holding takes.
                Entry::Hold(held) => {
                    let waiting = self.wait(held, &mut past.from, incoming, &mut policy, &mut to, &mut trials);
                    match Box::pin(waiting).await {
                        Ok(Passed::Through(permit)) => permit,
                        Ok(Passed::Answered(body)) => return Ok(Answer::of_policy(body)),
                        Err(error) => return Err(past.error(error)),
                    }
                }
            };
            if to.presumed {
                // Boxed: it is for calls that were there before their backend was.
                to = Box::pin(self.confirm(incoming, &to)).await.map_err(|e| past.error(e))?;
            }
            let selected = self.select(&*policy, incoming, &to, &mut past).await;
            let (target, live) = match selected.map_err(|e| past.error(e))? {
                Selected::Target(target, live) => (target, live),
                Selected::Hold(pause) => {
                    let held = permit.hold_again(false);
                    let held = held.map_err(|e| past.error(e.at(to.backend.name())))?;
                    Box::pin(hold::pause(&held, pause, &incoming.call, &to.backend, &self.policies)).await;
                    held.willing();
                    entry = Entry::Hold(held);
                    continue;
                }
            };
            let sent = self.send(&*policy, incoming, &to, target, live, permit, &past).await;
            let (permit, replayed, later) = match sent.map_err(|e| past.error(e))? {
                Sent::Answered(answer) => return Ok(answer),
                Sent::Returned(permit, replayed) => (permit, replayed, None),
                Sent::Forgotten(permit) => {
                    past.forgotten = true;
                    (permit, false, None)
                }
                Sent::Later(permit, later) => (permit, false, Some(later)),
                Sent::Died(error) => {
                    let again = self.after_death(&*policy, incoming, &to, error, &mut trials);
                    // Boxed: it is rare.
                    Box::pin(again).await.map_err(|e| past.error(e))?;
                    past.written = Some("its process died".to_owned());
                    let entered = to.backend.enter(&incoming.call.agent, bytes);
                    entry = entered.map_err(|e| past.error(e))?;
                    continue;
                }
            };
            if replayed {
                past.written = Some("its process died".to_owned());
            }
            let named = |e: CallError| e.at(to.backend.name());
            let held = permit.hold_again(replayed).map_err(|e| past.error(named(e)))?;
            match later {
                None => held.willing(),
                Some(later) => {
                    let free = incoming.pinned.is_none();
                    past.later(later, &to.backend, free, &held)
                        .map_err(|e| past.error(named(e)))?;
                }
            }
            entry = Entry::Hold(held);
        }
    }

    /// Through the gate, unless a policy does not let it wait, or not for so long.
    async fn wait(
        &self,
        held: Held,
        from: &mut Option<Instant>,
        incoming: &Incoming,
        policy: &mut Arc<dyn Policy>,
        to: &mut Destination,
        trials: &mut Trials,
    ) -> Result<Passed, CallError> {
        let began = Instant::now();
        let _noted = hold::Waited::since(began, &incoming.call);
        let (ahead, _) = held.position();
        self.before_waiting(&**policy, incoming, to, ahead, trials).await?;
        let Some(until) = trials.until else {
            return self.pass(held, from, incoming, policy, to).await;
        };
        let name = Arc::clone(to.backend.name());
        match tokio::time::timeout_at(until, self.pass(held, from, incoming, policy, to)).await {
            Ok(passed) => passed,
            Err(_) => {
                let mut error = CallError::from(Reason::HoldDeadline).at(&name);
                error.waited = began.elapsed();
                Err(error)
            }
        }
    }

    /// Through the gate, however long that takes. A newer generation is asked again where the call goes.
    async fn pass(
        &self,
        mut held: Held,
        from: &mut Option<Instant>,
        incoming: &Incoming,
        policy: &mut Arc<dyn Policy>,
        to: &mut Destination,
    ) -> Result<Passed, CallError> {
        loop {
            let outcome = hold::wait(
                &mut held,
                from,
                &to.backend,
                incoming.listener.as_deref(),
                &self.policies,
                policy.generation(),
            )
            .await;
            match outcome {
                Err(error) => return Err(error.at(to.backend.name())),
                Ok(hold::Turn::Go) if policy.generation() == self.policies.current().generation() => {
                    return Ok(Passed::Through(held.go()));
                }
                Ok(turn) => {
                    *policy = self.policies.current();
                    incoming.call.trail.routed_anew();
                    let view = incoming.endpoint.view_of(policy.generation()).await;
                    match self.route(&**policy, incoming, &view).await? {
                        Routed::Answered(body) => return Ok(Passed::Answered(body)),
                        Routed::To(next) => {
                            let same = Arc::ptr_eq(&next.backend, &to.backend);
                            *to = next;
                            match (same, turn) {
                                (true, hold::Turn::Go) => return Ok(Passed::Through(held.go())),
                                (true, hold::Turn::Reroute) => {}
                                (false, _) => {
                                    *from = None;
                                    drop(held);
                                    match to.backend.enter(&incoming.call.agent, incoming.call.params.size())? {
                                        Entry::Pass(permit) => return Ok(Passed::Through(permit)),
                                        Entry::Hold(next) => held = next,
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

enum Passed {
    Through(Permit),
    Answered(RawJson),
}

enum Selected {
    Target(Arc<Target>, Live),
    Hold(Duration),
}

enum Sent {
    Answered(Answer),
    Returned(Permit, bool),
    Forgotten(Permit),
    Later(Permit, Later),
    /// Its target died, and whether it ran nobody knows.
    Died(CallError),
}

fn fault(fault: crate::policy::PolicyFault) -> CallError {
    match fault.kind {
        // The request's own fault: a policy was about to read what a target could read differently.
        FaultKind::Params => Reason::InvalidParams(fault.message).into(),
        _ => Reason::PolicyFault(fault.to_string()).into(),
    }
}

/// An error that would say "not sent" about a call that was written once says what is true instead.
pub fn honest(error: CallError, written: Option<String>) -> CallError {
    match written {
        Some(why) if error.delivery() != crate::error::Delivery::Unknown => {
            let then = error.message();
            CallError {
                reason: Reason::OutcomeUnknown(format!("{why}, and a repeat was not possible ({then})")),
                ..error
            }
        }
        _ => error,
    }
}
