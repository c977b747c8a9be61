//! The breaker: faults in a row switch a plugin off for a while. Pure; the clock is an argument.
//!
//! ```text
//!            fault n of n                      pause over
//!   Closed ---------------> Off until t ---------------------> Trying
//!     ^                        ^          (by itself)          |   |
//!     |                        '--- fault: pause doubles ------'   |
//!     '----------------------------- success ----------------------'
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Counts faults in a row.
#[derive(Debug)]
pub(super) struct Breaker {
    limit: u32,
    in_a_row: u32,
    off: Option<Off>,
}

#[derive(Debug)]
struct Off {
    until: Instant,
    pause: Duration,
}

impl Breaker {
    /// Closed; trips at `limit` faults in a row. 0 never trips.
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            in_a_row: 0,
            off: None,
        }
    }

    /// How long the plugin stays switched off; `None` where it may be called.
    pub(super) fn off_for(&self, now: Instant) -> Option<Duration> {
        self.off
            .as_ref()
            .map(|off| off.until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// A call went well.
    pub(super) fn success(&mut self) {
        self.in_a_row = 0;
        self.off = None;
    }

    /// A call was a fault. True where this one switched the plugin off.
    pub(super) fn fault(&mut self, now: Instant) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let pause = match &self.off {
            // Calls that were under way when it tripped say nothing new.
            Some(off) if now < off.until => return false,
            Some(off) => (off.pause * 2).min(LONGEST_PAUSE),
            None if self.limit > 0 && self.in_a_row >= self.limit => FIRST_PAUSE,
            None => return false,
        };
        self.off = Some(Off {
            until: now + pause,
            pause,
        });
        true
    }

    /// `closed`, `off` or `trying`, for status.
    pub(super) fn state(&self, now: Instant) -> &'static str {
        match (&self.off, self.off_for(now)) {
            (None, _) => "closed",
            (Some(_), Some(_)) => "off",
            (Some(_), None) => "trying",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn faults_in_a_row_switch_it_off_and_pauses_double() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(3);
        assert!(!breaker.fault(now) && !breaker.fault(now));
        assert_eq!(breaker.state(now), "closed");
        assert!(breaker.fault(now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = breaker.off_for(now).unwrap();
            assert_eq!(breaker.state(now), "off");
            assert!(!breaker.fault(now), "a late fault must not prolong the pause");
            pauses.push(pause.as_secs());
            now += pause;
            assert_eq!(breaker.off_for(now), None);
            assert_eq!(breaker.state(now), "trying");
            assert!(breaker.fault(now), "one fault is enough while trying");
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_success_forgets_everything() {
        let now = Instant::now();
        let mut breaker = Breaker::new(2);
        breaker.fault(now);
        breaker.success();
        assert!(!breaker.fault(now));
        assert!(breaker.fault(now));
        breaker.success();
        assert_eq!(breaker.state(now + MS), "closed");
        assert!(!breaker.fault(now + MS));
        assert!(breaker.fault(now + MS));
        assert_eq!(breaker.off_for(now + MS), Some(FIRST_PAUSE));
    }

    #[test]
    fn zero_never_trips() {
        let mut breaker = Breaker::new(0);
        assert!((0..1000).all(|_| !breaker.fault(Instant::now())));
    }
}
