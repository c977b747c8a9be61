//! Where the socket is, and whom its directory belongs to.

use std::fs::{DirBuilder, symlink_metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The socket of the router that listens on TCP `port`: in `$XDG_RUNTIME_DIR/pointsman`, else in
/// `pointsman-UID` of the directory for temporary files. A directory there that others could have made, or can
/// write to, is an error: whoever owns it could pose as the router.
pub fn default_path(port: u16) -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.or_else(|| usual_runtime(Path::new("/run/user")));
    path_in(runtime.as_deref(), &std::env::temp_dir(), port)
}

/// What `XDG_RUNTIME_DIR` says on most systems, for those who were not told: MCP clients start their servers with few
/// variables, and `connect` has to find the router of a shell that has them all.
fn usual_runtime(all: &Path) -> Option<PathBuf> {
    let directory = all.join(own_uid().to_string());
    check_private(&directory).is_ok().then_some(directory)
}

/// The socket behind which MCP is served, for a router whose admin socket is at `admin`: beside it.
pub fn mcp_path(admin: &Path) -> PathBuf {
    let mut name = admin.file_stem().unwrap_or_default().to_owned();
    name.push("-mcp.sock");
    admin.with_file_name(name)
}

pub(super) fn path_in(runtime: Option<&Path>, temp: &Path, port: u16) -> io::Result<PathBuf> {
    let directory = match runtime {
        // The XDG specification says to ignore relative paths.
        Some(runtime) if runtime.is_absolute() => runtime.join("pointsman"),
        _ => temp.join(format!("pointsman-{}", own_uid())),
    };
    match check_private(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        checked => checked?,
    }
    Ok(directory.join(format!("{port}.sock")))
}

/// Makes the directory if there is none, for us alone, and refuses one in which others could replace the socket.
pub fn prepare_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let metadata = std::fs::metadata(directory)?;
    let others_write = metadata.mode() & 0o022 != 0;
    // With the sticky bit, as on /tmp, others can add files but not replace ours.
    let sticky = metadata.mode() & 0o1000 != 0;
    if !metadata.is_dir() || (others_write && !sticky) {
        return Err(denied(directory, "others can write to it"));
    }
    Ok(())
}

fn check_private(directory: &Path) -> io::Result<()> {
    let metadata = symlink_metadata(directory)?;
    if !metadata.is_dir() {
        return Err(denied(directory, "it is no directory"));
    }
    if metadata.uid() != own_uid() {
        return Err(denied(directory, "it belongs to somebody else"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(denied(directory, "its mode is not 0700"));
    }
    Ok(())
}

pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn denied(directory: &Path, why: &str) -> io::Error {
    let message = format!("{} cannot hold a private socket: {why}", directory.display());
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_runtime_directory_goes_first_if_it_is_absolute() {
        let (runtime, temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = path_in(Some(runtime.path()), temp.path(), 7400).unwrap();
        assert_eq!(path, runtime.path().join("pointsman/7400.sock"));
        let other = temp.path().join(format!("pointsman-{}/7401.sock", own_uid()));
        assert_eq!(path_in(None, temp.path(), 7401).unwrap(), other);
        assert_eq!(mcp_path(&path), runtime.path().join("pointsman/7400-mcp.sock"));
        assert_eq!(path_in(Some(Path::new("run")), temp.path(), 7401).unwrap(), other);
    }

    #[test]
    fn the_usual_runtime_directory_is_taken_if_it_is_ours_alone() {
        let all = tempfile::tempdir().unwrap();
        assert_eq!(usual_runtime(all.path()), None);
        let own = all.path().join(own_uid().to_string());
        create_dir(&own).unwrap();
        set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(usual_runtime(all.path()), None);
        set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(usual_runtime(all.path()), Some(own));
    }

    #[test]
    fn a_directory_that_is_not_private_is_refused() {
        let runtime = tempfile::tempdir().unwrap();
        let directory = runtime.path().join("pointsman");
        let refused = || path_in(Some(runtime.path()), Path::new("/tmp"), 1).unwrap_err().kind();
        symlink("/", &directory).unwrap();
        assert_eq!(refused(), io::ErrorKind::PermissionDenied);
        std::fs::remove_file(&directory).unwrap();
        create_dir(&directory).unwrap();
        set_permissions(&directory, Permissions::from_mode(0o750)).unwrap();
        assert_eq!(refused(), io::ErrorKind::PermissionDenied);
        set_permissions(&directory, Permissions::from_mode(0o700)).unwrap();
        assert!(path_in(Some(runtime.path()), Path::new("/tmp"), 1).is_ok());
    }

    #[test]
    fn a_new_directory_is_private_and_an_open_one_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        prepare_directory(&directory).unwrap();
        assert_eq!(symlink_metadata(&directory).unwrap().mode() & 0o777, 0o700);
        set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        assert!(prepare_directory(&directory).is_err());
        set_permissions(&directory, Permissions::from_mode(0o1777)).unwrap();
        assert!(prepare_directory(&directory).is_ok());
    }
}
