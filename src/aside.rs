//! Files that come into being whole: written aside under a name that nobody can foresee, and renamed into their place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A new name in a folder; whatever is there is removed when this is dropped, unless it was kept.
#[derive(Debug)]
pub struct Aside {
    path: PathBuf,
}

impl Aside {
    /// A name with this ending, hidden. Nothing is there yet.
    pub fn new(folder: &Path, ending: &str) -> io::Result<Self> {
        // Not to be guessed: in a folder that others can write to, one of them would put a link there.
        let mut unique = [0; 8];
        getrandom::fill(&mut unique).map_err(io::Error::other)?;
        let unique = u64::from_ne_bytes(unique);
        Ok(Self {
            path: folder.join(format!(".{unique:016x}.{ending}")),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in its place, at once and whole, also for whoever comes after a loss of power: the name does not get
    /// to the disk before the bytes. Whether it gets there at all makes no difference, for what was there before is whole.
    pub fn keep_as(self, place: &Path) -> io::Result<()> {
        self.sync()?;
        fs::rename(&self.path, place)
    }

    /// The same where nothing is: whoever was there first stays, and this is an error.
    pub fn keep_as_first(self, place: &Path) -> io::Result<()> {
        self.sync()?;
        fs::hard_link(&self.path, place)
    }

    fn sync(&self) -> io::Result<()> {
        // Some systems let only writers do it.
        OpenOptions::new().append(true).open(&self.path)?.sync_all()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Not there any more when it was kept, or never written.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a new file that only this user can read. What is there already, a link too, is an error.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

/// Puts a file into its place, as open to others as what was there, or as all that this user makes.
pub fn put(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::symlink_metadata(place).ok().filter(fs::Metadata::is_file);
    put_by(place, |aside| {
        // What was closed is so from the beginning: it can be read before it is in its place.
        match before {
            Some(_) => write_private(aside, bytes)?,
            None => File::create_new(aside)?.write_all(bytes)?,
        }
        Ok(before.map(|before| before.permissions()))
    })
}

/// Puts a file into its place, as open to others as all that this user makes, whatever was there.
pub fn put_open(place: &Path, bytes: &[u8]) -> io::Result<()> {
    put_by(place, |aside| {
        File::create_new(aside)?.write_all(bytes)?;
        Ok(None)
    })
}

/// Puts what is written into its place, with these permissions.
fn put_by(place: &Path, write: impl FnOnce(&Path) -> io::Result<Option<fs::Permissions>>) -> io::Result<()> {
    // The folder of a bare name is called "", which is none.
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    let aside = Aside::new(folder.unwrap_or(Path::new(".")), "tmp")?;
    let permissions = write(&aside.path)?;
    aside.sync()?;
    // After that, for a file that nobody may write to is not to be synced.
    if let Some(permissions) = permissions {
        fs::set_permissions(&aside.path, permissions)?;
    }
    fs::rename(&aside.path, place)
}

/// Makes a folder, with those above it, that only this user may enter. One that is there stays as it is.
pub fn make_private(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    #[cfg_attr(not(unix), expect(unused_mut, reason = "modes are of Unix"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_put_whole_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join("a");
        put(&place, b"one").unwrap();
        put_open(&place, b"two").unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"two");
        // A folder cannot be replaced by a file.
        fs::create_dir(home.path().join("b")).unwrap();
        put(&home.path().join("b"), b"x").unwrap_err();
        drop(Aside::new(home.path(), "x").unwrap());
        let aside = Aside::new(home.path(), "x").unwrap();
        write_private(aside.path(), b"x").unwrap();
        assert_eq!(
            write_private(aside.path(), b"y").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_ne!(aside.path(), Aside::new(home.path(), "x").unwrap().path());
        let place = home.path().join("c");
        aside.keep_as_first(&place).unwrap();
        let late = Aside::new(home.path(), "x").unwrap();
        write_private(late.path(), b"y").unwrap();
        assert_eq!(
            late.keep_as_first(&place).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read(&place).unwrap(), b"x");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 3);
    }

    #[test]
    #[cfg(unix)]
    fn what_is_private_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = home.path().join("above/folder");
        make_private(&folder).unwrap();
        make_private(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        write_private(&folder.join("a"), b"x").unwrap();
        assert_eq!(mode(&folder.join("a")), 0o600);
        // Nobody is led elsewhere by a link that stands in the way.
        let link = folder.join("link");
        std::os::unix::fs::symlink(home.path().join("victim"), &link).unwrap();
        write_private(&link, b"x").unwrap_err();
        put(&link, b"x").unwrap();
        assert!(!home.path().join("victim").exists() && !link.is_symlink());
    }

    #[test]
    #[cfg(unix)]
    fn what_is_replaced_stays_as_open_as_it_was() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let (place, new) = (home.path().join("a"), home.path().join("new"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        put(&new, b"x").unwrap();
        put(&place, b"x").unwrap();
        for closed in [0o640, 0o444, 0o600, 0o666] {
            fs::set_permissions(&place, fs::Permissions::from_mode(closed)).unwrap();
            put(&place, b"y").unwrap();
            assert_eq!((mode(&place), fs::read(&place).unwrap()), (closed, b"y".to_vec()));
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
        put_open(&place, b"z").unwrap();
        assert_eq!(mode(&place), mode(&new));
    }
}
