//! The two choices of a call: which backend, which target. The policies' word, checked against what is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::past::Past;
use super::{Destination, Incoming, Routed, Router, Selected, fault};
use crate::backend::{Backend, Live, Target};
use crate::call::Subject;
use crate::catalog::View;
use crate::error::{CallError, Reason};
use crate::policy::{Hook, Policy, RouteChoice, Selection};

impl Router {
    /// Which backend takes the call: the policy's word, checked against what is there.
    pub(super) async fn route(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        view: &View,
    ) -> Result<Routed, CallError> {
        let call = &incoming.call;
        let subject = call.subject.as_ref();
        let (kind, asked) = (subject.map(|s| s.kind), subject.map(|s| s.key.as_str()));
        if let Some(why) = view.undecided(kind) {
            return Err(Reason::PolicyFault(why.to_owned()).into());
        }
        let candidates = view.candidates(kind, asked);
        let among = if policy.has(Hook::Route, call) {
            match policy.route(call, Arc::clone(&candidates)).await.map_err(fault)? {
                RouteChoice::Among(chosen) => chosen,
                RouteChoice::Redirect { backend, name } => {
                    let Some(backend) = self.backends.load().get(&backend).cloned() else {
                        return Err(Reason::Unavailable(format!(
                            "a policy redirected the call to {backend:?}, which is not configured"
                        ))
                        .into());
                    };
                    return match name {
                        None => destination(view, subject, &backend).map(Routed::To),
                        Some(name) => Ok(Routed::To(Destination {
                            backend,
                            name: Some(name.into()),
                            presumed: false,
                        })),
                    };
                }
                RouteChoice::Deny { code, message } => return Err(Reason::Denied { code, message }.into()),
                RouteChoice::Answer(result) => return Ok(Routed::Answered(result)),
            }
        } else {
            let alone = candidates.len() == 1;
            let offering = candidates.iter().enumerate().filter(|(_, c)| alone || c.offers);
            offering.map(|(at, _)| at).collect()
        };
        if let Some(pinned) = &incoming.pinned {
            // Policies were asked, for they may deny it; but only one target knows what it goes on from.
            let backend = view.backends.iter().find(|b| *b.name() == pinned.backend);
            let backend = backend.ok_or_else(|| CallError::from(Reason::StateLost).at(&pinned.backend))?;
            return destination(view, subject, backend).map(Routed::To);
        }
        let mut chosen = among.iter().filter_map(|at| view.backends.get(*at));
        match (chosen.next(), chosen.next()) {
            (Some(only), None) => destination(view, subject, only).map(Routed::To),
            // Nobody chose because nobody offers it.
            _ if !candidates.iter().any(|c| c.offers) => {
                Err(match subject {
                    Some(subject) => Reason::Unknown(subject.kind, subject.key.clone()),
                    // With no backends at all, which also offer nothing.
                    None => Reason::MethodNotFound(call.method.to_string()),
                }
                .into())
            }
            // A method that is about nothing in particular, and none of several backends is meant by it.
            _ if subject.is_none() => Err(Reason::MethodNotFound(call.method.to_string()).into()),
            _ => {
                let several = among.iter().filter_map(|at| view.backends.get(*at));
                Err(Reason::Ambiguous(several.map(|b| b.name().to_string()).collect()).into())
            }
        }
    }

    /// The backend of a call that was held has said what it has: what was presumed of the name is looked up.
    pub(super) async fn confirm(&self, incoming: &Incoming, to: &Destination) -> Result<Destination, CallError> {
        let view = incoming.endpoint.fresh_view().await;
        destination(&view, incoming.call.subject.as_ref(), &to.backend).map_err(|e| e.at(to.backend.name()))
    }

    pub(super) async fn select(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        to: &Destination,
        past: &mut Past,
    ) -> Result<Selected, CallError> {
        let mut live = to.backend.live();
        if let Some(pinned) = &incoming.pinned {
            if pinned.backend != *to.backend.name() {
                // A policy sends it where nobody knows of it.
                return Err(CallError::from(Reason::StateLost).at(&pinned.backend));
            }
            let same = |(target, live): &(Arc<Target>, Live)| {
                target.replica == pinned.replica && pinned.incarnation.is_none_or(|i| i == live.incarnation)
            };
            return match live.into_iter().find(same) {
                Some((target, live)) => Ok(Selected::Target(target, live)),
                None if pinned
                    .incarnation
                    .is_none_or(|i| to.backend.is_running(pinned.replica, i)) =>
                {
                    // Another call took its last place in this moment, or it will be back.
                    Ok(Selected::Hold(Duration::from_millis(10)))
                }
                None => Err(CallError::from(Reason::StateLost).at(to.backend.name())),
            };
        }
        if live.is_empty() {
            // It died or was filled between the gate and here: the gate is closed by now.
            return Ok(Selected::Hold(Duration::ZERO));
        }
        past.spare(&mut live);
        let mut chosen = None;
        if policy.has(Hook::Select, &incoming.call) {
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
            let load = |(target, _): &(Arc<Target>, Live)| target.counters.in_flight.load(Ordering::Relaxed);
            live.iter()
                .enumerate()
                .min_by_key(|(_, t)| load(t))
                .map_or(0, |(at, _)| at)
        };
        let at = chosen.filter(|at| *at < live.len()).unwrap_or_else(least_busy);
        let (target, live) = live.swap_remove(at);
        Ok(Selected::Target(target, live))
    }
}

/// A backend, and what the call is about there.
fn destination(view: &View, subject: Option<&Subject>, backend: &Arc<Backend>) -> Result<Destination, CallError> {
    let named = match subject {
        None => None,
        Some(Subject { kind, key }) => match view.name_at(*kind, backend.name(), key) {
            None => return Err(Reason::Unknown(*kind, key.clone()).into()),
            named => named,
        },
    };
    Ok(Destination {
        backend: Arc::clone(backend),
        presumed: named.as_ref().is_some_and(|n| n.presumed),
        name: named.map(|n| n.name),
    })
}
