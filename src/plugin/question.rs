//! The four questions that a call puts to plugins, and the checks that answers must pass.

use std::future::Future;
use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::pointsman::policy::types as wit;
use super::fault::Fault;
use super::host::{Body, Subject};
use super::instance::Instance;
use crate::call::Call;
use crate::policy::{Candidate, FaultKind, Hook, Selection, TargetView};
use crate::wire::index::first_step;
use crate::wire::{Edit, Object, RawJson, edit};

/// One hook call: how it is put, and how its answer is checked.
pub(super) trait Question: Sync {
    /// What the guest returns.
    type Raw: Send;
    /// What a good answer means.
    type Answer: Send;
    /// The hook it is for.
    const HOOK: Hook;
    /// What the guest may look at while it answers.
    fn subject(&self) -> Subject;
    /// How many times the CPU time of a call it takes at most.
    fn portions(&self) -> u64 {
        1
    }
    /// Calls the guest.
    fn put(&self, to: &mut Instance) -> impl Future<Output = wasmtime::Result<Result<Self::Raw, String>>> + Send;
    /// Checks the answer, which may hold `limit` bytes.
    fn check(&self, raw: Self::Raw, limit: usize) -> Result<Self::Answer, Fault>;
}

pub(super) fn bad<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::of_plugin(FaultKind::Output, message))
}

pub(super) fn within(size: usize, limit: usize) -> Result<(), Fault> {
    if size > limit {
        return bad(format!("returned {size} bytes, {limit} are allowed"));
    }
    Ok(())
}

/// Which of the candidates may take the call?
pub(super) struct Route<'a> {
    pub(super) call: &'a Arc<Call>,
    pub(super) candidates: &'a Arc<[Candidate]>,
}

/// What one plugin said about the route.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// Nothing.
    Next,
    /// These, by position among the candidates it saw.
    Narrow(Vec<usize>),
    /// A decision that ends the chain.
    Final(crate::policy::RouteChoice),
}

impl Question for Route<'_> {
    type Raw = wit::RouteChoice;
    type Answer = Opinion;
    const HOOK: Hook = Hook::Route;

    fn subject(&self) -> Subject {
        Subject {
            call: Some(Arc::clone(self.call)),
            candidates: Some(Arc::clone(self.candidates)),
            ..Subject::default()
        }
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<wit::RouteChoice, String>> {
        let (store, hook) = to.route()?;
        hook.call_route(store, Resource::new_borrow(0), Resource::new_borrow(0))
            .await
    }

    fn check(&self, raw: wit::RouteChoice, limit: usize) -> Result<Opinion, Fault> {
        use crate::policy::RouteChoice;
        Ok(match raw {
            wit::RouteChoice::Next => Opinion::Next,
            wit::RouteChoice::Narrow(positions) => {
                let count = self.candidates.len();
                let mut kept = Vec::with_capacity(positions.len().min(count));
                for position in positions {
                    match usize::try_from(position) {
                        Ok(n) if n < count && !kept.contains(&n) => kept.push(n),
                        Ok(n) if n < count => return bad(format!("narrowed to position {n} twice")),
                        _ => return bad(format!("narrowed to position {position} of {count}")),
                    }
                }
                if kept.is_empty() {
                    return bad("narrowed to no candidate at all; to refuse a call, deny it");
                }
                Opinion::Narrow(kept)
            }
            wit::RouteChoice::Redirect(to) => {
                within(to.backend.len() + to.name.as_ref().map_or(0, String::len), limit)?;
                Opinion::Final(RouteChoice::Redirect {
                    backend: to.backend,
                    name: to.name,
                })
            }
            wit::RouteChoice::Deny(denial) => {
                within(denial.code.len() + denial.message.len(), limit)?;
                Opinion::Final(RouteChoice::Deny {
                    code: denial.code,
                    message: denial.message,
                })
            }
            wit::RouteChoice::Answer(text) => {
                within(text.len(), limit)?;
                if let Err(why) = Object::parse(&text) {
                    return bad(format!("answered with something that is no JSON object: {why}"));
                }
                Opinion::Final(RouteChoice::Answer(RawJson::from(text)))
            }
        })
    }
}

/// Which of the live targets takes the call?
pub(super) struct Select<'a> {
    pub(super) call: &'a Arc<Call>,
    pub(super) targets: &'a Arc<[TargetView]>,
}

