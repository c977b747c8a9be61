//! What can go wrong with a call: whose fault it is, whether it was sent, and the one place where that
//! becomes the agent's words.

use std::time::Duration;

use serde_json::{Value, json};

use crate::wire::{Kind, codes};

/// What is known about the call when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No target ever saw it: a repeat is safe.
    NotSent,
    /// A target may have run it.
    Unknown,
    /// It was refused by a rule: a repeat meets the same rule.
    Rejected,
}

impl Delivery {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
        }
    }
}

/// Which bound of a gate was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Too many calls of all agents.
    Count,
    /// Too many bytes of all agents.
    Bytes,
    /// Too many calls of this agent.
    AgentCount,
    /// Too many bytes of this agent.
    AgentBytes,
    /// Too many sessions have a target of their own.
    Sessions,
}

impl Bound {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::AgentCount => "agent-count",
            Self::AgentBytes => "agent-bytes",
            Self::Sessions => "session-targets",
        }
    }
}

/// Why a call failed in the router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The backend is stopped, was removed, or cannot be started at all.
    Unavailable(String),
    /// The backend would not have the call, and said so without an answer of the protocol.
    Refused(String),
    /// The gate is full.
    QueueFull(Bound),
    /// Held as long as it may be.
    HoldDeadline,
    /// In flight when its target died or its time was up.
    OutcomeUnknown(String),
    /// The backend keeps dying young.
    CrashLoop(String),
    /// Meant for the state of an earlier incarnation.
    StateLost,
    /// The call that this one goes on with, after its server had asked for input, is gone.
    InputLost(String),
    /// The server asked its client for something and got no answer.
    InputRefused(String),
    /// A policy said no; its own words.
    Denied {
        /// The policy's code for it.
        code: String,
        /// The policy's words.
        message: String,
    },
    /// Several backends may take it.
    Ambiguous(Vec<String>),
    /// A policy component failed.
    PolicyFault(String),
    /// One failed that was to say what becomes of a call whose target died.
    Unsettled(String),
    /// The agent took it back.
    Cancelled {
        /// A target had it by then.
        sent: bool,
    },
    /// No backend of the endpoint offers it.
    Unknown(Kind, String),
    /// The request is wrong.
    InvalidParams(String),
    /// The client did not declare this extension, which the method needs.
    Undeclared(&'static str),
    /// The method is not offered here.
    MethodNotFound(String),
    /// The router is shutting down.
    ShuttingDown,
}

/// A call that failed in the router, with what is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// Why.
    pub reason: Reason,
    /// The backend, once one was chosen.
    pub backend: Option<String>,
    /// The incarnation concerned, where there is one.
    pub incarnation: Option<u64>,
    /// How long the call waited at the gate.
    pub waited: Duration,
    /// When a repeat may do better.
    pub retry_after: Option<Duration>,
    /// When the backend is expected back.
    pub eta: Option<Duration>,
    /// The target did answer, and only the answer is withheld: the call ran.
    pub answered: bool,
}

impl From<Reason> for CallError {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            backend: None,
            incarnation: None,
            waited: Duration::ZERO,
            retry_after: None,
            eta: None,
            answered: false,
        }
    }
}

impl CallError {
    /// Says which backend it was.
    pub fn at(mut self, backend: &str) -> Self {
        self.backend.get_or_insert_with(|| backend.to_owned());
        self
    }

    /// Whether a target may have seen the call.
    pub fn delivery(&self) -> Delivery {
        match self.reason {
            _ if self.answered => Delivery::Unknown,
            Reason::OutcomeUnknown(_)
            | Reason::Unsettled(_)
            | Reason::InputLost(_)
            | Reason::InputRefused(_)
            | Reason::Cancelled { sent: true } => Delivery::Unknown,
            Reason::Denied { .. }
            | Reason::Refused(_)
            | Reason::Unknown(..)
            | Reason::InvalidParams(_)
            | Reason::Undeclared(_)
            | Reason::MethodNotFound(_)
            | Reason::Ambiguous(_) => Delivery::Rejected,
            _ => Delivery::NotSent,
        }
    }

    /// The JSON-RPC error code.
    pub fn code(&self) -> i64 {
        match self.reason {
            Reason::Unavailable(_) | Reason::Refused(_) | Reason::ShuttingDown => codes::BACKEND_UNAVAILABLE,
            Reason::QueueFull(_) => codes::QUEUE_FULL,
            Reason::HoldDeadline => codes::HOLD_DEADLINE,
            Reason::OutcomeUnknown(_) => codes::OUTCOME_UNKNOWN,
            Reason::CrashLoop(_) => codes::CRASH_LOOP,
            Reason::StateLost | Reason::InputLost(_) => codes::STATE_LOST,
            Reason::InputRefused(_) => codes::INTERNAL_ERROR,
            Reason::Denied { .. } => codes::DENIED,
            Reason::Ambiguous(_) => codes::AMBIGUOUS,
            Reason::PolicyFault(_) | Reason::Unsettled(_) => codes::POLICY_FAULT,
            Reason::Cancelled { .. } => codes::CANCELLED,
            Reason::Unknown(..) | Reason::InvalidParams(_) => codes::INVALID_PARAMS,
            Reason::Undeclared(_) => codes::MISSING_CAPABILITY,
            Reason::MethodNotFound(_) => codes::METHOD_NOT_FOUND,
        }
    }

