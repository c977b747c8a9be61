//! Tells that files may have changed, soon after they have come to rest.
//!
//! What is sent are **hints**: read the file and compare its hash before doing anything. Events of the system make hints
//! quick; a slow look at every file makes them sure where there are no events: network file systems, bind mounts,
//! directories that do not exist yet, systems whose watches are used up.
//!
//! Watched are the *directories* of the files, and those of every symbolic link on the way to them, because editors put a
//! new file in the place of the old one, and Kubernetes turns a link to a new directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

mod inbox;
mod look;
mod rest;
#[cfg(test)]
mod tests;

use inbox::{Inbox, Told};
pub use look::Look;
use look::{Identity, Places, identify};
use rest::{QUIET, Rest};

/// How often all files are looked at without any event.
const POLL: Duration = Duration::from_secs(2);

/// Files that may have changed, by the names they were given to [`Watcher::set`].
pub type Hint = BTreeSet<PathBuf>;
type Looks = BTreeMap<PathBuf, Look>;

/// What is to be watched.
#[derive(Debug, Default)]
struct Wanted {
    looks: Looks,
    single: Hint,
}

/// Watches a set of files. Dropping it ends the watching and closes the channel of hints.
#[derive(Debug)]
pub struct Watcher {
    files: watch::Sender<Arc<Wanted>>,
}

impl Watcher {
    /// A watcher of nothing yet, and where its hints arrive. Hints nobody takes are merged; the last change is never lost.
    ///
    /// Fails only outside a tokio runtime. Without events of the system it works all the same, more slowly.
    pub fn new() -> io::Result<(Self, mpsc::Receiver<Hint>)> {
        let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        let (files, wanted) = watch::channel(Arc::default());
        let (hints, receiver) = mpsc::channel(1);
        let inbox = Arc::new(Inbox::default());
        let scanner = Scanner::new(inbox.clone());
        runtime.spawn(Task::new(inbox).run(wanted, hints, scanner));
        Ok((Self { files }, receiver))
    }

    /// Watches these files from now on, and no others. A file need not exist, nor its directory. Those in `single` stand
    /// for themselves: nothing else changes along with them, so they are told as soon as they are whole.
    ///
    /// Call it *before* reading the files: every change after this call is told, one before it is not.
    pub fn set(&mut self, files: BTreeSet<PathBuf>, single: Hint) {
        let looks = files.into_iter().map(|file| (file.clone(), Look::at(&file))).collect();
        self.files.send_replace(Arc::new(Wanted { looks, single }));
    }
}

/// What an event says about the files at its paths.
fn told(kind: EventKind) -> Told {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Told::Whole,
        // Both ends of a rename at once come after each of them.
        EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both)) => Told::Touched,
        _ => Told::Open,
    }
}

/// Called on the thread of `notify`.
fn put(inbox: &Inbox, event: notify::Result<Event>) {
    let Ok(event) = event else {
        return inbox.put_noise();
    };
    // That somebody reads a file, as we do after a hint, is no news.
    if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
        return;
    }
    inbox.put(
        &event.paths,
        told(event.kind),
        event.kind.is_remove(),
        event.need_rescan(),
    );
}

/// Looks at files and keeps the system's watches where they belong. It blocks, so it runs on a blocking thread.
struct Scanner {
    inbox: Arc<Inbox>,
    system: Option<RecommendedWatcher>,
    seen: Looks,
    watched: BTreeMap<PathBuf, Identity>,
    complained: bool,
}

impl Scanner {
    fn new(inbox: Arc<Inbox>) -> Self {
        let events = inbox.clone();
        let system = notify::recommended_watcher(move |event| put(&events, event));
        let mut scanner = Self {
            inbox,
            system: None,
            seen: Looks::new(),
            watched: BTreeMap::new(),
            complained: false,
        };
        match system {
            Ok(system) => scanner.system = Some(system),
            Err(error) => scanner.complain(&error),
        }
        scanner
    }

    /// Takes new files as `set` saw them, and keeps what is known of the others: that is older, so it tells more.
    fn set(&mut self, looks: &Looks) {
        let mut seen = std::mem::take(&mut self.seen);
        self.seen = looks
            .iter()
            .map(|(file, look)| (file.clone(), seen.remove(file).unwrap_or_else(|| look.clone())))
            .collect();
    }

