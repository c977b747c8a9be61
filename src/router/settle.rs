//! Calls in trouble: what policies make of one that is about to wait, or whose target died.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Destination, Incoming, Router, fault};
use crate::error::{CallError, Reason};
use crate::policy::{Hook, Policy, Settlement, Trouble, TroubleKind};
use crate::wire::method;

/// How often a call is written again because policies say so.
const REPLAYS: u32 = 5;

/// What a call has been through.
#[derive(Default)]
pub(super) struct Trials {
    /// How often it was written to a target that died.
    pub(super) deaths: u32,
    /// Whether it was asked about because it had to wait.
    asked: bool,
    /// How long it may wait, where a policy said so.
    pub(super) until: Option<Instant>,
}

impl Trials {
    fn wait(&mut self, ms: u32) {
        self.until = Some(Instant::now() + Duration::from_millis(ms.into()));
    }
}

impl Router {
    /// A call is about to be held. An error is a policy's that does not let it.
    pub(super) async fn before_waiting(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        to: &Destination,
        ahead: usize,
        trials: &mut Trials,
    ) -> Result<(), CallError> {
        if std::mem::replace(&mut trials.asked, true) || !policy.has(Hook::Settle, &incoming.call) {
            return Ok(());
        }
        let why = format!("{} is {}", to.backend.name(), to.backend.state().0);
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        match self
            .settle(policy, incoming, to, (TroubleKind::Held, why, ahead), trials)
            .await?
        {
            Settlement::Next | Settlement::Replay => {}
            Settlement::Hold(ms) => trials.wait(ms),
            Settlement::Fail { code, message } => {
                return Err(CallError::from(Reason::Denied { code, message }).at(to.backend.name()));
            }
        }
        Ok(())
    }

    /// The target died that a call was written to. `Ok` where it is to be written again.
    pub(super) async fn after_death(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        to: &Destination,
        error: CallError,
        trials: &mut Trials,
    ) -> Result<(), CallError> {
        trials.deaths += 1;
        if trials.deaths > REPLAYS || !policy.has(Hook::Settle, &incoming.call) {
            return Err(error);
        }
        let trouble = (TroubleKind::Died, error.message(), 0);
        let settlement = self.settle(policy, incoming, to, trouble, trials).await;
        match settlement.map_err(written)? {
            Settlement::Next => return Err(error),
            Settlement::Replay => {}
            Settlement::Hold(ms) => trials.wait(ms),
            Settlement::Fail { code, message } => {
                let mut refused = CallError::from(Reason::Denied { code, message }).at(to.backend.name());
                // It may have run.
                refused.answered = true;
                return Err(refused);
            }
        }
        tracing::info!(call = incoming.call.id, backend = %to.backend.name(), "written again: a policy says so");
        // It is asked about anew if it has to wait.
        trials.asked = false;
        Ok(())
    }

    async fn settle(
        &self,
        policy: &dyn Policy,
        incoming: &Incoming,
        to: &Destination,
        (kind, why, ahead): (TroubleKind, String, u32),
        trials: &Trials,
    ) -> Result<Settlement, CallError> {
        let trouble = Arc::new(Trouble {
            kind,
            why,
            backend: Arc::clone(to.backend.name()),
            state: to.backend.state().0,
            attempts: trials.deaths,
            is_read: method::is_read(&incoming.call.method),
            ahead,
            eta: to.backend.eta(),
        });
        let settlement = policy.settle(&incoming.call, trouble).await;
        settlement.map_err(|f| fault(f).at(to.backend.name()))
    }
}

/// A policy's failure over a call that was written: no other words may say that it was not.
fn written(error: CallError) -> CallError {
    match error.reason {
        Reason::PolicyFault(why) | Reason::InvalidParams(why) => CallError {
            reason: Reason::Unsettled(why),
            ..error
        },
        _ => error,
    }
}
