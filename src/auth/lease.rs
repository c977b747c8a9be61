//! How long one who was let in may go on listening: as long as the token is good, by its date and by the configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Guard, Refused, Request};
use crate::call::Principal;

/// The pause before another look, where nobody could tell.
const AGAIN: Duration = Duration::from_secs(1);
/// No timer is set for longer.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Somebody listens. What it holds of his request is what it is looked at by again.
pub struct Lease {
    guard: Arc<Guard>,
    changes: watch::Receiver<()>,
    endpoint: String,
    headers: HeaderMap,
    secure: bool,
    principal: Arc<Principal>,
}

impl Lease {
    /// For `principal`, who was let in to `endpoint` by these headers.
    pub fn new(
        guard: &Arc<Guard>,
        endpoint: &str,
        principal: Arc<Principal>,
        headers: HeaderMap,
        secure: bool,
    ) -> Self {
        let mut changes = guard.changes();
        // The rules may have changed since he was let in.
        changes.mark_changed();
        Self {
            guard: Arc::clone(guard),
            changes,
            endpoint: endpoint.to_owned(),
            headers,
            secure,
            principal,
        }
    }

    /// Ready when he may listen no longer.
    pub async fn over(mut self) {
        loop {
            let left = self.principal.until.map_or(LONGEST, |until| {
                until.duration_since(SystemTime::now()).unwrap_or_default()
            });
            tokio::select! {
                () = sleep(left.min(LONGEST)) => return,
                changed = self.changes.changed() => if changed.is_err() {
                    return;
                },
            }
            match self.look().await {
                Ok(true) => {}
                Err(refused) if refused.status == StatusCode::SERVICE_UNAVAILABLE => {
                    sleep(AGAIN.min(left)).await;
                    self.changes.mark_changed();
                }
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Whether he would be let in now, as who he was. Where nobody is asked any more, everybody is.
    async fn look(&mut self) -> Result<bool, Refused> {
        let request = Request {
            endpoint: Some(&self.endpoint),
            query: None,
            headers: &self.headers,
            secure: self.secure,
        };
        let admitted = self.guard.admit(request).await?;
        let principal = admitted.unwrap_or_else(|| Arc::clone(&self.principal));
        let same = principal.key() == self.principal.key();
        self.principal = principal;
        Ok(same)
    }
}
