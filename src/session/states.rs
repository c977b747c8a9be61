//! Request states as modern agents hold them: sealed, bound to the call they belong to, and to the target that gave
//! them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::input;
use crate::call::Call;
use crate::error::{CallError, Reason};
use crate::router::Pinned;
use crate::seal::Sealer;

/// What a request state of the router says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k")]
pub(super) enum Held {
    /// The call waits in the router, under this number.
    #[serde(rename = "parked")]
    Parked {
        /// See [`super::parking`].
        id: String,
    },
    /// The target gave a state of its own.
    #[serde(rename = "relay")]
    Relay {
        /// The backend.
        backend: String,
        /// Which of its replicas.
        replica: u32,
        /// The number of its spawn.
        incarnation: Option<u64>,
        /// The process that counts incarnations.
        process: u64,
        /// The state it gave, raw.
        state: String,
    },
    /// The call was refused until the user has done something elsewhere; then it is made anew.
    #[serde(rename = "anew")]
    Anew,
}

impl Held {
    /// What the target that gave an answer wants to be told again.
    pub(super) fn relay(from: &Pinned, process: u64, state: &str) -> Self {
        Self::Relay {
            backend: from.backend.to_string(),
            replica: from.replica,
            incarnation: from.incarnation,
            process,
            state: state.to_owned(),
        }
    }

    /// As it is given to the agent of `call`. `None` where the system has no randomness.
    pub(super) fn seal(&self, sealer: &Sealer, call: &Call, life: Duration) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        sealer.seal(&purpose(call)?, &text, life)
    }

    /// What the agent of `call` brought back.
    pub(super) fn open(sealer: &Sealer, call: &Call, sealed: &str) -> Result<Self, CallError> {
        let foreign = |why: &dyn std::fmt::Display| {
            let why = format!("Invalid or expired {}: {why}", input::STATE);
            CallError::from(Reason::InvalidParams(why))
        };
        let purpose = purpose(call).ok_or_else(|| foreign(&"the params cannot be read"))?;
        let text = sealer.open(&purpose, sealed).map_err(|e| foreign(&e))?;
        serde_json::from_slice(&text).map_err(|e| foreign(&e))
    }
}

/// What a state is good for: this agent's call of this method with these params at this endpoint.
fn purpose(call: &Call) -> Option<Vec<u8>> {
    let digest = input::digest(&call.method, call.params.as_str())?;
    let mut purpose = format!("state\0{}\0{}\0", call.endpoint, call.principal()).into_bytes();
    purpose.extend_from_slice(&digest);
    Some(purpose)
}