    /// What happened and what to do next, in plain words: models read this.
    pub fn message(&self) -> String {
        let backend = self.backend.as_deref().unwrap_or("the backend");
        let waited = self.waited.as_secs_f64();
        match &self.reason {
            Reason::Unavailable(why) => format!("{backend} is not available: {why}. The call was not sent."),
            Reason::Refused(why) => format!("{backend} refused the call: {why}."),
            Reason::QueueFull(bound) => format!(
                "too many calls are waiting for {backend} (bound: {}). The call was not sent; repeat it later.",
                bound.as_str()
            ),
            Reason::HoldDeadline => {
                format!("{backend} was not ready within {waited:.1} s. The call was not sent; it is safe to repeat it.")
            }
            Reason::OutcomeUnknown(why) => {
                format!("{backend} had the call, and {why}. It may or may not have run: check before repeating it.")
            }
            Reason::CrashLoop(why) => format!(
                "{backend} keeps dying soon after its start ({why}). The call was not sent; look at the backend's stderr with `pointsman status`."
            ),
            Reason::StateLost => format!(
                "{backend} was restarted and its earlier state is gone. The call was not sent; rebuild the state first."
            ),
            Reason::InputLost(why) => format!(
                "the call that waited for this input is gone: {why} What it had begun may or may not have taken effect; call again from the beginning."
            ),
            Reason::InputRefused(why) => {
                format!("{backend} asked the client for input in the middle of the call, and got none: {why}")
            }
            Reason::Denied { message, .. } => format!("denied by policy: {message}"),
            Reason::Ambiguous(backends) => format!(
                "several backends could take this call ({}) and no policy chose one; name it with the header X-Pointsman-Backend or the path /mcp/BACKEND",
                backends.join(", ")
            ),
            Reason::PolicyFault(why) if self.answered => {
                format!("the call ran, but a policy failed on its answer, which is withheld: {why}")
            }
            Reason::PolicyFault(why) => {
                format!("a policy failed: {why}. The call was not sent; look at `pointsman status`.")
            }
            Reason::Unsettled(why) => format!(
                "{backend} died while it had the call, and the policy that was to settle it failed: {why}. It may or may not have run: check before repeating it."
            ),
            Reason::Cancelled { sent: false } => "the call was cancelled by the client. It was not sent.".to_owned(),
            Reason::Cancelled { sent: true } => {
                format!("the call was cancelled by the client while {backend} had it. It may or may not have run.")
            }
            Reason::Unknown(Kind::Tools, name) => format!("Unknown tool: {name}"),
            Reason::Unknown(Kind::Prompts, name) => format!("Unknown prompt: {name}"),
            Reason::Unknown(Kind::Resources | Kind::Templates, uri) => format!("Resource not found: {uri}"),
            Reason::InvalidParams(why) => format!("Invalid params: {why}"),
            Reason::Undeclared(extension) => format!("the client did not declare the extension {extension}"),
            Reason::MethodNotFound(method) => format!("Method not found: {method}"),
            Reason::ShuttingDown => {
                "the router is shutting down. The call was not sent; it is safe to repeat it.".to_owned()
            }
        }
    }

    /// The error's `data`: what is known, for programs.
    fn data(&self) -> Option<Value> {
        if let Reason::Undeclared(extension) = self.reason {
            return Some(json!({ "requiredCapabilities": { "extensions": { extension: {} } } }));
        }
        if matches!(
            self.reason,
            Reason::Unknown(..) | Reason::InvalidParams(_) | Reason::MethodNotFound(_)
        ) {
            return None;
        }
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let mut data = json!({
            "delivery": self.delivery().as_str(),
            "backend": self.backend,
            "incarnation": self.incarnation,
            "waited_ms": ms(self.waited),
            "retry_after_ms": self.retry_after.map(ms),
            "eta_ms": self.eta.map(ms),
        });
        match &self.reason {
            Reason::QueueFull(bound) => data["bound"] = bound.as_str().into(),
            Reason::Denied { code, .. } => data["policy_code"] = code.as_str().into(),
            Reason::Ambiguous(backends) => data["backends"] = backends.as_slice().into(),
            _ => {}
        }
        Some(data)
    }

    /// The `error` member of the JSON-RPC response.
    pub fn to_wire(&self) -> String {
        let mut error = json!({ "code": self.code(), "message": self.message() });
        if let Some(data) = self.data() {
            error["data"] = data;
        }
        error.to_string()
    }

    /// The same as a `tools/call` result with `isError`, for endpoints with `errors = "result"`: models read
    /// results, and many clients hide protocol errors from them.
    pub fn to_tool_result(&self) -> String {
        json!({
            "content": [{ "type": "text", "text": self.message() }],
            "isError": true,
            "_meta": { "dev.pointsman/error": { "code": self.code(), "data": self.data() } },
        })
        .to_string()
    }
}

/// An error with its causes: the first one alone says little ("error sending request").
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut words = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Some errors repeat their cause.
        if words.last().is_none_or(|last: &String| !last.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_says_what_is_known() {
        let error = CallError {
            waited: Duration::from_millis(30_000),
            eta: Some(Duration::from_millis(1_500)),
            incarnation: Some(3),
            ..CallError::from(Reason::HoldDeadline)
        }
        .at("git");
        insta::assert_snapshot!(error.to_wire(), @r#"{"code":7003,"data":{"backend":"git","delivery":"not_sent","eta_ms":1500,"incarnation":3,"retry_after_ms":null,"waited_ms":30000},"message":"git was not ready within 30.0 s. The call was not sent; it is safe to repeat it."}"#);
        let unknown = CallError::from(Reason::OutcomeUnknown("its process was killed by signal 9".into())).at("git");
        assert_eq!(unknown.delivery(), Delivery::Unknown);
        assert!(unknown.to_tool_result().contains("\"isError\":true"));
        assert_eq!(
            CallError::from(Reason::Unknown(Kind::Tools, "x".into())).to_wire(),
            r#"{"code":-32602,"message":"Unknown tool: x"}"#
        );
    }
}
