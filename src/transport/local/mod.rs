//! Unix sockets that only their owner can open: the admin socket, where one JSON line asks and one answers, and the
//! one behind which the HTTP front is served again.

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod path;
mod prompt;
#[cfg(unix)]
mod server;
#[cfg(not(unix))]
mod unsupported;

pub use self::prompt::Prompt;
#[cfg(not(unix))]
pub use self::unsupported::{LocalListener, LocalStream, ask, default_path, mcp_path};
#[cfg(unix)]
pub use self::{
    client::{ask, connect},
    listener::{LocalListener, LocalStream},
    path::{default_path, mcp_path, prepare_directory},
};
