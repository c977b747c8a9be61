//! The answering side.

use std::fs::{File, Permissions, TryLockError, set_permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::path::{own_uid, prepare_directory};

/// Bytes of a question at most.
const MAX_LINE: u64 = 64 * 1024;
/// Time for a whole question, and for the client to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// The pause after an accept failed, which would otherwise fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The pause between two tries for the directory's lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

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
        socket.listen(64)?;
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

    /// Answers questions with `handler` until this future is dropped; the questions at work are dropped with it.
    /// A client may ask one question after another.
    pub async fn serve<H, F>(self, handler: H)
    where
        H: Fn(Value) -> F + Send + Sync + 'static,
        F: Future<Output = Value> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "admin connection failed");
                },
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let handler = Arc::clone(&handler);
                        connections.spawn(async move {
                            // How a client leaves is its own affair.
                            let _ = converse(stream, &*handler).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept admin connections");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
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

/// One client, question by question.
async fn converse<H, F>(stream: UnixStream, handler: &H) -> io::Result<()>
where
    H: Fn(Value) -> F,
    F: Future<Output = Value>,
{
    // The mode says so already; this holds even where modes of sockets are ignored.
    let peer = stream.peer_cred()?.uid();
    if peer != own_uid() && peer != 0 {
        return Ok(());
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let (answer, last) = match timeout(PATIENCE, question(&mut reader)).await?? {
            Question::None => return Ok(()),
            Question::Asked(question) => (handler(question).await, false),
            Question::Bad(why) => (json!({ "error": why }), true),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        timeout(PATIENCE, writer.write_all(&line)).await??;
        if last {
            return Ok(());
        }
    }
}

enum Question {
    Asked(Value),
    Bad(String),
    None,
}

async fn question(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Question> {
    let mut line = Vec::new();
    let mut limited = reader.take(MAX_LINE);
    limited.read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(Question::None);
    }
    if limited.limit() == 0 && !line.ends_with(b"\n") {
        return Ok(Question::Bad("the line is longer than 64 KiB".to_owned()));
    }
    Ok(match serde_json::from_slice(&line) {
        Ok(question) => Question::Asked(question),
        Err(error) => Question::Bad(format!("not JSON: {error}")),
    })
}
