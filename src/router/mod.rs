//! The path of a call: route, gate, select, transform, target, transform. Runs in its caller's task.

mod encode;
mod hold;
mod policies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

pub use self::policies::Policies;
use crate::backend::{Backend, Entry, Held, Live, Permit, Settled, Sink, Submit, Target};
use crate::call::Call;
use crate::catalog::{Endpoint, View};
use crate::config::StateKind;
use crate::error::{CallError, Reason};
use crate::policy::{FaultKind, Hook, Policy, RouteChoice, Selection};
use crate::wire::{Era, RawJson, method};

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
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    /// The raw result, or the raw error, of whoever answered.
    pub body: Result<RawJson, RawJson>,
    /// The era the answer is written in.
    pub era: Era,
}

/// Endpoints, backends and policies, each replaced as a whole.
pub struct Router {
    backends: ArcSwap<BTreeMap<String, Arc<Backend>>>,
    endpoints: ArcSwap<BTreeMap<String, Arc<Endpoint>>>,
    policies: Policies,
}

/// Where a call goes.
struct Destination {
    backend: Arc<Backend>,
    name: Option<String>,
}

enum Routed {
    To(Destination),
    Answered(RawJson),
}

impl Router {
    /// A router without backends and endpoints.
    pub fn new(policies: Policies) -> Self {
        Self {
            backends: ArcSwap::default(),
            endpoints: ArcSwap::default(),
            policies,
        }
    }

