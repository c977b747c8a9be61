//! Files on their way to rest after a change. Pure; the clock is an argument.
//!
//! Most are at rest together, when nothing happened to any of them for a while: an edit may be of several. One that
//! stands for itself is at rest as soon as whoever wrote it is done.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::Hint;
use super::inbox::{Named, Told};

/// A change is told when nothing happened to its file for so long...
pub(super) const QUIET: Duration = Duration::from_millis(150);
/// ...and at the latest so long after the first event...
pub(super) const AT_MOST: Duration = Duration::from_secs(1);
/// ...or for so long, where the file stands for itself and is whole; and then as late as the others at most.
const WHOLE: Duration = Duration::from_millis(10);

/// What changed and is not at rest yet.
pub(super) struct Rest {
    /// Files that stand for themselves.
    single: Hint,
    dirty: BTreeSet<PathBuf>,
    quiet_at: Instant,
    latest_at: Instant,
    whole: BTreeSet<PathBuf>,
    whole_at: Instant,
    whole_latest_at: Instant,
}

impl Rest {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            single: Hint::new(),
            dirty: BTreeSet::new(),
            quiet_at: now,
            latest_at: now,
            whole: BTreeSet::new(),
            whole_at: now,
            whole_latest_at: now,
        }
    }

    /// Other files are watched: only those for which `is_watched` says so.
    pub(super) fn set(&mut self, single: Hint, is_watched: impl Fn(&PathBuf) -> bool) {
        self.dirty.retain(&is_watched);
        self.whole.retain(&is_watched);
        self.single = single;
    }

    /// Something happened to these.
    pub(super) fn stir(&mut self, files: Named, now: Instant) {
        for (file, told) in files {
            let stays = told == Told::Touched && self.whole.contains(&file);
            if stays || (told == Told::Whole && self.single.contains(&file)) {
                self.dirty.remove(&file);
                // Whoever touches one again and again holds up none.
                if self.whole.is_empty() {
                    self.whole_latest_at = now + QUIET;
                }
                self.whole.insert(file);
                self.whole_at = (now + WHOLE).min(self.whole_latest_at);
                continue;
            }
            self.whole.remove(&file);
            if self.dirty.is_empty() {
                self.latest_at = now + AT_MOST;
            }
            self.quiet_at = now + QUIET;
            self.dirty.insert(file);
        }
    }

    /// These look different, and no event said so.
    pub(super) fn found(&mut self, files: BTreeSet<PathBuf>, now: Instant) {
        let new = files
            .into_iter()
            .filter(|file| !self.dirty.contains(file) && !self.whole.contains(file));
        let named = new.map(|file| (file, Told::Open)).collect();
        self.stir(named, now);
    }

    /// When the next ones are at rest.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let dirty = (!self.dirty.is_empty()).then(|| self.quiet_at.min(self.latest_at));
        let whole = (!self.whole.is_empty()).then_some(self.whole_at);
        dirty.into_iter().chain(whole).min()
    }

    /// Whether some of those that rest together are.
    pub(super) fn are_quiet(&self, now: Instant) -> bool {
        !self.dirty.is_empty() && self.quiet_at.min(self.latest_at) <= now
    }

    /// Those that are at rest.
    pub(super) fn take(&mut self, now: Instant) -> Hint {
        let mut ready = Hint::new();
        if self.are_quiet(now) {
            ready.append(&mut self.dirty);
        }
        if self.whole_at <= now {
            ready.append(&mut self.whole);
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn named(files: &[(&str, Told)]) -> Named {
        files.iter().map(|(file, told)| (file.into(), *told)).collect()
    }

    fn hint(files: &[&str]) -> Hint {
        files.iter().map(PathBuf::from).collect()
    }

    /// `single` stands for itself; nothing has happened yet.
    fn rest() -> (Rest, Instant) {
        let now = Instant::now();
        let mut rest = Rest::new(now);
        rest.set(hint(&["single"]), |_| true);
        (rest, now)
    }

    #[test]
    fn files_rest_together_and_not_for_ever() {
        let (mut rest, now) = rest();
        assert_eq!(rest.due_at(), None);
        rest.stir(named(&[("a", Told::Whole)]), now);
        rest.stir(named(&[("b", Told::Open)]), now + 100 * MS);
        assert_eq!(rest.take(now + 249 * MS), hint(&[]));
        assert_eq!(rest.due_at(), Some(now + 250 * MS));
        assert_eq!(rest.take(now + 250 * MS), hint(&["a", "b"]));
        for n in 0..100 {
            rest.stir(named(&[("a", Told::Open)]), now + n * 100 * MS);
        }
        assert_eq!(rest.due_at(), Some(now + AT_MOST));
    }

    #[test]
    fn one_that_stands_for_itself_is_told_as_soon_as_it_is_whole() {
        let (mut rest, now) = rest();
        rest.stir(named(&[("single", Told::Open), ("a", Told::Whole)]), now);
        assert_eq!(rest.due_at(), Some(now + QUIET));
        rest.stir(named(&[("single", Told::Whole)]), now + MS);
        // Its date or its mode is no reason to wait for more.
        rest.stir(named(&[("single", Told::Touched)]), now + 2 * MS);
        assert_eq!(rest.due_at(), Some(now + 2 * MS + WHOLE));
        assert_eq!(rest.take(now + 2 * MS + WHOLE), hint(&["single"]));
        assert_eq!(rest.take(now + QUIET), hint(&["a"]));
        for n in 0..100 {
            rest.stir(named(&[("single", Told::Whole)]), now + n * 5 * MS);
        }
        assert_eq!(rest.due_at(), Some(now + QUIET));
        assert_eq!(rest.take(now + QUIET), hint(&["single"]));
        // Opened again before that, it is not.
        rest.stir(named(&[("single", Told::Whole)]), now);
        rest.stir(named(&[("single", Told::Open)]), now + MS);
        assert_eq!(rest.due_at(), Some(now + MS + QUIET));
    }

    #[test]
    fn what_is_not_watched_any_more_is_forgotten_and_what_is_known_is_not_found() {
        let (mut rest, now) = rest();
        rest.stir(
            named(&[("single", Told::Whole), ("a", Told::Open), ("b", Told::Open)]),
            now,
        );
        rest.found(hint(&["single", "a", "c"]), now + 100 * MS);
        rest.set(hint(&[]), |file| file != &PathBuf::from("a"));
        assert_eq!(rest.take(now + WHOLE), hint(&["single"]));
        assert_eq!(rest.take(now + 250 * MS), hint(&["b", "c"]));
    }
}
