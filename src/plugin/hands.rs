//! The blocking work of loads: files, digests, mappings; a few at a time. The runtime starts a thread for whatever finds
//! none idle, and each keeps memory of the allocator's: a row of reloads would end with a hundred.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::error::Problem;

/// How many pieces of work are done at once.
const AT_ONCE: usize = 3;

/// How long one may take. Its thread may hang for ever, at a file system that is gone, and others are not to wait for that.
const MOST: Duration = Duration::from_secs(60);

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
        let done = tokio::time::timeout(MOST, tokio::task::spawn_blocking(work)).await;
        let done = done.map_err(|_| Problem::Stalled(MOST.as_secs()))?;
        done.map_err(|error| Problem::Compile(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_for_ever_keeps_no_hand() {
        let hands = Arc::new(Hands::new());
        let (release, hung) = channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let (began, begun) = channel();
        let hanging: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (hands, hung, began) = (Arc::clone(&hands), Arc::clone(&hung), began.clone());
                tokio::spawn(async move {
                    let work = move || {
                        began.send(()).unwrap();
                        // Until the test is over.
                        let _ = hung.lock().unwrap().recv();
                    };
                    hands.run(work).await
                })
            })
            .collect();
        // Their tasks run while this one waits for its turn.
        while hands.0.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        (0..AT_ONCE).for_each(|_| begun.recv().unwrap());
        tokio::time::advance(MOST).await;
        for one in hanging {
            let error = one.await.unwrap().unwrap_err().to_string();
            assert!(error.contains("60 s"), "{error}");
        }
        assert_eq!(hands.run(|| 7).await.unwrap(), 7);
        drop(release);
    }
}
