//! The blocking work of loads: files, digests, mappings; a few at a time, by threads of their own. The runtime's would be
//! more and more in a row of reloads: it starts one for whatever finds none idle, and one that has just ended its work is not
//! idle yet. Each keeps memory of the allocator's.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::error::Problem;

/// How many pieces of work are done at once.
const AT_ONCE: usize = 3;

/// How long one may take. Its thread may hang for ever, at a file system that is gone, and others are not to wait for that.
const MOST: Duration = Duration::from_secs(60);

type Work = Box<dyn FnOnce() + Send>;

/// Who does it.
pub(super) struct Hands {
    places: Semaphore,
    /// Threads that have nothing to do; each ends when this side of it is dropped.
    idle: Mutex<Vec<SyncSender<Work>>>,
}

impl Hands {
    pub(super) fn new() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            idle: Mutex::default(),
        }
    }

    /// Does `work` on a thread that may block, as soon as there is a hand for it. A load that is given up gives its hand
    /// back, whatever its work hangs at: another thread takes the place of that one.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
        let broken = || Problem::Compile("the thread that was at it is gone".to_owned());
        // Nobody closes it, so there is always a hand in the end.
        let _place = self.places.acquire().await;
        let idle = self.idle().pop();
        let hand = idle
            .map_or_else(hand, Ok)
            .map_err(|error| Problem::Compile(error.to_string()))?;
        let (done, result) = oneshot::channel();
        let work = move || drop(done.send(work()));
        hand.try_send(Box::new(work)).map_err(|_| broken())?;
        let result = tokio::time::timeout(MOST, result).await;
        let result = result
            .map_err(|_| Problem::Stalled(MOST.as_secs()))?
            .map_err(|_| broken())?;
        self.idle().push(hand);
        Ok(result)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<SyncSender<Work>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new thread, which takes one piece of work at a time.
fn hand() -> std::io::Result<SyncSender<Work>> {
    let (to, from) = sync_channel::<Work>(1);
    let name = "policy-files".to_owned();
    thread::Builder::new()
        .name(name)
        .spawn(move || from.into_iter().for_each(|work| work()))?;
    Ok(to)
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
        while hands.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        (0..AT_ONCE).for_each(|_| begun.recv().unwrap());
        tokio::time::advance(MOST).await;
        for one in hanging {
            let error = one.await.unwrap().unwrap_err().to_string();
            assert!(error.contains("60 s"), "{error}");
        }
        // With nothing else to do a clock that stands would go to the next date at once.
        tokio::time::resume();
        assert_eq!(hands.run(|| 7).await.unwrap(), 7);
        drop(release);
    }

    #[tokio::test]
    async fn the_same_threads_do_all_and_one_that_panics_is_replaced() {
        let hands = Hands::new();
        let me = || std::thread::current().id();
        let first = hands.run(me).await.unwrap();
        for _ in 0..100 {
            assert_eq!(hands.run(me).await.unwrap(), first);
        }
        let error = hands.run(|| panic!("on purpose")).await.unwrap_err();
        assert!(error.to_string().contains("is gone"), "{error}");
        assert_ne!(hands.run(me).await.unwrap(), first);
        let work = || (0..AT_ONCE).map(|_| hands.run(me));
        futures_util::future::join_all(work()).await;
        let mut threads: Vec<_> = futures_util::future::join_all(work().chain(work()))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        threads.sort_by_key(|thread| format!("{thread:?}"));
        threads.dedup();
        assert!(threads.len() <= AT_ONCE, "{threads:?}");
    }
}
