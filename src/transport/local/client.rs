//! The asking side.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Time for connecting and for sending the question.
const SEND: Duration = Duration::from_secs(10);
/// Time for the answer: some questions, such as a restart, are answered when it is done.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes of an answer at most.
const MAX_ANSWER: u64 = 16 * 1024 * 1024;

/// Asks the listener at `path` one question.
pub async fn ask(path: impl AsRef<Path>, question: Value) -> io::Result<Value> {
    let mut line = serde_json::to_vec(&question)?;
    line.push(b'\n');
    let sent = timeout(SEND, async {
        let mut stream = UnixStream::connect(path).await?;
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
