//! What is told of calls to policies that want to hear of them.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{Answer, Incoming, Router};
use crate::call::Call;
use crate::error::CallError;
use crate::policy::{Event, Policy};

/// A call that is told of when it ends, also where nobody waits for it any more.
struct Told<'a> {
    router: &'a Router,
    call: &'a Arc<Call>,
    began: Instant,
    outcome: Option<Map<String, Value>>,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let cancelled = || Map::from_iter([("outcome".to_owned(), json!("cancelled"))]);
        let mut more = self.outcome.take().unwrap_or_else(cancelled);
        let took = self.began.elapsed().as_secs_f64() * 1000.0;
        more.insert("took_ms".to_owned(), json!(took));
        let event = Event::call(self.call, Value::Object(more));
        // Of the generation in force by now: the one before may be on its way out.
        self.router.policies.current().tell(event, Some(self.call));
    }
}

impl Router {
    /// Carries a call to its end, and tells of it.
    pub(super) async fn carry_and_tell(
        &self,
        incoming: &Incoming,
        policy: Arc<dyn Policy>,
    ) -> Result<Answer, CallError> {
        let mut told = Told {
            router: self,
            call: &incoming.call,
            began: Instant::now(),
            outcome: None,
        };
        let outcome = self.carry(incoming, policy).await;
        told.outcome = Some(ending(&outcome));
        outcome
    }
}

fn ending(outcome: &Result<Answer, CallError>) -> Map<String, Value> {
    let ending = match outcome {
        Ok(answer) => {
            let from = answer.from.as_ref();
            json!({
                "outcome": if answer.body.is_ok() { "result" } else { "error" },
                "code": answer.code(),
                "backend": from.map(|from| from.backend.to_string()),
                "replica": from.map(|from| from.replica),
                "incarnation": from.and_then(|from| from.incarnation),
            })
        }
        Err(error) => json!({
            "outcome": "failed",
            "code": error.code(),
            "delivery": error.delivery().as_str(),
            "backend": error.backend,
            "incarnation": error.incarnation,
            "waited_ms": u64::try_from(error.waited.as_millis()).ok(),
        }),
    };
    match ending {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
