//! What happens to the bridge, what it wants done, and its bounds.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;

use super::Session;

/// How much there may be of everything, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages that are held or in flight, together.
    pub messages: usize,
    /// Bytes of those that are held, or kept to be sent again.
    pub bytes: usize,
    /// Bytes of one message.
    pub body: usize,
    /// How long a message is held.
    pub wait: Duration,
    /// How long answers are waited for when the client has ended.
    pub grace: Duration,
    /// How often a read is sent again.
    pub repeats: u32,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// The client said a line.
    Line(bytes::Bytes),
    /// The client said a line of more bytes than are read.
    TooLong(usize),
    /// The client has ended, or shall end.
    Eof,
    /// The router's socket can be connected to.
    Reached,
    /// The router could not be started, and why.
    Unreachable(String),
    /// The head of a reply came.
    Head {
        /// The request's number.
        number: u64,
        /// The HTTP status.
        status: u16,
        /// The session that it opens.
        session: Option<String>,
    },
    /// A message came in a reply.
    Said(u64, String),
    /// The reply is complete.
    Ended(u64),
    /// The connection broke, and the router may have the request.
    Cut(u64),
    /// The request never left.
    Refused(u64),
    /// It is time to look at the clock.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Say this line to the client.
    Write(String),
    /// Send a message.
    Post(Post),
    /// Open the session's stream.
    Get(u64, Arc<Session>),
    /// Nobody wants that reply any more: close its connection.
    Drop(u64),
    /// Find a router, by starting one if `start`. This takes the place of an earlier one.
    Reach {
        /// Whether one may be started.
        start: bool,
    },
    /// End: the session, and then the program.
    End(Option<Arc<Session>>),
}

/// One message as it is posted.
#[derive(Debug, PartialEq)]
pub struct Post {
    /// The number that events about it have.
    pub number: u64,
    /// Of a legacy client that has initialized.
    pub session: Option<Arc<Session>>,
    /// What mirrors the body, of a modern client: revision, method and name.
    pub mirror: Option<Mirror>,
    /// The message.
    pub body: ByteString,
}

/// What the headers of a modern request say.
#[derive(Clone, Debug, PartialEq)]
pub struct Mirror {
    /// The revision.
    pub version: String,
    /// The method.
    pub method: String,
    /// The tool's, prompt's or resource's name.
    pub name: Option<String>,
}