impl Question for Select<'_> {
    type Raw = wit::Selection;
    type Answer = Selection;
    const HOOK: Hook = Hook::Select;

    fn subject(&self) -> Subject {
        Subject {
            call: Some(Arc::clone(self.call)),
            targets: Some(Arc::clone(self.targets)),
            ..Subject::default()
        }
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<wit::Selection, String>> {
        let (store, hook) = to.select()?;
        hook.call_select(store, Resource::new_borrow(0), Resource::new_borrow(0))
            .await
    }

    fn check(&self, raw: wit::Selection, _: usize) -> Result<Selection, Fault> {
        Ok(match raw {
            wit::Selection::Pick(position) => match usize::try_from(position) {
                Ok(n) if n < self.targets.len() => Selection::Pick(n),
                _ => return bad(format!("picked position {position} of {}", self.targets.len())),
            },
            wit::Selection::Any => Selection::Any,
            wit::Selection::Hold(milliseconds) => Selection::Hold(milliseconds),
        })
    }
}

/// How are the params changed?
pub(super) struct TransformRequest<'a> {
    pub(super) call: &'a Arc<Call>,
}

impl Question for TransformRequest<'_> {
    type Raw = Vec<wit::Edit>;
    type Answer = Option<RawJson>;
    const HOOK: Hook = Hook::TransformRequest;

    fn subject(&self) -> Subject {
        Subject {
            call: Some(Arc::clone(self.call)),
            ..Subject::default()
        }
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<Vec<wit::Edit>, String>> {
        let (store, hook) = to.transform_request()?;
        hook.call_transform(store, Resource::new_borrow(0)).await
    }

    fn check(&self, raw: Vec<wit::Edit>, limit: usize) -> Result<Option<RawJson>, Fault> {
        if raw.is_empty() {
            return Ok(None);
        }
        let edits = edits(raw, limit)?;
        for edit in &edits {
            let (Edit::Set { pointer, .. } | Edit::Remove { pointer }) = edit;
            // The name decided the route, and `_meta` holds the router's tokens; the empty pointer is both.
            match first_step(pointer).as_deref() {
                None | Some("name" | "_meta") => return bad(format!("may not edit {pointer:?} of the params")),
                Some(_) => {}
            }
        }
        let index = self.call.index().map_err(|why| unreadable(&format!("params: {why}")))?;
        let text = edit::apply(self.call.params.as_str(), index, &edits).or_else(bad)?;
        within_grown(text.len(), self.call.params.size(), limit)?;
        Ok(Some(RawJson::from(text)))
    }
}

/// How is the result, or the error, changed?
pub(super) struct TransformResponse<'a> {
    pub(super) call: &'a Arc<Call>,
    pub(super) body: &'a Arc<Body>,
}

impl Question for TransformResponse<'_> {
    type Raw = Vec<wit::Edit>;
    type Answer = Option<RawJson>;
    const HOOK: Hook = Hook::TransformResponse;

    fn subject(&self) -> Subject {
        Subject {
            call: Some(Arc::clone(self.call)),
            response: Some(Arc::clone(self.body)),
            ..Subject::default()
        }
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<Vec<wit::Edit>, String>> {
        let (store, hook) = to.transform_response()?;
        hook.call_transform(store, Resource::new_borrow(0), Resource::new_borrow(0))
            .await
    }

    fn check(&self, raw: Vec<wit::Edit>, limit: usize) -> Result<Option<RawJson>, Fault> {
        if raw.is_empty() {
            return Ok(None);
        }
        let edits = edits(raw, limit)?;
        let index = self
            .body
            .index()
            .map_err(|why| unreadable(&format!("the response: {why}")))?;
        let text = edit::apply(self.body.raw.as_str(), index, &edits).or_else(bad)?;
        within_grown(text.len(), self.body.raw.len(), limit)?;
        if !text.trim_ascii_start().starts_with('{') {
            return bad("left something that is no JSON object");
        }
        Ok(Some(RawJson::from(text)))
    }
}

/// A document that two readers could read differently: nobody's opinion counts about it.
pub(super) fn unreadable(why: &str) -> Fault {
    Fault::of_others(FaultKind::Params, why)
}

/// What edits add may not exceed the limit on what a plugin returns.
fn within_grown(now: usize, before: usize, limit: usize) -> Result<(), Fault> {
    within(now.saturating_sub(before), limit)
}

fn edits(raw: Vec<wit::Edit>, limit: usize) -> Result<Vec<Edit>, Fault> {
    let mut size = 0;
    let mut edits = Vec::with_capacity(raw.len());
    for edit in raw {
        edits.push(match edit {
            wit::Edit::Set(set) => {
                size += set.pointer.len() + set.json.len();
                Edit::Set {
                    pointer: set.pointer,
                    json: set.json,
                }
            }
            wit::Edit::Remove(pointer) => {
                size += pointer.len();
                Edit::Remove { pointer }
            }
        });
    }
    within(size, limit)?;
    Ok(edits)
}
