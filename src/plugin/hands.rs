//! The blocking work of loads: files, digests, mappings; a few at a time. The runtime starts a thread for whatever finds
//! none idle, and each keeps memory of the allocator's: a row of reloads would end with a hundred.

use tokio::sync::Semaphore;

use super::error::Problem;

/// How many pieces of work are done at once.
const AT_ONCE: usize = 3;

/// Who does it.
pub(super) struct Hands(Semaphore);

impl Hands {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }

    /// Does `work` on a thread that may block, as soon as there is a hand for it. A load that is given up gives its hand
    /// back, whatever its work hangs at.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        // Nobody closes it, so there is always a hand in the end.
        let _hand = self.0.acquire().await;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Problem::Compile(error.to_string()))
    }
}