    /// Puts the watches right, then looks: what changes after the look is an event. Gives the files that look different.
    fn scan(mut self) -> (Self, BTreeSet<PathBuf>) {
        let mut names: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        let mut directories = BTreeSet::new();
        for file in self.seen.keys() {
            let places = Places::of(file);
            directories.extend(places.directories);
            for name in places.names {
                names.entry(name).or_default().insert(file.clone());
            }
        }
        {
            let mut stir = self.inbox.lock();
            stir.names = names;
            if std::mem::take(&mut stir.removed) {
                self.watched.clear();
            }
        }
        self.watch(directories);
        let mut changed = BTreeSet::new();
        for (file, seen) in &mut self.seen {
            let now = Look::at(file);
            if *seen != now {
                *seen = now;
                changed.insert(file.clone());
            }
        }
        (self, changed)
    }

    fn watch(&mut self, directories: BTreeSet<PathBuf>) {
        let Some(system) = &mut self.system else { return };
        self.watched.retain(|directory, _| {
            let wanted = directories.contains(directory);
            if !wanted {
                // It may have been removed, and its watch with it.
                let _ = system.unwatch(directory);
            }
            wanted
        });
        let mut failed = None;
        for directory in directories {
            let Some(identity) = identify(&directory) else { continue };
            if self.watched.get(&directory) == Some(&identity) {
                continue;
            }
            // Another directory may be in its place: the old watch would still be on the old one.
            let _ = system.unwatch(&directory);
            match system.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(directory, identity)),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            self.complain(&error);
        }
    }

    fn complain(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(%error, "the system does not tell of changed files; they are looked at every {POLL:?}");
        }
    }
}

/// Gathers what happened until it has come to rest.
struct Task {
    inbox: Arc<Inbox>,
    /// Changed, not at rest yet.
    rest: Rest,
    /// At rest, to be sent.
    ready: BTreeSet<PathBuf>,
    scan_at: Instant,
}

impl Task {
    fn new(inbox: Arc<Inbox>) -> Self {
        let now = Instant::now();
        Self {
            inbox,
            rest: Rest::new(now),
            ready: BTreeSet::new(),
            scan_at: now + POLL,
        }
    }

    async fn run(mut self, mut wanted: watch::Receiver<Arc<Wanted>>, hints: mpsc::Sender<Hint>, mut scanner: Scanner) {
        loop {
            tokio::select! {
                // What was told before counts before the clock does.
                biased;
                () = hints.closed() => return,
                set = wanted.changed() => {
                    if set.is_err() {
                        return;
                    }
                    let wanted = wanted.borrow_and_update().clone();
                    scanner.set(&wanted.looks);
                    self.rest.set(wanted.single.clone(), |file| wanted.looks.contains_key(file));
                    self.ready.retain(|file| wanted.looks.contains_key(file));
                    self.scan_at = Instant::now();
                }
                permit = hints.reserve(), if !self.ready.is_empty() => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut self.ready)),
                    Err(_) => return,
                },
                () = self.inbox.stirred.notified() => {
                    let (named, noise) = self.inbox.take();
                    let now = Instant::now();
                    self.rest.stir(named, now);
                    if noise {
                        self.scan_at = self.scan_at.min(now + QUIET);
                    }
                }
                () = sleep_until(self.wake_at()) => {
                    let due = Instant::now();
                    let Ok((back, mut changed)) = tokio::task::spawn_blocking(|| scanner.scan()).await else { return };
                    scanner = back;
                    self.scan_at = Instant::now() + POLL;
                    let quiet = self.rest.are_quiet(due);
                    self.ready.append(&mut self.rest.take(due));
                    if quiet {
                        // What no event told of is at rest like what they did.
                        self.ready.append(&mut changed);
                    } else {
                        changed.retain(|file| !self.ready.contains(file));
                        self.rest.found(changed, Instant::now());
                    }
                }
            }
        }
    }

    fn wake_at(&self) -> Instant {
        self.rest.due_at().map_or(self.scan_at, |due| due.min(self.scan_at))
    }
}
