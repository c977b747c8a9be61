//! Where compiled components are kept. What lies there is machine code that the router runs: the folder must be
//! the user's own, and closed to everybody else.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::aside::{self, Aside};

/// Compiled components kept at most; the longest unused ones go.
const KEPT: usize = 64;

/// How old the scratch of somebody who is still at it can be. It is that of seconds.
const AT_IT: Duration = Duration::from_secs(24 * 60 * 60);

/// A private folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens `folder`, or makes it. Refuses one that others own or may enter.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        aside::make_private(folder)?;
        private(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Opens the configured folder, or the user's own one. Where that cannot be used nobody asked for it: a private
    /// one under the folder for temporary files does its job until the machine starts again.
    pub(super) fn open_for(configured: Option<&Path>) -> Result<Self, (PathBuf, io::Error)> {
        if let Some(folder) = configured {
            return Self::open(folder).map_err(|e| (folder.to_owned(), with_advice(e)));
        }
        Self::open_either(Self::default_folder(), Self::temporary_folder())
    }

    fn open_either(usual: PathBuf, other: PathBuf) -> Result<Self, (PathBuf, io::Error)> {
        let error = match Self::open(&usual).and_then(|cache| cache.check_writable().map(|()| cache)) {
            Ok(cache) => return Ok(cache),
            Err(error) => error,
        };
        tracing::warn!(
            "compiled components are kept in {} for now, for {} cannot be used: {error}",
            other.display(),
            usual.display()
        );
        Self::open(&other).map_err(|e| (other, with_advice(e)))
    }

    /// A folder on a disk that is read only opens as well.
    fn check_writable(&self) -> io::Result<()> {
        aside::write_private(self.scratch("probe")?.path(), b"")
    }

    /// A folder that only this user can have made, or it is refused.
    fn temporary_folder() -> PathBuf {
        std::env::temp_dir().join(format!("pointsman-components-{}", user()))
    }

    /// The user's cache folder for this program.
    fn default_folder() -> PathBuf {
        let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let base = if cfg!(windows) {
            variable("LOCALAPPDATA")
        } else if cfg!(target_os = "macos") {
            variable("HOME").map(|home| home.join("Library/Caches"))
        } else {
            variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))
        };
        match base {
            Some(base) => base.join("pointsman").join("components"),
            // No home.
            None => Self::temporary_folder(),
        }
    }

    /// Where the compiled form of a component stands, there or not.
    pub(super) fn entry(&self, digest: &str, compatibility: u64) -> PathBuf {
        self.folder.join(format!("{digest}-{compatibility:016x}.cwasm"))
    }

    /// A new name in the folder.
    pub(super) fn scratch(&self, ending: &str) -> io::Result<Aside> {
        Aside::new(&self.folder, ending)
    }

    /// Marks an entry as used, so that pruning spares it.
    pub(super) fn touch(path: &Path) {
        // A stale date only makes it go earlier.
        let _ = File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Removes all but the latest entries, and what was left by those who did not end well. A file in use stays usable:
    /// its mapping outlives its name.
    pub(super) fn prune(&self) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                remove_if_left(&entry);
            } else if path.extension().is_some_and(|e| e == "cwasm") {
                entries.push((entry.metadata()?.modified()?, path));
            }
        }
        entries.sort();
        let surplus = entries.len().saturating_sub(KEPT);
        for (_, path) in entries.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Removes scratch that nobody is at any more.
fn remove_if_left(scratch: &fs::DirEntry) {
    let age = scratch
        .metadata()
        .and_then(|data| data.modified())
        .map(|at| at.elapsed());
    // Whoever made it removes it at the same time, maybe; and one that stays does no harm.
    if age.is_ok_and(|age| age.is_ok_and(|age| age > AT_IT)) {
        let _ = fs::remove_file(scratch.path());
    }
}

/// What to do about a folder that cannot be used.
pub(super) fn with_advice(error: io::Error) -> io::Error {
    let words = format!("{error}; set `policies.cache` to a folder of your own that can be written");
    io::Error::new(error.kind(), words)
}

#[cfg(unix)]
fn private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let data = fs::symlink_metadata(folder)?;
    let refuse = |why: &str| {
        Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{}: {why}", folder.display()),
        ))
    };
    if !data.is_dir() {
        return refuse("is not a folder");
    }
    if data.uid() != user() {
        return refuse("belongs to another user");
    }
    if data.mode() & 0o077 != 0 {
        return refuse("is open to other users; its mode must be 0700");
    }
    Ok(())
}

/// The user's profile is private on Windows.
#[cfg(not(unix))]
fn private(folder: &Path) -> io::Result<()> {
    fs::read_dir(folder).map(drop)
}

#[cfg(unix)]
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn user() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_folder_that_others_may_enter_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a").join("b");
        Cache::open(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        Cache::open(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(Cache::open(&folder).unwrap_err().to_string().contains("0700"));
        let link = home.path().join("link");
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        assert!(Cache::open(&link).unwrap_err().to_string().contains("not a folder"));
    }

    #[test]
    fn an_unusable_default_gives_way_and_an_unusable_choice_is_told() {
        let home = tempfile::tempdir().unwrap();
        let (file, other) = (home.path().join("file"), home.path().join("other"));
        fs::write(&file, "").unwrap();
        let cache = Cache::open_either(file.join("components"), other.clone()).unwrap();
        assert_eq!(cache.folder, other);
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0, "nothing is left of the probe");
        let usual = home.path().join("usual");
        assert_eq!(Cache::open_either(usual.clone(), other).unwrap().folder, usual);
        let (folder, error) = Cache::open_for(Some(&file.join("components"))).unwrap_err();
        assert_eq!(folder, file.join("components"));
        assert!(error.to_string().contains("set `policies.cache`"), "{error}");
    }

    fn date(path: &Path, at: SystemTime) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(at).unwrap();
    }

    #[test]
    fn what_was_left_lying_goes_and_what_somebody_is_at_stays() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(&home.path().join("c")).unwrap();
        let [old, new] = ["wasm", "cwasm"].map(|ending| cache.scratch(ending).unwrap());
        for (scratch, hours) in [(&old, 25), (&new, 23)] {
            aside::write_private(scratch.path(), b"x").unwrap();
            date(scratch.path(), SystemTime::now() - Duration::from_secs(hours * 3600));
        }
        cache.prune().unwrap();
        assert!(!old.path().exists() && new.path().exists());
    }

    #[test]
    fn old_entries_go() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::open(&home.path().join("c")).unwrap();
        for n in 0..KEPT as u64 + 3 {
            let path = cache.entry("d", n);
            aside::write_private(&path, b"x").unwrap();
            date(&path, SystemTime::UNIX_EPOCH + Duration::from_secs(n));
        }
        Cache::touch(&cache.entry("d", 0));
        cache.prune().unwrap();
        assert!(cache.entry("d", 0).exists() && !cache.entry("d", 1).exists() && !cache.entry("d", 3).exists());
        assert!(cache.entry("d", 4).exists());
    }
}
