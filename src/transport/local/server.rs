//! The admin socket's answering side.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::LocalListener;

/// Bytes of a question at most.
const MAX_LINE: u64 = 64 * 1024;
/// Time for a whole question, and for the client to take an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 16;
/// The pause after an accept failed, which would otherwise fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl LocalListener {
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
                accepted = self.accept(), if connections.len() < CONNECTIONS => match accepted {
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

/// One client, question by question.
async fn converse<H, F>(stream: UnixStream, handler: &H) -> io::Result<()>
where
    H: Fn(Value) -> F,
    F: Future<Output = Value>,
{
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
