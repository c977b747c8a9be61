//! Young builds, and what was there before each: a build that trips its breaker while it is young is taken back. Pure;
//! the clock is an argument.
//!
//! ```text
//!            replaces a good one               young is over
//!   nothing ---------------------> on probation -----------> nothing
//!      ^                              |
//!      '------- tripped: the one before is back, the new one barred as long as that serves
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What is remembered of every plugin; one earlier build at most. `B` is a build.
pub(super) struct Probation<B> {
    young: Duration,
    before: BTreeMap<String, Before<B>>,
    barred: BTreeMap<String, Barred<B>>,
}

struct Before<B> {
    build: B,
    since: Instant,
}

/// A build that was taken back.
struct Barred<B> {
    build: B,
    instead: B,
    why: String,
}

impl<B: Clone> Probation<B> {
    /// Nothing is young yet; a build is for so long.
    pub(super) fn new(young: Duration) -> Self {
        Self {
            young,
            before: BTreeMap::new(),
            barred: BTreeMap::new(),
        }
    }

    /// A build took the place of `old`. Where that was no good, what was there before it is still what was good last.
    pub(super) fn replaced(&mut self, name: &str, old: B, was_good: bool, now: Instant) {
        let before = match self.before.remove(name) {
            _ if was_good => Some(old),
            Some(before) if now < before.since + self.young => Some(before.build),
            _ => None,
        };
        if let Some(build) = before {
            self.before.insert(name.to_owned(), Before { build, since: now });
        }
    }

    /// The build of a plugin tripped its breaker. The one to put back in its place, if it is young.
    pub(super) fn tripped(&mut self, name: &str, now: Instant) -> Option<B> {
        let before = self.before.remove(name)?;
        (now < before.since + self.young).then_some(before.build)
    }

    /// `build` was taken back, and `instead` serves.
    pub(super) fn bar(&mut self, name: &str, build: B, instead: B, why: String) {
        self.before.remove(name);
        self.barred.insert(name.to_owned(), Barred { build, instead, why });
    }

    /// Why a build that is `like` one is not to be taken, if it was taken back.
    pub(super) fn bars(&self, name: &str, like: impl Fn(&B) -> bool) -> Option<&str> {
        let barred = self.barred.get(name)?;
        like(&barred.build).then_some(&*barred.why)
    }

    /// Other builds are in force: what is about plugins that are gone, or serve with yet another build, is forgotten.
    pub(super) fn keep(&mut self, serves: impl Fn(&str, Option<&B>) -> bool) {
        self.before.retain(|name, _| serves(name, None));
        self.barred.retain(|name, barred| serves(name, Some(&barred.instead)));
    }

    /// When the next one is young no more.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.before.values().map(|before| before.since + self.young).min()
    }

    /// Lets go of what is not needed any more.
    pub(super) fn end(&mut self, now: Instant) {
        let young = self.young;
        self.before.retain(|_, before| now < before.since + young);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Duration = Duration::from_secs(300);
    const S: Duration = Duration::from_secs(1);

    fn replaced(was_good: bool) -> (Probation<u32>, Instant) {
        let (mut all, now) = (Probation::new(YOUNG), Instant::now());
        all.replaced("p", 1, was_good, now);
        (all, now)
    }

    #[test]
    fn a_young_build_is_taken_back_once() {
        let (mut all, now) = replaced(true);
        assert_eq!(all.tripped("q", now), None);
        assert_eq!(all.tripped("p", now + YOUNG - S), Some(1));
        assert_eq!(all.tripped("p", now + YOUNG - S), None);
    }

    #[test]
    fn an_old_build_stays() {
        let (mut all, now) = replaced(true);
        assert_eq!(all.next_end(), Some(now + YOUNG));
        assert_eq!(all.tripped("p", now + YOUNG), None);
        let (mut all, now) = replaced(true);
        all.end(now + YOUNG - S);
        assert!(all.next_end().is_some());
        all.end(now + YOUNG);
        assert_eq!(all.next_end(), None);
    }

    #[test]
    fn nothing_is_put_back_that_was_no_good() {
        let (mut all, now) = replaced(false);
        assert_eq!(all.tripped("p", now), None);
        // What replaces a build that trips goes back to the one before that.
        let (mut all, now) = replaced(true);
        all.replaced("p", 2, false, now + S);
        assert_eq!(all.tripped("p", now + YOUNG), Some(1));
        let (mut all, now) = replaced(true);
        all.replaced("p", 2, true, now + S);
        assert_eq!(all.tripped("p", now + 2 * S), Some(2));
    }

    #[test]
    fn what_was_taken_back_is_barred_while_the_other_serves() {
        let (mut all, _) = replaced(true);
        all.bar("p", 2, 1, "it fails".to_owned());
        assert_eq!(all.next_end(), None);
        assert_eq!(all.bars("p", |build| *build == 2), Some("it fails"));
        assert_eq!(all.bars("p", |build| *build == 3), None);
        assert_eq!(all.bars("q", |_| true), None);
        all.keep(|name, instead| name == "p" && instead.is_none_or(|build| *build == 1));
        assert!(all.bars("p", |_| true).is_some());
        all.keep(|_, instead| instead.is_none_or(|build| *build == 3));
        assert_eq!(all.bars("p", |_| true), None);
    }

    #[test]
    fn zero_takes_nothing_back() {
        let (mut all, now) = (Probation::new(Duration::ZERO), Instant::now());
        all.replaced("p", 1, true, now);
        assert_eq!(all.tripped("p", now), None);
    }
}
