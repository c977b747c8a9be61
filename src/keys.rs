//! The router's own key: made once, kept in a private file, so that what agents were given is known again after a
//! restart.

use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::aside::{Aside, write_private};
use crate::seal::{KEY_BYTES, Sealer};

/// Where the key is kept by default: `$XDG_STATE_HOME/pointsman/key`, else in `~/.local/state`.
fn default_path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".local/state")))?;
    Some(state.join("pointsman/key"))
}

/// The sealer under the key of that file, which is made where there is none. Without a usable file the key lives as
/// long as the router: agents then lose what they hold at its restart, and that is said.
pub fn sealer(path: Option<&Path>) -> Sealer {
    let kept = match path.map(Path::to_owned).or_else(default_path) {
        Some(path) => key(&path).map_err(|error| format!("{}: {error}", path.display())),
        None => Err("there is no home directory; set router.key-file".to_owned()),
    };
    let key = kept.unwrap_or_else(|why| {
        warn!("the router's key cannot be kept ({why}): request states and cursors end with this process");
        // Without randomness no state and no cursor is sealed; names of tasks are, under a key that is no secret.
        random().unwrap_or_default()
    });
    Sealer::new(&key)
}

fn random() -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    Ok(key)
}

/// Reads the key, or makes it. Two routers that start at once agree on one: the file is linked into place whole, and
/// whoever comes second reads it.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    let made = random()?;
    let aside = Aside::new(directory, "key")?;
    write_private(aside.path(), &made)?;
    let linked = aside.keep_as_first(path);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(path),
    }
}

fn read(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let bytes = std::fs::read(path)?;
    check_private(path)?;
    bytes.try_into().map_err(|_| {
        let why = format!("it does not hold {KEY_BYTES} bytes: remove it, and a new one is made");
        io::Error::new(io::ErrorKind::InvalidData, why)
    })
}

#[cfg(unix)]
fn check_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path)?.mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can read it: its mode must be 0600",
        ));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private(_: &Path) -> io::Result<()> {
    // A file in the user's profile is the user's.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/key");
        let made = key(&path).unwrap();
        assert_eq!(key(&path).unwrap(), made);
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing is left beside it");
    }

    #[test]
    #[cfg(unix)]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        key(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(key(&path).unwrap_err().to_string().contains("0600"));
        std::fs::write(&path, b"short").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(key(&path).unwrap_err().to_string().contains("32 bytes"));
    }
}
