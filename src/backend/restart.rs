//! How soon a dead target is started again, and when that is given up for a while. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{Backoff, CrashLoop};

/// What to do after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start again after this pause.
    Retry(Duration),
    /// A crash loop: refuse calls, and start one probe after this pause.
    GiveUp(Duration),
}

/// The memory of one target's deaths. Only young deaths count: a server that is killed now and then after
/// it was stable is not looping.
#[derive(Debug, Default)]
pub struct Restarts {
    young: VecDeque<Instant>,
    attempt: u32,
    probes: u32,
    looping: bool,
    misses: u32,
}

/// The longest pause before a server that cannot be reached is tried again: it may be back at any moment, and a try
/// costs it nothing.
const MISS_MOST: Duration = Duration::from_secs(1);

impl Restarts {
    /// The target died. `stable`: it had been ready for `stable-after`. `jitter` is a random number in 0..1.
    pub fn died(&mut self, now: Instant, stable: bool, jitter: f64, backoff: &Backoff, limit: &CrashLoop) -> Verdict {
        if stable {
            self.forgive();
            return Verdict::Retry(Duration::ZERO);
        }
        if self.looping {
            // The probe died too.
            self.probes = self.probes.saturating_add(1);
            return Verdict::GiveUp(doubled(limit.probe, self.probes, limit.probe_max));
        }
        self.young.push_back(now);
        while self
            .young
            .front()
            .is_some_and(|first| now.duration_since(*first) > limit.within)
        {
            self.young.pop_front();
        }
        if self.young.len() > usize::try_from(limit.deaths).unwrap_or(usize::MAX) {
            self.looping = true;
            self.probes = 0;
            return Verdict::GiveUp(limit.probe);
        }
        let ceiling = doubled(backoff.base, self.attempt, backoff.max);
        self.attempt = self.attempt.saturating_add(1);
        // Never at once, whatever is configured: a start that fails at once would be repeated without end.
        Verdict::Retry(
            ceiling
                .mul_f64(jitter.clamp(0.0, 1.0))
                .clamp(backoff.min.min(backoff.max), backoff.max)
                .max(Duration::from_millis(1)),
        )
    }

    /// The target could not be reached, which says nothing about its health: gives the pause before the next try.
    pub fn missed(&mut self, jitter: f64, backoff: &Backoff) -> Duration {
        let most = backoff.max.min(MISS_MOST);
        let ceiling = doubled(backoff.base, self.misses, most);
        self.misses = self.misses.saturating_add(1);
        ceiling
            .mul_f64(jitter.clamp(0.0, 1.0))
            .clamp(backoff.min.min(most), most)
            .max(Duration::from_millis(1))
    }

    /// How often in a row it could not be.
    pub fn misses(&self) -> u32 {
        self.misses
    }

    /// It can be reached.
    pub fn reached(&mut self) {
        self.misses = 0;
    }

    /// The target was stable, or the operator said so: start afresh.
    pub fn forgive(&mut self) {
        *self = Self::default();
    }
}

fn doubled(base: Duration, times: u32, most: Duration) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(times.min(31))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> (Backoff, CrashLoop) {
        (Backoff::default(), CrashLoop::default())
    }

    #[tokio::test(start_paused = true)]
    async fn young_deaths_back_off_and_then_loop_and_probes_double() {
        let (backoff, limit) = rules();
        let (mut restarts, now) = (Restarts::default(), Instant::now());
        let ms = |v| match v {
            Verdict::Retry(d) => d.as_millis(),
            Verdict::GiveUp(d) => 1_000_000 + d.as_millis(),
        };
        let got: Vec<_> = (0..8)
            .map(|_| ms(restarts.died(now, false, 1.0, &backoff, &limit)))
            .collect();
        assert_eq!(got, [200, 400, 800, 1600, 3200, 1_030_000, 1_060_000, 1_120_000]);
        assert_eq!(
            restarts.died(now, true, 1.0, &backoff, &limit),
            Verdict::Retry(Duration::ZERO)
        );
        assert_eq!(
            restarts.died(now, false, 0.0, &backoff, &limit),
            Verdict::Retry(backoff.min)
        );
    }

    #[test]
    fn what_is_out_of_reach_is_tried_every_second_for_ever() {
        let (backoff, _) = rules();
        let mut restarts = Restarts::default();
        let pauses = |restarts: &mut Restarts, n: usize| -> Vec<_> {
            (0..n).map(|_| restarts.missed(1.0, &backoff).as_millis()).collect()
        };
        assert_eq!(pauses(&mut restarts, 5), [200, 400, 800, 1000, 1000]);
        assert!(pauses(&mut restarts, 1000).iter().all(|pause| *pause == 1000));
        restarts.reached();
        assert_eq!(pauses(&mut restarts, 1), [200]);
        let long = Duration::from_secs(5);
        let slow = Backoff {
            min: long,
            base: long,
            max: long,
        };
        assert_eq!(restarts.missed(0.0, &slow), MISS_MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn deaths_that_lie_far_apart_are_no_loop() {
        let (backoff, limit) = rules();
        let mut restarts = Restarts::default();
        for _ in 0..50 {
            tokio::time::advance(Duration::from_secs(13)).await;
            assert!(matches!(
                restarts.died(Instant::now(), false, 0.5, &backoff, &limit),
                Verdict::Retry(_)
            ));
        }
    }
}
