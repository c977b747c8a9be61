//! A socket that only its owner can open: bound, accepted from, removed.

use std::fs::{File, Permissions, TryLockError, set_permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::path::{own_uid, prepare_directory};

/// Time for what others hold for moments.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients that wait to be accepted.
const BACKLOG: i32 = 1024;
/// The pause between two tries for the directory's lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A connection over such a socket.
pub type LocalStream = UnixStream;

/// A socket of mode 0600 that is removed when this is dropped.
#[derive(Debug)]
pub struct LocalListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: only our own socket is removed.
    identity: (u64, u64),
}

impl LocalListener {
    /// Binds `path`. A socket left over by a dead process is replaced, that of a live one is not, and what is no
    /// socket is left alone. A missing directory is made with mode 0700.
    pub async fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let directory = match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            _ => Path::new("."),
        };
        prepare_directory(directory)?;
        // Two that start at once must not both take the old socket for dead and remove each other's new one.
        let _lock = timeout(PATIENCE, lock(directory)).await??;
        remove_stale(path).await?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before `listen` nobody can connect, so there is no moment at which others could.
        set_permissions(path, Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?;
        let identity = identity(path)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity,
        })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next client of ours, with its process id where the system tells it. Others are hung up on: the mode says so
    /// already; this holds even where modes of sockets are ignored.
    pub async fn accept(&self) -> io::Result<(LocalStream, Option<u32>)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let Ok(peer) = stream.peer_cred() else { continue };
            if peer.uid() == own_uid() || peer.uid() == 0 {
                return Ok((stream, peer.pid().and_then(|pid| u32::try_from(pid).ok())));
            }
        }
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Locks the directory, which leaves no lock file behind. Others hold this for moments.
async fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Removes a socket that nobody listens on.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(in_use("something that is no socket is at", path));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Its queue is full: somebody listens, if not well.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(in_use("another process listens on", path)),
    }
}

fn in_use(what: &str, path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::AddrInUse, format!("{what} {}", path.display()))
}
