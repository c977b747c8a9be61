//! The connection to one incarnation, pipes or HTTP: the same few questions to both.

use bytes::Bytes;

use super::pipes::Pipes;
use crate::process::{BoxRead, Child, Exit};
use crate::remote::{Event, Remote};
use crate::wire::LineError;

/// What a connection brought.
pub enum Io {
    /// Messages came: take the lines.
    Read,
    /// Output moved on.
    Wrote,
    /// The process ended.
    Exited(Exit),
    /// A pipe broke or was closed by the other side, or the server takes no more.
    Closed(String),
    /// What only a server over HTTP does: a call of its own ended, or the server is gone.
    Remote(Event),
}

/// The connection to one incarnation.
pub enum Connection {
    /// A child's.
    Pipes(Box<Pipes>),
    /// A server's over HTTP.
    Remote(Box<Web>),
}

/// A server over HTTP, and the message that came last.
pub struct Web {
    remote: Remote,
    line: Option<Bytes>,
    owner: Option<u64>,
}

impl From<Remote> for Connection {
    fn from(remote: Remote) -> Self {
        Self::Remote(Box::new(Web {
            remote,
            line: None,
            owner: None,
        }))
    }
}

impl Connection {
    /// Splits a child into its connection and its stderr.
    pub fn of_child(child: Child, max_message: usize) -> (Self, BoxRead) {
        let (pipes, stderr) = Pipes::of_child(child, max_message);
        (Self::Pipes(Box::new(pipes)), stderr)
    }

    /// Queues a line, newline included. `id` is the call it belongs to, so that it can be taken back.
    pub fn push(&mut self, id: Option<u64>, line: Vec<u8>) {
        match self {
            Self::Pipes(pipes) => pipes.push(id, line),
            Self::Remote(web) => web.remote.push(id, line),
        }
    }

    /// The call that is pushed next met a lost session before.
    pub fn doubt(&mut self, id: u64) {
        if let Self::Remote(web) = self {
            web.remote.doubt(id);
        }
    }

    /// Queues a message of the router's own. Parts of it may be an agent's, with line breaks between its tokens: what
    /// a target reads as a line of its own would be a message that nobody checked.
    pub fn push_own(&mut self, message: &str) {
        let flat = |byte: u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
        let mut line: Vec<u8> = message.bytes().map(flat).collect();
        line.push(b'\n');
        self.push(None, line);
    }

    /// Takes a call back that has not begun to be written; true where it could be, or where its server learns of it
    /// without a further word.
    pub fn take_back(&mut self, id: u64) -> bool {
        match self {
            Self::Pipes(pipes) => pipes.take_back(id),
            Self::Remote(web) => web.remote.take_back(id),
        }
    }

    /// Bytes that wait to be written.
    pub fn backlog(&self) -> usize {
        match self {
            Self::Pipes(pipes) => pipes.backlog(),
            Self::Remote(web) => web.remote.backlog(),
        }
    }

    /// How many bytes the target's input has taken: a call that ends beyond was never sent. Over HTTP every call that
    /// was begun counts as taken, for those that were not are told one by one.
    pub fn written(&self) -> u64 {
        match self {
            Self::Pipes(pipes) => pipes.written(),
            Self::Remote(_) => u64::MAX,
        }
    }

    /// Moves queued lines into the next write, telling `began` where each call ends in the input.
    pub fn fill(&mut self, mut began: impl FnMut(u64, u64)) {
        match self {
            Self::Pipes(pipes) => pipes.fill(began),
            Self::Remote(web) => web.remote.started().for_each(|id| began(id, 0)),
        }
    }

    /// Waits until something moves. Cancel safe.
    pub async fn io(&mut self) -> Io {
        match self {
            Self::Pipes(pipes) => pipes.io().await,
            Self::Remote(web) => match web.remote.event().await {
                Event::Message { text, call } => {
                    web.line = Some(text);
                    web.owner = call;
                    Io::Read
                }
                Event::Down { why } => Io::Closed(why),
                other => Io::Remote(other),
            },
        }
    }

    /// After the exit: takes in what the pipe still holds, without waiting for whoever else may hold it open.
    pub fn read_rest(&mut self) {
        if let Self::Pipes(pipes) = self {
            pipes.read_rest();
        }
    }

    /// The next line that was read.
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineError>> {
        match self {
            Self::Pipes(pipes) => pipes.next_line(),
            Self::Remote(web) => web.line.take().map(Ok),
        }
    }

    /// The call on whose stream the last line came, where that is known: whatever the line is about, it is about that
    /// call.
    pub fn owner(&self) -> Option<u64> {
        match self {
            Self::Pipes(_) => None,
            Self::Remote(web) => web.owner,
        }
    }

    /// Closes its stdin, or takes leave of it.
    pub fn close_stdin(&mut self) {
        match self {
            Self::Pipes(pipes) => pipes.close_stdin(),
            Self::Remote(web) => web.remote.close(),
        }
    }

    /// SIGTERM to its group; the end of all connections.
    pub fn terminate(&mut self) {
        match self {
            Self::Pipes(pipes) => pipes.terminate(),
            Self::Remote(web) => web.remote.kill(),
        }
    }

    /// SIGKILL to its group for one that went wrong by itself; a server that gave a session hears first that it is over.
    pub fn break_off(&mut self) {
        match self {
            Self::Pipes(pipes) => pipes.kill(),
            Self::Remote(web) => web.remote.break_off(),
        }
    }

    /// SIGKILL to its group; the end of all connections.
    pub fn kill(&mut self) {
        match self {
            Self::Pipes(pipes) => pipes.kill(),
            Self::Remote(web) => web.remote.kill(),
        }
    }
}
