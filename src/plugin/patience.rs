//! How hook calls wait for agents, who are strangers: not for long, and only some of a plugin's at a time. Each has an
//! instance while it waits, and whoever opens sessions and never answers is not to have them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::call::Roots;
use crate::wire::RawJson;

/// The patience of one plugin. Clones are the same.
#[derive(Clone)]
pub(super) struct Patience {
    most: Duration,
    places: Arc<Semaphore>,
}

impl Patience {
    /// That of a plugin whose hook calls take `wall` at most, and of which `instances` run at a time.
    pub(super) fn new(wall: Duration, instances: usize) -> Self {
        Self {
            // The other half is for what the policy makes of the answer.
            most: wall / 2,
            places: Arc::new(Semaphore::new((instances / 2).max(1))),
        }
    }

    /// The roots of an agent, if it says them in time. Who finds no place sees what is known already, and the agent is
    /// asked all the same.
    pub(super) async fn roots(&self, of: &dyn Roots) -> Option<RawJson> {
        let place = self.places.try_acquire();
        let most = place.as_ref().map_or(Duration::ZERO, |_| self.most);
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
        for (instances, places) in [(1, 1), (2, 1), (5, 2)] {
            let patience = Patience::new(Duration::from_secs(2), instances);
            let begin = Instant::now();
            let waits = (0..5).map(|_| async {
                assert_eq!(patience.roots(&Silent).await, None);
                begin.elapsed()
            });
            let waited = futures_util::future::join_all(waits).await;
            let long = waited.iter().filter(|time| **time == Duration::from_secs(1)).count();
            let short = waited.iter().filter(|time| time.is_zero()).count();
            assert_eq!((long, short), (places, 5 - places), "{instances} instances: {waited:?}");
        }
    }
}
