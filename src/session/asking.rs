//! Requests of servers on their way to a legacy agent, under ids of the router's own, and the answers' way back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::ring::Rank;
use super::stream::Stream;
use crate::backend::{Ask, refusal};
use crate::wire::json::quote;
use crate::wire::message::write_request;
use crate::wire::meta::{self, Change};
use crate::wire::{Object, RawJson, RequestId, method};

/// Requests that wait for one agent at most.
const MAX_WAITING: usize = 256;

type Outcome = Result<RawJson, RawJson>;

/// A request that is out to the agent.
struct Waiting {
    answer: oneshot::Sender<Outcome>,
    progress: mpsc::Sender<RawJson>,
}

/// The requests that are out to one agent.
#[derive(Default)]
pub(super) struct Asking {
    waiting: Mutex<HashMap<String, Waiting>>,
    next: AtomicU64,
}

impl Asking {
    /// Sends a request to the agent by `stream`, and sees to it that it is answered, withdrawn or given up after
    /// `patience`.
    pub(super) fn ask(self: &Arc<Self>, ask: Ask, stream: Option<Arc<Stream>>, patience: Duration) {
        let Ask {
            method,
            params,
            mut reply,
            progress,
        } = ask;
        let Some(stream) = stream else {
            let _ = reply.send(Err(refusal("the client has no open stream on which it could be asked")));
            return;
        };
        let id = quote(&format!("ask-{}", self.next.fetch_add(1, Ordering::Relaxed) + 1));
        // Our id in the place of the server's progress token: tokens of two servers may be the same.
        let params = params.map(|params| {
            let replaced = meta::changed(params.as_str(), method::META_PROGRESS, Change::Replace(&id));
            replaced.unwrap_or_else(|| params.as_str().to_owned())
        });
        let (answer, mut answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.len() >= MAX_WAITING {
                let _ = reply.send(Err(refusal("too many requests wait for this client")));
                return;
            }
            waiting.insert(id.clone(), Waiting { answer, progress });
        }
        let request = write_request(Some(&id), &method, params.as_deref());
        if !stream.say(Rank::Firm, &request) {
            lock(&self.waiting).remove(&id);
            let _ = reply.send(Err(refusal("the client does not read its stream")));
            return;
        }
        let asking = Arc::clone(self);
        tokio::spawn(async move {
            let given_up = tokio::select! {
                answer = &mut answered => {
                    let answer = answer.unwrap_or_else(|_| Err(refusal("the client's session ended")));
                    let _ = reply.send(answer);
                    return;
                }
                () = reply.closed() => None,
                () = tokio::time::sleep(patience) => Some(refusal("the client did not answer in time")),
            };
            lock(&asking.waiting).remove(&id);
            let params = format!("{{\"requestId\":{id},\"reason\":\"no longer wanted\"}}");
            stream.say(Rank::Firm, &write_request(None, method::CANCELLED, Some(&params)));
            if let Some(error) = given_up {
                let _ = reply.send(Err(error));
            }
        });
    }

    /// The agent answered.
    pub(super) fn answered(&self, id: &RequestId, outcome: Outcome) {
        let waiting = lock(&self.waiting).remove(id.key().as_raw());
        if let Some(waiting) = waiting {
            // It may have been withdrawn in this moment.
            let _ = waiting.answer.send(outcome);
        }
    }

    /// The agent says how far it is with one of them: `params` of its notification.
    pub(super) fn progressed(&self, params: &RawJson) {
        let object = Object::parse(params.as_str()).unwrap_or_default();
        let Some(token) = object.get("progressToken").and_then(RequestId::from_raw) else {
            return;
        };
        if let Some(waiting) = lock(&self.waiting).get(token.key().as_raw()) {
            // What does not fit is dropped, as everywhere with progress.
            let _ = waiting.progress.try_send(params.clone());
        }
    }

    /// The session is over: whoever waits is told.
    pub(super) fn end(&self) {
        lock(&self.waiting).clear();
    }

    /// Whether something is out to the agent.
    pub(super) fn is_waiting(&self) -> bool {
        !lock(&self.waiting).is_empty()
    }
}

/// Whether a client with these capabilities can be asked anything at all.
pub(super) fn declares_any(capabilities: Option<&str>) -> bool {
    let ways = ["sampling", "elicitation", "roots"];
    ways.iter().any(|way| declares(capabilities, way))
}

/// Whether this is one of them.
pub(super) fn declares(capabilities: Option<&str>, way: &str) -> bool {
    let capabilities = capabilities.and_then(|c| Object::parse(c).ok());
    capabilities.is_some_and(|c| c.get(way).is_some())
}

/// Whether a client with these capabilities can be asked this; an error says what it lacks.
pub(super) fn can_be_asked(capabilities: Option<&str>, ask: &Ask) -> Result<(), String> {
    let capabilities = Object::parse(capabilities.unwrap_or("{}")).unwrap_or_default();
    let declares = |name: &str| match capabilities.get(name) {
        Some(_) => Ok(()),
        None => Err(format!("the client did not declare the capability {name}")),
    };
    match ask.method.as_str() {
        method::SAMPLE => {
            declares("sampling")?;
            let params = ask.params.as_ref().and_then(|p| Object::parse(p.as_str()).ok());
            let params = params.unwrap_or_default();
            let sampling = capabilities.get("sampling").and_then(|s| Object::parse(s).ok());
            // Contexts of servers were asked for before there was a capability for it: that one is not demanded.
            match params.get("tools").or(params.get("toolChoice")) {
                Some(_) if sampling.is_none_or(|s| s.get("tools").is_none()) => {
                    Err("the client did not declare the capability sampling.tools".to_owned())
                }
                _ => Ok(()),
            }
        }
        method::ROOTS_LIST => declares("roots"),
        method::ELICIT => {
            declares("elicitation")?;
            let params = ask.params.as_ref().and_then(|p| Object::parse(p.as_str()).ok());
            let mode = params.as_ref().and_then(|p| p.get_str("mode"));
            let elicitation = capabilities.get("elicitation").and_then(|e| Object::parse(e).ok());
            let elicitation = elicitation.unwrap_or_default();
            // With no mode named it is forms, as it was before there were modes.
            let (wanted, without) = match mode.as_deref() {
                Some("url") => ("url", false),
                _ => ("form", elicitation.is_empty()),
            };
            if without || elicitation.get(wanted).is_some() {
                Ok(())
            } else {
                Err(format!(
                    "the client did not declare the capability elicitation.{wanted}"
                ))
            }
        }
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
