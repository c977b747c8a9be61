//! What plugins said about a call, noted in its trail: by the question that they were asked, and with its time.

use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::question::{Opinion, Question, Route, Select, TransformRequest, TransformResponse};
use super::settling::Settle;
use crate::call::{Call, Said, Seen, Step, Trail};
use crate::policy::{Candidate, FaultKind, Hook, RouteChoice, Selection, Settlement};
use crate::wire::RawJson;

/// Backends that are told beside a choice, at most.
const MOST_SEEN: usize = 8;

/// Where the plugins of one generation leave what they said about one call.
#[derive(Clone, Copy)]
pub(super) struct Notes<'a> {
    trail: &'a Trail,
    generation: u64,
}

impl<'a> Notes<'a> {
    pub(super) fn of(call: &'a Call, generation: u64) -> Self {
        Self {
            trail: &call.trail,
            generation,
        }
    }

    pub(super) fn add(&self, hook: Hook, plugin: &Arc<str>, said: Said, took: Duration) {
        self.trail.add(Step {
            generation: self.generation,
            hook: hook.as_str(),
            plugin: Arc::clone(plugin),
            said,
            took,
            superseded: false,
        });
    }
}

/// A fault, and what became of it.
pub(super) fn failed(fault: &Fault, open: bool) -> Said {
    let message = match fault.kind {
        // The words name keys of the document.
        FaultKind::Params => "what it was to read holds a key twice, or nests too deep".to_owned(),
        _ => Said::words(&fault.message),
    };
    Said::Fault {
        kind: fault.kind.as_str(),
        message,
        open,
    }
}

/// A question about a call.
pub(super) trait Noted: Question {
    /// The answer, as it is told to those who ask why a call went where it went.
    fn said(&self, answer: &Self::Answer) -> Said;
}

/// What offers the thing that the call is about, and the states that were shown.
fn offering(candidates: &[Candidate]) -> Vec<Seen> {
    let offering = candidates.iter().filter(|c| c.offers);
    offering
        .map(|c| (Arc::clone(&c.backend), c.state))
        .take(MOST_SEEN)
        .collect()
}

impl Noted for Route<'_> {
    fn said(&self, answer: &Opinion) -> Said {
        match answer {
            Opinion::Next | Opinion::Final(RouteChoice::Among(_)) => Said::Next,
            Opinion::Narrow(kept) => {
                let offers = |(at, c): (usize, &Candidate)| c.offers && !kept.contains(&at);
                let chose = self.candidates.iter().enumerate().any(offers);
                let name = |at: &usize| self.candidates.get(*at).map(|c| Arc::clone(&c.backend));
                Said::Narrow {
                    to: kept.iter().filter_map(name).take(MOST_SEEN).collect(),
                    among: if chose { offering(self.candidates) } else { Vec::new() },
                }
            }
            Opinion::Final(RouteChoice::Redirect { backend, name }) => Said::Redirect {
                backend: Said::words(backend),
                name: name.as_deref().map(Said::words),
                among: offering(self.candidates),
            },
            Opinion::Final(RouteChoice::Deny { code, message }) => denied(code, message),
            Opinion::Final(RouteChoice::Answer(_)) => Said::Answer,
        }
    }
}

fn denied(code: &str, message: &str) -> Said {
    Said::Deny {
        code: Said::words(code),
        message: Said::words(message),
    }
}

impl Noted for Select<'_> {
    fn said(&self, answer: &Selection) -> Said {
        match answer {
            Selection::Any => Said::Any,
            Selection::Hold(ms) => Said::Hold(*ms),
            Selection::Pick(at) => self.targets.get(*at).map_or(Said::Any, |target| Said::Pick {
                replica: target.replica,
                incarnation: target.incarnation,
            }),
        }
    }
}

fn edited(answer: &Option<RawJson>) -> Said {
    match answer {
        Some(_) => Said::Edited,
        None => Said::Unchanged,
    }
}

impl Noted for TransformRequest<'_> {
    fn said(&self, answer: &Option<RawJson>) -> Said {
        edited(answer)
    }
}

impl Noted for TransformResponse<'_> {
    fn said(&self, answer: &Option<RawJson>) -> Said {
        edited(answer)
    }
}

impl Noted for Settle<'_> {
    fn said(&self, answer: &Settlement) -> Said {
        match answer {
            Settlement::Next => Said::Next,
            Settlement::Replay => Said::Replay,
            Settlement::Hold(ms) => Said::Hold(*ms),
            Settlement::Fail { code, message } => denied(code, message),
        }
    }
}
