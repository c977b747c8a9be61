//! The last steps of a call: edits on the way in, the target, edits on the way out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::past::{Later, Past};
use super::{Answer, Destination, Incoming, Pinned, Router, Sent, encode, fault};
use crate::backend::{Live, Permit, Settled, Sink, Submit, Target};
use crate::call::Call;
use crate::config::StateKind;
use crate::error::{CallError, Reason};
use crate::policy::{Hook, Policy};
use crate::wire::{Era, Kind, RawJson, method};

impl Router {
    #[expect(
        clippy::too_many_arguments,
        reason = "the last step of one path; a struct for it would only rename them"
    )]
    pub(super) async fn send(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        to: &Destination,
        target: Arc<Target>,
        live: Live,
        mut permit: Permit,
        past: &Past,
    ) -> Result<Sent, CallError> {
        let (call, may_replay) = (&incoming.call, past.written.is_none());
        let settings = to.backend.settings();
        // It may have passed the gate for an incarnation that is gone, and been given a target of the next one.
        if settings.state == StateKind::Volatile
            && let Some(lost) = permit.failed()
        {
            return Err(lost);
        }
        let from = Pinned {
            backend: Arc::clone(to.backend.name()),
            replica: target.replica,
            incarnation: (!live.lasting).then_some(live.incarnation),
        };
        // Before the target is asked: its first word may come with its answer.
        let watched = incoming.watcher.as_ref().zip(call.subject.as_ref());
        let subscription = watched.map(|(watcher, subject)| to.backend.subscribe(&subject.key, Arc::clone(watcher)));
        if live.era == Era::Modern && call.method == method::SUBSCRIBE {
            // The modern era has no such request: who wants to hear of what is the router's own to remember.
            let offered = to
                .backend
                .introduced()
                .is_some_and(|i| i.has_flag("resources", "subscribe"));
            return match offered {
                true => Ok(Sent::Answered(Answer {
                    body: Ok("{}".to_owned().into()),
                    era: Era::Legacy,
                    from: Some(from),
                    subscription,
                    tasks: false,
                })),
                false => Err(Reason::MethodNotFound(call.method.to_string()).into()),
            };
        }
        let edited = match policy.has(Hook::TransformRequest, call) {
            true => policy
                .transform_request(call, to.backend.name())
                .await
                .map_err(|f| fault(f).at(to.backend.name()))?,
            false => None,
        };
        let params = edited.as_ref().unwrap_or(call.params.raw());
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
            doubted: past.forgotten,
            reply,
            sink: incoming.listener.clone().map(|l| l as Arc<dyn Sink>),
        };
        incoming.handed_over.store(true, Ordering::Relaxed);
        let mut flight = target.submit(submit, receiver).await;
        permit.entered();
        let settled = match settings.call_timeout {
            None => flight.settled().await,
            Some(limit) => match Box::pin(tokio::time::timeout(limit, flight.settled())).await {
                Ok(settled) => settled,
                // Dropping the flight cancels it at the target.
                Err(_) => {
                    let why = format!("no answer came within {:.1} s", limit.as_secs_f64());
                    return Err(lost(why, to, &live));
                }
            },
        };
        drop(flight);
        match settled {
            Settled::Answered(body) => {
                let body = self
                    .transform_response(policy, call, to.backend.name(), body)
                    .await
                    .map_err(|f| f.at(to.backend.name()))?;
                Ok(Sent::Answered(Answer {
                    subscription: subscription.filter(|_| body.is_ok()),
                    body,
                    era: live.era,
                    from: Some(from),
                    tasks: live.tasks,
                }))
            }
            Settled::Returned { replayed } => {
                if may_replay && !replayed {
                    incoming.handed_over.store(false, Ordering::Relaxed);
                }
                Ok(Sent::Returned(permit, replayed))
            }
            Settled::Forgotten { .. } => {
                if may_replay {
                    incoming.handed_over.store(false, Ordering::Relaxed);
                }
                Ok(Sent::Forgotten(permit))
            }
            Settled::Later { why, pause, seen } => {
                if may_replay {
                    incoming.handed_over.store(false, Ordering::Relaxed);
                }
                Ok(Sent::Later(
                    permit,
                    Later {
                        why,
                        pause,
                        seen,
                        target,
                    },
                ))
            }
            Settled::Refused { why } => {
                let mut error = CallError::from(Reason::Refused(why)).at(to.backend.name());
                error.incarnation = Some(live.incarnation);
                Err(error)
            }
            Settled::Lost { why } => Ok(Sent::Died(lost(why, to, &live))),
        }
    }

    async fn transform_response(
        &self,
        policy: &dyn Policy,
        call: &Arc<Call>,
        backend: &str,
        body: Result<RawJson, RawJson>,
    ) -> Result<Result<RawJson, RawJson>, CallError> {
        if !policy.has(Hook::TransformResponse, call) {
            return Ok(body);
        }
        let (raw, is_error) = match &body {
            Ok(raw) => (raw, false),
            Err(raw) => (raw, true),
        };
        let edited = policy
            .transform_response(call, backend, raw.clone(), is_error)
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

/// The error of a call that may have run.
fn lost(why: String, to: &Destination, live: &Live) -> CallError {
    let mut error = CallError::from(Reason::OutcomeUnknown(why)).at(to.backend.name());
    error.incarnation = Some(live.incarnation);
    error.eta = to.backend.eta();
    error
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
    let tools = to.backend.known(Kind::Tools);
    tools.is_some_and(|t| t.get(name).is_some_and(|t| t.repeatable))
}
