//! What is kept of one call for those who ask why it went where it went: names, decisions, times. Never what it carried.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Answer;
use crate::call::{AgentKey, Call, Notes, Said};
use crate::error::{CallError, Reason};
use crate::policy::{Hook, Policy};
use crate::wire::{Kind, Object};

/// How a call ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// `result`, `error` (of its target), `failed` (in the router), `cancelled`.
    word: &'static str,
    code: Option<i64>,
    message: Option<String>,
    delivery: Option<&'static str>,
    backend: Option<String>,
    replica: Option<u32>,
    incarnation: Option<u64>,
    /// A policy matter, also where no plugin said anything of its own.
    of_policy: bool,
}

impl Outcome {
    /// Its agent took it back, or went away.
    pub(super) fn cancelled() -> Self {
        Self {
            word: "cancelled",
            ..Self::default()
        }
    }

    pub(super) fn of(ending: &Result<Answer, CallError>) -> Self {
        match ending {
            Ok(answer) => {
                let from = answer.from.as_ref();
                Self {
                    word: if answer.body.is_ok() { "result" } else { "error" },
                    code: answer.code(),
                    backend: from.map(|from| from.backend.to_string()),
                    replica: from.map(|from| from.replica),
                    incarnation: from.and_then(|from| from.incarnation),
                    ..Self::default()
                }
            }
            Err(error) => Self {
                word: "failed",
                code: Some(error.code()),
                message: words(error),
                delivery: Some(error.delivery().as_str()),
                backend: error.backend.clone(),
                replica: None,
                incarnation: error.incarnation,
                of_policy: matches!(
                    error.reason,
                    Reason::Denied { .. } | Reason::PolicyFault(_) | Reason::Ambiguous(_)
                ),
            },
        }
    }

    /// Whether it is worth keeping by itself.
    pub(super) fn is_of_policy(&self) -> bool {
        self.of_policy
    }
}

/// What the agent was told, unless that can hold parts of what it sent, or of what a server said.
fn words(error: &CallError) -> Option<String> {
    match error.reason {
        Reason::InvalidParams(_) | Reason::Unknown(..) | Reason::Refused(_) | Reason::InputRefused(_) => None,
        _ => Some(Said::words(&error.message())),
    }
}

impl Answer {
    /// The code of an error.
    pub(super) fn code(&self) -> Option<i64> {
        let error = Object::parse(self.body.as_ref().err()?.as_str()).ok()?;
        error.get("code")?.parse().ok()
    }
}

/// One call as it is kept.
#[derive(Debug)]
pub struct Trace {
    /// The router's number for it.
    pub call: u64,
    /// The name or the URI of what it is about.
    pub name: Option<String>,
    began: SystemTime,
    took: Duration,
    endpoint: Arc<str>,
    path_backend: Option<Arc<str>>,
    agent: AgentKey,
    method: Cow<'static, str>,
    /// It went on with what one target had begun, whatever plugins said.
    pinned: bool,
    notes: Notes,
    /// Those that were not asked any more.
    unasked: Vec<(Hook, Arc<str>)>,
    outcome: Outcome,
}

impl Trace {
    /// The trace of a call that has just ended after `took`; `policy` is the one in force.
    pub(super) fn new(
        call: &Call,
        notes: Notes,
        (outcome, took): (Outcome, Duration),
        pinned: bool,
        policy: &dyn Policy,
    ) -> Self {
        Self {
            call: call.id,
            name: call.subject.as_ref().map(|subject| shown(subject.kind, &subject.key)),
            began: SystemTime::now().checked_sub(took).unwrap_or(UNIX_EPOCH),
            took,
            endpoint: Arc::clone(&call.endpoint),
            path_backend: call.path_backend.clone(),
            agent: call.agent.clone(),
            method: call.method.clone(),
            pinned,
            unasked: unasked(call, &notes, policy),
            notes,
            outcome,
        }
    }

    /// Whether any plugin decided anything, or had to and did not.
    pub(super) fn is_decided(&self) -> bool {
        self.notes.are_decisive() || self.outcome.is_of_policy()
    }

