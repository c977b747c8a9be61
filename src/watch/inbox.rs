//! What the system tells of files, kept until somebody looks. Bounded by the number of files, however much happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// This happened at some paths. `lost`: and something else, of which nobody knows where. Must not wait.
    pub(super) fn put(&self, paths: &[PathBuf], told: Told, removed: bool, lost: bool) {
        let stir = &mut *self.lock();
        if lost {
            let all = stir.names.values().flatten();
            stir.named.extend(all.map(|file| (file.clone(), Told::Open)));
            stir.removed = true;
        }
        for path in paths {
            let Some(files) = stir.names.get(path) else {
                stir.noise = true;
                stir.removed |= removed;
                continue;
            };
            for file in files {
                let known = stir.named.entry(file.clone()).or_insert(told);
                if told != Told::Touched {
                    *known = told;
                }
            }
        }
        self.stirred.notify_one();
    }

    /// Something went wrong: everything is to be looked at.
    pub(super) fn put_noise(&self) {
        self.lock().noise = true;
        self.stirred.notify_one();
    }

    /// The files named since the last call, and whether there was noise.
    pub(super) fn take(&self) -> (Named, bool) {
        let mut stir = self.lock();
        (std::mem::take(&mut stir.named), std::mem::take(&mut stir.noise))
    }
}
