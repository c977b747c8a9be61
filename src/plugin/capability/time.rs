//! The time that plugins are told: the system's, or one that stands still where it was put, for fixtures.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

/// The clock of all plugins: for `clock`, for what expires in `kv`, and for the stubs of WASI.
pub(super) struct Clock {
    began: Instant,
    /// Empty in a router.
    stands: ArcSwapOption<Standing>,
}

/// A clock that stands still.
#[derive(Clone, Copy)]
struct Standing {
    /// Since 1970.
    now: Duration,
    /// When it was stopped, by the clock that cannot be set, and at which time.
    stopped: (Instant, Duration),
}

impl Clock {
    /// The system's.
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            stands: ArcSwapOption::empty(),
        }
    }

    /// Stops it at a time since 1970; without one it is the system's again.
    pub(super) fn put(&self, now: Option<Duration>) {
        let before = self.standing();
        let standing = now.map(|now| Standing {
            now,
            stopped: before.map_or_else(|| (Instant::now(), now), |before| before.stopped),
        });
        self.stands.store(standing.map(Arc::new));
    }

    fn standing(&self) -> Option<Standing> {
        self.stands.load().as_deref().copied()
    }

    /// Since 1970.
    pub(super) fn now(&self) -> Duration {
        let system = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        match self.standing() {
            Some(standing) => standing.now,
            None => system().unwrap_or_default(),
        }
    }

    /// The moment by which things expire.
    pub(super) fn instant(&self) -> Instant {
        match self.standing() {
            Some(Standing { now, stopped }) => stopped.0 + now.saturating_sub(stopped.1),
            None => Instant::now(),
        }
    }

    /// A time that only grows. Not from zero: who subtracts an hour from the first value is not to meet the end of the
    /// numbers.
    pub(super) fn uptime(&self) -> Duration {
        self.instant().saturating_duration_since(self.began) + Duration::from_hours(24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_goes_until_it_is_stopped() {
        let clock = Clock::new();
        let day = Duration::from_hours(24);
        assert!(clock.now() > day * 365 && clock.uptime() == day);
        tokio::time::advance(day).await;
        assert_eq!(clock.uptime(), day * 2);
        clock.put(Some(day));
        for _ in 0..2 {
            assert_eq!((clock.now(), clock.uptime()), (day, day * 2));
            tokio::time::advance(day).await;
        }
        clock.put(Some(day * 3));
        assert_eq!((clock.now(), clock.uptime()), (day * 3, day * 4));
        clock.put(None);
        assert!(clock.now() > day * 365);
    }
}
