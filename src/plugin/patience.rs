//! How hook calls wait for agents, who are strangers: not for long, and only some of a plugin's at a time. Each has an
//! instance while it waits, and whoever opens sessions and never answers is to keep none from others.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::call::Roots;
use crate::wire::RawJson;

/// The patience of one plugin. Clones are the same.
#[derive(Clone)]
pub(super) struct Patience {
    places: Arc<Semaphore>,
}

impl Patience {
    /// That of a plugin of which `instances` run at a time: half of them may wait, and none of one alone.
    pub(super) fn new(instances: usize) -> Self {
        let places = (instances / 2).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
        }
    }

    /// The roots of an agent, if it says them in time. `left` is what the hook call has: half of it is for what the policy
    /// makes of the answer. Who finds no place sees what is known already, and the agent is asked all the same.
    pub(super) async fn roots(&self, of: &dyn Roots, left: Duration) -> Option<RawJson> {
        let place = self.places.try_acquire();
        let most = place.as_ref().map_or(Duration::ZERO, |_| left / 2);
        of.roots(most).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::call::RootsFuture;

    /// One that never answers.
    #[derive(Debug)]
    struct Silent;

    impl Roots for Silent {
        fn roots(&self, patience: Duration) -> RootsFuture<'_> {
            Box::pin(async move {
                tokio::time::sleep(patience).await;
                None
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn agents_that_never_answer_do_not_have_all_instances() {
        for (instances, places) in [(1, 0), (2, 1), (5, 2), (usize::MAX, 5)] {
            let patience = Patience::new(instances);
            let begin = Instant::now();
            let waits = (0..5).map(|_| async {
                assert_eq!(patience.roots(&Silent, Duration::from_secs(2)).await, None);
                begin.elapsed()
            });
            let waited = futures_util::future::join_all(waits).await;
            let long = waited.iter().filter(|time| **time == Duration::from_secs(1)).count();
            let short = waited.iter().filter(|time| time.is_zero()).count();
            assert_eq!((long, short), (places, 5 - places), "{instances} instances: {waited:?}");
        }
    }
}