    /// Whether it came to nothing by a policy.
    pub(super) fn is_denied(&self) -> bool {
        self.notes.steps.iter().any(crate::call::Step::is_refusal)
    }

    /// Whether this plugin decided anything; where `asked` is enough, whether it was asked.
    pub(super) fn is_of(&self, plugin: &str, asked: bool) -> bool {
        let mut own = self.notes.steps.iter().filter(|step| *step.plugin == *plugin);
        own.any(|step| step.is_decisive() || (asked && step.said != Said::OutOfScope))
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + self.notes.size()
            + text(&self.name)
            + self.method.len()
            + self.unasked.capacity() * size_of::<(Hook, Arc<str>)>()
            + text(&self.outcome.message)
            + text(&self.outcome.backend)
    }

    /// For programs, as one object.
    pub fn to_json(&self) -> Value {
        let whole = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let unasked: Vec<Value> = (self.unasked.iter())
            .map(|(hook, plugin)| json!({ "hook": hook.as_str(), "plugin": &**plugin }))
            .collect();
        json!({
            "call": self.call,
            "began_ms": whole(began.as_millis()),
            "took_us": whole(self.took.as_micros()),
            "held_ms": whole(self.notes.held.as_millis()),
            "endpoint": endpoint(&self.endpoint),
            "path_backend": self.path_backend.as_deref(),
            "agent": self.agent.to_string(),
            "method": self.method,
            "name": self.name,
            "pinned": self.pinned,
            "steps": self.notes.steps.iter().map(crate::call::Step::to_json).collect::<Vec<_>>(),
            "steps_left_out": self.notes.left_out,
            "not_asked": unasked,
            "outcome": {
                "is": self.outcome.word,
                "code": self.outcome.code,
                "message": self.outcome.message,
                "delivery": self.outcome.delivery,
                "backend": self.outcome.backend,
                "replica": self.outcome.replica,
                "incarnation": self.outcome.incarnation,
            },
        })
    }
}

/// The path of an endpoint.
fn endpoint(name: &str) -> String {
    match name {
        "" => "/mcp".to_owned(),
        name => format!("/mcp/{name}"),
    }
}

/// What a call is about. Of a URI nothing that can be a secret: no user and password, no query, no fragment.
fn shown(kind: Kind, key: &str) -> String {
    if kind.is_named() {
        return Said::words(key);
    }
    let (scheme, rest) = match key.split_once(':') {
        Some((scheme, rest)) => (scheme, rest.strip_prefix("//").unwrap_or(rest)),
        None => ("", key),
    };
    // Before anything else is cut: a password that nobody escaped may hold any of the signs.
    let bare = match rest.starts_with('/') {
        // There is no host that a user could stand before.
        true => rest,
        false => rest.rsplit('@').next().unwrap_or(rest),
    };
    let end = bare.find(['?', '#']).unwrap_or(bare.len());
    let slashes = if key.contains("://") { "//" } else { "" };
    match scheme {
        "" => Said::words(&bare[..end]),
        _ => Said::words(&format!("{scheme}:{slashes}{}", &bare[..end])),
    }
}

/// Who would have been asked as well, had the call got so far. Nobody knows that of a generation that is gone.
fn unasked(call: &Call, notes: &Notes, policy: &dyn Policy) -> Vec<(Hook, Arc<str>)> {
    let Some(last) = notes.steps.last().filter(|last| last.generation == policy.generation()) else {
        return Vec::new();
    };
    let asked = |hook: Hook, plugin: &Arc<str>| {
        let mut steps = notes.steps.iter().filter(|step| step.generation == last.generation);
        steps.any(|step| step.hook == hook.as_str() && step.plugin == *plugin)
    };
    let mut unasked = Vec::new();
    for hook in Hook::OF_A_CALL {
        let plugins = policy.plugins(hook, call).into_iter();
        unasked.extend(
            plugins
                .filter(|plugin| !asked(hook, plugin))
                .map(|plugin| (hook, plugin)),
        );
    }
    unasked
}

#[cfg(test)]
pub(super) mod tests;
