//! The asking side.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::path::own_uid;

/// Time for connecting and for sending the question.
const SEND: Duration = Duration::from_secs(10);
/// Time for the answer: some questions, such as a restart, are answered when it is done.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of an answer at most.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Connects to the socket of a router that is ours: in a directory that others can write to it may be anybody's.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path).await?;
    let owner = stream.peer_cred()?.uid();
    if owner != own_uid() && owner != 0 {
        let why = format!("{} belongs to another user", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(stream)
}

/// Asks the listener at `path` one question.
pub async fn ask(path: impl AsRef<Path>, question: Value) -> io::Result<Value> {
    let mut line = serde_json::to_vec(&question)?;
    line.push(b'\n');
    let sent = timeout(SEND, async {
        let mut stream = connect(path.as_ref()).await?;
        stream.write_all(&line).await?;
        io::Result::Ok(stream)
    });
    let stream = sent.await??;
    let mut answer = Vec::new();
    let mut reader = BufReader::new(stream).take(MAX_ANSWER);
    timeout(ANSWER, reader.read_until(b'\n', &mut answer)).await??;
    if answer.ends_with(b"\n") {
        return Ok(serde_json::from_slice(&answer)?);
    }
    Err(if reader.limit() == 0 {
        io::Error::new(io::ErrorKind::InvalidData, "the answer is longer than 16 MiB")
    } else {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the connection was closed without an answer",
        )
    })
}
