//! What a file looks like from outside, and where events about it happen.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// More links than this on the way to one file are a circle.
const MAX_LINKS: usize = 16;

/// What tells one state of a file from another without reading it; the same for all states of "not there".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look(Option<Found>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// Where the links lead.
    real: PathBuf,
    len: u64,
    modified: Option<SystemTime>,
    identity: Identity,
    /// Unix counts changes of a file apart from what `touch` can set.
    changed: (i64, i64),
}

/// What tells a file from another one of the same name.
pub(super) type Identity = (u64, u64);

impl Look {
    /// What the file at `path` looks like now.
    pub fn at(path: &Path) -> Self {
        let found = || {
            let (metadata, real) = (fs::metadata(path).ok()?, fs::canonicalize(path).ok()?);
            let (identity, changed) = (identity(&metadata), changed(&metadata));
            Some(Found {
                real,
                len: metadata.len(),
                modified: metadata.modified().ok(),
                identity,
                changed,
            })
        };
        Self(found())
    }
}

/// Which directory this is, if it is one.
pub(super) fn identify(directory: &Path) -> Option<Identity> {
    fs::metadata(directory)
        .ok()
        .filter(Metadata::is_dir)
        .map(|metadata| identity(&metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(unix)]
fn changed(metadata: &Metadata) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(windows)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::windows::fs::MetadataExt;
    (metadata.creation_time(), 0)
}

#[cfg(windows)]
fn changed(_: &Metadata) -> (i64, i64) {
    (0, 0)
}

/// Where events about a file happen.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Existing directories, free of links.
    pub(super) directories: BTreeSet<PathBuf>,
    /// The names events there give to the file and to the links on the way to it.
    pub(super) names: BTreeSet<PathBuf>,
}

impl Places {
    pub(super) fn of(file: &Path) -> Self {
        let mut places = Self::default();
        let Ok(mut path) = std::path::absolute(file) else {
            return places;
        };
        for _ in 0..MAX_LINKS {
            places.add(&path);
            let Some((link, target)) = first_link(&path) else { break };
            places.add(&link);
            let below = path.strip_prefix(&link).unwrap_or(Path::new(""));
            let target = link.parent().unwrap_or(&link).join(target);
            // Joining an empty path would append a separator.
            path = if below.as_os_str().is_empty() {
                target
            } else {
                target.join(below)
            };
        }
        places
    }

    /// The directory `path` is in, or, until there is one, the nearest above: that is where it would appear.
    fn add(&mut self, path: &Path) {
        let Some(parent) = path.parent() else { return };
        if let (Ok(real), Some(name)) = (fs::canonicalize(parent), path.file_name()) {
            self.names.insert(real.join(name));
        }
        let existing = parent
            .ancestors()
            .find_map(|above| fs::canonicalize(above).ok().filter(|real| real.is_dir()));
        self.directories.extend(existing);
    }
}

/// The topmost part of `path` that is a symbolic link, and where it points.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut parts: Vec<&Path> = path.ancestors().collect();
    parts.reverse();
    parts
        .into_iter()
        .find_map(|part| Some((part.to_owned(), fs::read_link(part).ok()?)))
}
