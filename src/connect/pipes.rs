//! The client's two pipes: lines in, lines out, both bounded.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::bridge::Event;
use crate::wire::{LineError, Lines};

/// Lines that were read and not looked at.
const AHEAD: usize = 4;

/// Bytes of a line that is read, where a message may have `body` of them: of one that is somewhat too long the id is
/// still to be found, so that its sender hears of it.
pub(super) fn read_limit(body: usize) -> usize {
    body.saturating_mul(2).saturating_add(1 << 20)
}

/// The lines that `input` says; the end of the channel is its end.
pub(super) fn read<R>(mut input: R, limit: usize) -> mpsc::Receiver<Event>
where
    R: AsyncRead + Unpin + Send + 'static,
{
    let (sender, lines) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut framed = Lines::new(limit);
        loop {
            while let Some(line) = framed.next_line() {
                let event = match line {
                    Ok(line) => Event::Line(line),
                    Err(LineError::TooLong(limit)) => Event::TooLong(limit),
                };
                if sender.send(event).await.is_err() {
                    return;
                }
            }
            match input.read_buf(framed.buffer()).await {
                Ok(1..) => {}
                // A last line without its end is not complete.
                Ok(0) | Err(_) => return,
            }
        }
    });
    lines
}

/// Writes lines to `output`, several at a time if they are there. The task ends with the channel, or with the output.
pub(super) fn write<W>(mut output: W, lines: usize) -> (mpsc::Sender<String>, JoinHandle<()>)
where
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel::<String>(lines);
    let task = tokio::spawn(async move {
        while let Some(line) = receiver.recv().await {
            let mut all = line;
            all.push('\n');
            while all.len() < 64 * 1024
                && let Ok(next) = receiver.try_recv()
            {
                all.push_str(&next);
                all.push('\n');
            }
            if output.write_all(all.as_bytes()).await.is_err() || output.flush().await.is_err() {
                return;
            }
        }
    });
    (sender, task)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, BufReader, duplex};
    use tokio::time::timeout;

    #[tokio::test]
    async fn lines_are_read_to_the_end_and_long_ones_are_told() {
        let (mut client, ours) = duplex(1024);
        let mut lines = read(ours, 4);
        client.write_all(b"one\n\ntoo long\ntwo\nhal").await.unwrap();
        drop(client);
        assert!(matches!(lines.recv().await, Some(Event::Line(line)) if line == "one"));
        assert!(matches!(lines.recv().await, Some(Event::TooLong(4))));
        assert!(matches!(lines.recv().await, Some(Event::Line(line)) if line == "two"));
        assert!(lines.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_holds_the_lines_up_and_loses_none() {
        let (client, ours) = duplex(16);
        let (sender, task) = write(ours, 2);
        let mut sent = 0;
        while timeout(Duration::from_secs(1), sender.send(format!("line {sent}")))
            .await
            .is_ok()
        {
            sent += 1;
        }
        assert!((2..20).contains(&sent), "{sent} lines were taken");
        drop(sender);
        let mut lines = BufReader::new(client).lines();
        for n in 0..sent {
            assert_eq!(lines.next_line().await.unwrap(), Some(format!("line {n}")));
        }
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_gone_closes_the_channel() {
        let (client, ours) = duplex(16);
        let (sender, task) = write(ours, 2);
        drop(client);
        let _ = sender.send("line".to_owned()).await;
        task.await.unwrap();
        assert!(sender.is_closed());
    }
}
