//! The pipes of a child: lines in, lines out, and how far the output has got.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::coop::unconstrained;

use super::connection::Io;
use crate::process::{BoxRead, BoxWrite, Child, Control};
use crate::wire::{LineError, Lines};

/// Bytes moved to the pipe in one write at most.
const CHUNK: usize = 64 * 1024;

/// What a pipe holds at most. Read more after the exit, and somebody else is still writing.
const PIPE: usize = 1024 * 1024;

/// A line that waits to be written.
struct Outgoing {
    id: Option<u64>,
    line: Vec<u8>,
}

/// The pipes of one child.
pub struct Pipes {
    stdin: Option<BoxWrite>,
    stdout: Option<BoxRead>,
    control: Box<dyn Control>,
    lines: Lines,
    queue: VecDeque<Outgoing>,
    queued: usize,
    chunk: BytesMut,
    moved: u64,
    written: u64,
    exited: bool,
}

impl Pipes {
    /// Takes over a child's pipes. Lines longer than `max_message` are dropped and reported.
    pub fn new(stdin: BoxWrite, stdout: BoxRead, control: Box<dyn Control>, max_message: usize) -> Self {
        Self {
            stdin: Some(stdin),
            stdout: Some(stdout),
            control,
            lines: Lines::new(max_message),
            queue: VecDeque::new(),
            queued: 0,
            chunk: BytesMut::with_capacity(CHUNK),
            moved: 0,
            written: 0,
            exited: false,
        }
    }

    /// Splits a child into its connection and its stderr.
    pub fn of_child(child: Child, max_message: usize) -> (Self, BoxRead) {
        (
            Self::new(child.stdin, child.stdout, child.control, max_message),
            child.stderr,
        )
    }

    /// Queues a line, newline included. `id` is the call it belongs to, so that it can be taken back.
    pub fn push(&mut self, id: Option<u64>, line: Vec<u8>) {
        self.queued += line.len();
        self.queue.push_back(Outgoing { id, line });
    }

    /// Takes a call back that has not begun to be written; true where it could be.
    pub fn take_back(&mut self, id: u64) -> bool {
        let Some(at) = self.queue.iter().position(|o| o.id == Some(id)) else {
            return false;
        };
        if let Some(gone) = self.queue.remove(at) {
            self.queued -= gone.line.len();
        }
        true
    }

    /// Bytes that wait to be written.
    pub fn backlog(&self) -> usize {
        self.queued + self.chunk.len()
    }

    /// How many bytes the target's input has taken: a call that ends beyond was never sent.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Moves queued lines into the next write, telling `began` where each call ends in the input.
    pub fn fill(&mut self, mut began: impl FnMut(u64, u64)) {
        if !self.chunk.is_empty() {
            return;
        }
        while let Some(out) = self.queue.front() {
            if !self.chunk.is_empty() && self.chunk.len() + out.line.len() > CHUNK {
                break;
            }
            let Some(out) = self.queue.pop_front() else { break };
            self.queued -= out.line.len();
            self.moved += out.line.len() as u64;
            self.chunk.extend_from_slice(&out.line);
            if let Some(id) = out.id {
                // Without its newline: at the end of its input a server may take the last line as whole.
                began(id, self.moved - 1);
            }
        }
    }

    /// Waits until something moves. Cancel safe.
    pub async fn io(&mut self) -> Io {
        let Self {
            stdin,
            stdout,
            control,
            lines,
            chunk,
            written,
            exited,
            ..
        } = self;
        // Unbiased: a child that talks without end must not starve its own input, nor hide its end.
        tokio::select! {
            read = async { match stdout { Some(out) => out.read_buf(lines.buffer()).await, None => std::future::pending().await } } => match read {
                Ok(0) => { *stdout = None; Io::Closed("it closed its stdout".to_owned()) }
                Ok(_) => Io::Read,
                Err(e) => { *stdout = None; Io::Closed(format!("its stdout cannot be read: {e}")) }
            },
            wrote = async { match stdin { Some(pipe) if !chunk.is_empty() => pipe.write(chunk).await, _ => std::future::pending().await } } => match wrote {
                Ok(0) => { *stdin = None; Io::Closed("it closed its stdin".to_owned()) }
                Ok(n) => { chunk.advance(n); *written += n as u64; Io::Wrote }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Io::Wrote,
                Err(e) => { *stdin = None; Io::Closed(format!("it no longer reads its stdin: {e}")) }
            },
            exit = async { if *exited { std::future::pending().await } else { control.wait().await } } => { *exited = true; Io::Exited(exit) }
        }
    }

    /// After the exit: takes in what the pipe still holds, without waiting for whoever else may hold it open.
    pub fn read_rest(&mut self) {
        let mut read = 0;
        while let Some(out) = self.stdout.as_mut().filter(|_| read < PIPE) {
            // Unconstrained: a task that has used up its turn is told that nothing is there.
            match unconstrained(out.read_buf(self.lines.buffer())).now_or_never() {
                Some(Ok(n)) if n > 0 => read += n,
                _ => return,
            }
        }
    }

    /// The next line that was read.
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineError>> {
        self.lines.next_line()
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// SIGTERM to its group.
    pub fn terminate(&mut self) {
        self.control.terminate();
    }

    /// SIGKILL to its group.
    pub fn kill(&mut self) {
        self.control.kill();
    }
}
