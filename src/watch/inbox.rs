//! What the system tells of files, kept until somebody looks. Bounded by the number of files, however much happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};
use tokio::sync::Notify;

/// What an event says about a file. The latest one that says more than `Touched` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Something about it that says nothing about its bytes.
    Touched,
    /// It is being written, or is gone.
    Open,
    /// Nobody writes to it any more: it was closed, or put in its place by a rename.
    Whole,
}

impl Told {
    fn of(kind: EventKind) -> Self {
        match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Self::Whole,
            // Both ends of a rename at once come after each of them.
            EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both)) => Self::Touched,
            _ => Self::Open,
        }
    }
}

/// Files by what was told of them last.
pub(super) type Named = BTreeMap<PathBuf, Told>;

/// What the system has told since the task last looked.
#[derive(Default)]
pub(super) struct Inbox {
    stir: Mutex<Stir>,
    pub(super) stirred: Notify,
}

#[derive(Default)]
pub(super) struct Stir {
    /// Which files an event at a path is about.
    pub(super) names: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// Files that were named by an event.
    named: Named,
    /// Something else happened in a watched directory.
    noise: bool,
    /// Something was removed there, maybe a watched directory, whose watch is gone with it.
    pub(super) removed: bool,
}

impl Inbox {
    pub(super) fn lock(&self) -> MutexGuard<'_, Stir> {
        self.stir.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called on the thread of `notify`: must not wait.
    pub(super) fn put(&self, event: notify::Result<Event>) {
        let Ok(event) = event else {
            self.lock().noise = true;
            return self.stirred.notify_one();
        };
        // That somebody reads a file, as we do after a hint, is no news.
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
            return;
        }
        let stir = &mut *self.lock();
        if event.need_rescan() {
            let all = stir.names.values().flatten();
            stir.named.extend(all.map(|file| (file.clone(), Told::Open)));
            stir.removed = true;
        }
        let told = Told::of(event.kind);
        for path in &event.paths {
            match stir.names.get(path) {
                Some(files) => {
                    for file in files {
                        let known = stir.named.entry(file.clone()).or_insert(told);
                        if told != Told::Touched {
                            *known = told;
                        }
                    }
                }
                None => {
                    stir.noise = true;
                    stir.removed |= event.kind.is_remove();
                }
            }
        }
        self.stirred.notify_one();
    }

    /// The files named since the last call, and whether there was noise.
    pub(super) fn take(&self) -> (Named, bool) {
        let mut stir = self.lock();
        (std::mem::take(&mut stir.named), std::mem::take(&mut stir.noise))
    }
}