    /// Its backends by name.
    pub fn backends(&self) -> Arc<BTreeMap<String, Arc<Backend>>> {
        self.backends.load_full()
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

    /// Carries a call to its end.
    pub async fn call(&self, incoming: &Incoming) -> Result<Answer, CallError> {
        let view = incoming.endpoint.view();
        let mut policy = self.policies.current();
        let mut to = match self.route(&*policy, incoming, &view).await? {
            Routed::To(to) => to,
            Routed::Answered(body) => {
                return Ok(Answer {
                    body: Ok(body),
                    era: Era::Legacy,
                });
            }
        };
        let bytes = incoming.call.params.len();
        let mut entry = to.backend.enter(&incoming.call.agent, bytes)?;
        // Set once the call was written to a target that died: from then on no error may claim "not sent".
        let mut written: Option<String> = None;
        loop {
            let permit = match entry {
                Entry::Pass(permit) => permit,
                // Boxed: most calls are never held, and need not carry what holding takes.
                Entry::Hold(held) => match Box::pin(self.pass(held, incoming, &view, &mut policy, &mut to)).await {
                    Ok(Passed::Through(permit)) => permit,
                    Ok(Passed::Answered(body)) => {
                        return Ok(Answer {
                            body: Ok(body),
                            era: Era::Legacy,
                        });
                    }
                    Err(error) => return Err(honest(error, written)),
                },
            };
            let (target, live) = match self
                .select(&*policy, incoming, &to)
                .await
                .map_err(|e| honest(e, written.clone()))?
            {
                Selected::Target(target, live) => (target, live),
                Selected::Hold(pause) => {
                    let held = permit.hold_again(false)?;
                    Box::pin(hold::pause(&held, pause, &to.backend, &self.policies)).await;
                    held.willing();
                    entry = Entry::Hold(held);
                    continue;
                }
            };
            match self
                .send(&*policy, incoming, &to, target, live, permit, written.is_none())
                .await?
            {
                Sent::Answered(answer) => return Ok(answer),
                Sent::Returned(permit, replayed) => {
                    if replayed {
                        written = Some("its process died".to_owned());
                    }
                    let held = permit
                        .hold_again(replayed)
                        .map_err(|e| honest(e.at(to.backend.name()), written.clone()))?;
                    held.willing();
                    entry = Entry::Hold(held);
                }
            }
        }
    }

    /// Which backend takes the call: the policy's word, checked against what is there.
    async fn route(&self, policy: &dyn Policy, incoming: &Incoming, view: &View) -> Result<Routed, CallError> {
        let call = &incoming.call;
        let candidates = view.candidates(call.name.as_deref());
        let mut among: Vec<usize> = (0..candidates.len()).collect();
        if policy.has(Hook::Route) {
            match policy.route(call, Arc::clone(&candidates)).await.map_err(fault)? {
                RouteChoice::Among(chosen) => among = chosen,
                RouteChoice::Redirect { backend, name } => {
                    let Some(backend) = self.backends.load().get(&backend).cloned() else {
                        return Err(Reason::Unavailable(format!(
                            "a policy redirected the call to {backend:?}, which is not configured"
                        ))
                        .into());
                    };
                    let name = name.or_else(|| call.name.as_deref().map(|n| view.name_at(backend.name(), n)));
                    return Ok(Routed::To(Destination { backend, name }));
                }
                RouteChoice::Deny { code, message } => return Err(Reason::Denied { code, message }.into()),
                RouteChoice::Answer(result) => return Ok(Routed::Answered(result)),
            }
        } else if among.len() > 1 {
            among.retain(|at| candidates.get(*at).is_some_and(|c| c.offers));
        }
        let chosen: Vec<&Arc<Backend>> = among.iter().filter_map(|at| view.backends.get(*at)).collect();
        match chosen.as_slice() {
            [only] => {
                let name = call.name.as_deref().map(|n| view.name_at(only.name(), n));
                Ok(Routed::To(Destination {
                    backend: Arc::clone(only),
                    name,
                }))
            }
            // Nobody chose because nobody offers it.
            _ if !candidates.iter().any(|c| c.offers) => {
                Err(Reason::UnknownTool(call.name.clone().unwrap_or_default()).into())
            }
            several => Err(Reason::Ambiguous(several.iter().map(|b| b.name().to_string()).collect()).into()),
        }
    }

    /// Through the gate, however long that takes. A newer generation is asked again where the call goes.
    async fn pass(
        &self,
        mut held: Held,
        incoming: &Incoming,
        view: &View,
        policy: &mut Arc<dyn Policy>,
        to: &mut Destination,
    ) -> Result<Passed, CallError> {
        loop {
            let outcome = hold::wait(
                &mut held,
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
                    match self.route(&**policy, incoming, view).await? {
                        Routed::Answered(body) => return Ok(Passed::Answered(body)),
                        Routed::To(next) => {
                            let same = Arc::ptr_eq(&next.backend, &to.backend);
                            *to = next;
                            match (same, turn) {
                                (true, hold::Turn::Go) => return Ok(Passed::Through(held.go())),
                                (true, hold::Turn::Reroute) => {}
                                (false, _) => {
                                    drop(held);
                                    match to.backend.enter(&incoming.call.agent, incoming.call.params.len())? {
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

    async fn select(&self, policy: &dyn Policy, incoming: &Incoming, to: &Destination) -> Result<Selected, CallError> {
        let mut live = to.backend.live();
        if live.is_empty() {
            // It died between the gate and here: the gate is closed by now.
            return Ok(Selected::Hold(Duration::ZERO));
        }
        let mut chosen = None;
        if policy.has(Hook::Select) {
            let views = live
                .iter()
                .map(|(target, live)| to.backend.view(target, live))
                .collect();
            match policy
                .select(&incoming.call, views)
                .await
                .map_err(|f| fault(f).at(to.backend.name()))?
            {
                Selection::Pick(at) => chosen = Some(at),
                Selection::Any => {}
                Selection::Hold(ms) => return Ok(Selected::Hold(Duration::from_millis(u64::from(ms)))),
            }
        }
        let least_busy = || {
            let load = |(target, _): &(Arc<Target>, Live)| {
                target.counters.in_flight.load(std::sync::atomic::Ordering::Relaxed)
            };
            live.iter()
                .enumerate()
                .min_by_key(|(_, t)| load(t))
                .map_or(0, |(at, _)| at)
        };
        let at = chosen.filter(|at| *at < live.len()).unwrap_or_else(least_busy);
        let (target, live) = live.swap_remove(at);
        Ok(Selected::Target(target, live))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the last step of one path; a struct for it would only rename them"
    )]
    async fn send(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        to: &Destination,
        target: Arc<Target>,
        live: Live,
        mut permit: Permit,
        may_replay: bool,
    ) -> Result<Sent, CallError> {
        let call = &incoming.call;
        let settings = to.backend.settings();
        let edited = match policy.has(Hook::TransformRequest) {
            true => policy
                .transform_request(call)
                .await
                .map_err(|f| fault(f).at(to.backend.name()))?,
            false => None,
        };
        let params = edited.as_ref().unwrap_or(&call.params);
        let id = target.next_id();
        let shape = encode::Shape {
            id,
            name: to.name.as_deref(),
            era: live.era,
            progress: incoming.progress,
            log_level: incoming.log_level,
        };
        let line = encode::line(call, params.as_str(), &shape).map_err(Reason::InvalidParams)?;
        if line.len() > settings.max_message {
            return Err(
                Reason::InvalidParams(format!("the request is larger than {} bytes", settings.max_message)).into(),
            );
        }
        let (reply, receiver) = oneshot::channel();
        let submit = Submit {
            id,
            line,
            agent: call.agent.clone(),
            ticket: permit.ticket(),
            bytes: permit.bytes(),
            replay: may_replay && settings.state == StateKind::None && may_repeat(to, &settings, call),
            incarnation: live.incarnation,
            reply,
            sink: incoming.listener.clone().map(|l| l as Arc<dyn Sink>),
        };
        let mut flight = target.submit(submit, receiver).await;
        permit.entered();
        let settled = match settings.call_timeout {
            None => flight.settled().await,
            Some(limit) => match Box::pin(tokio::time::timeout(limit, flight.settled())).await {
                Ok(settled) => settled,
                // Dropping the flight cancels it at the target.
                Err(_) => Settled::Lost {
                    why: format!("no answer came within {:.1} s", limit.as_secs_f64()),
                },
            },
        };
        drop(flight);
        match settled {
            Settled::Answered(body) => {
                let body = self
                    .transform_response(policy, call, body)
                    .await
                    .map_err(|f| f.at(to.backend.name()))?;
                Ok(Sent::Answered(Answer { body, era: live.era }))
            }
            Settled::Returned { replayed } => Ok(Sent::Returned(permit, replayed)),
            Settled::Lost { why } => {
                let mut error = CallError::from(Reason::OutcomeUnknown(why)).at(to.backend.name());
                error.incarnation = Some(live.incarnation);
                error.eta = to.backend.eta();
                Err(error)
            }
        }
    }

    async fn transform_response(
        &self,
        policy: &dyn Policy,
        call: &Arc<Call>,
        body: Result<RawJson, RawJson>,
    ) -> Result<Result<RawJson, RawJson>, CallError> {
        if !policy.has(Hook::TransformResponse) {
            return Ok(body);
        }
        let (raw, is_error) = match &body {
            Ok(raw) => (raw, false),
            Err(raw) => (raw, true),
        };
        let edited = policy
            .transform_response(call, raw.clone(), is_error)
            .await
            .map_err(|f| {
                // The target did answer, so the call ran; only its answer is withheld.
                let mut error = fault(f);
                error.answered = true;
                error
            })?;
        Ok(match (edited, is_error) {
            (None, _) => body,
            (Some(edited), false) => Ok(edited),
            (Some(edited), true) => Err(edited),
        })
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
}

/// Whether running the call twice does no harm: a method that only reads, or a tool whose server says so and is
/// believed.
fn may_repeat(to: &Destination, settings: &crate::config::Backend, call: &Call) -> bool {
    if call.method != method::TOOLS_CALL {
        return method::is_read(&call.method);
    }
    let Some(name) = to.name.as_deref().filter(|_| settings.trusted) else {
        return false;
    };
    to.backend
        .tools()
        .borrow()
        .as_ref()
        .and_then(|t| t.get(name))
        .is_some_and(|t| t.repeatable)
}

fn fault(fault: crate::policy::PolicyFault) -> CallError {
    match fault.kind {
        // The request's own fault: a policy was about to read what a target could read differently.
        FaultKind::Params => Reason::InvalidParams(fault.message).into(),
        _ => Reason::PolicyFault(fault.to_string()).into(),
    }
}

/// An error that would say "not sent" about a call that was written once says what is true instead.
fn honest(error: CallError, written: Option<String>) -> CallError {
    match written {
        Some(why) if error.delivery() == crate::error::Delivery::NotSent => {
            let then = error.message();
            CallError {
                reason: Reason::OutcomeUnknown(format!("{why}, and a repeat was not possible ({then})")),
                ..error
            }
        }
        _ => error,
    }
}
