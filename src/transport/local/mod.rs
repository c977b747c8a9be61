//! The admin socket's mechanics: one JSON line asks, one JSON line answers, over a Unix socket that only its
//! owner can open.

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod path;
#[cfg(unix)]
mod server;
#[cfg(not(unix))]
mod unsupported;

#[cfg(not(unix))]
pub use self::unsupported::{LocalListener, ask, default_path};
#[cfg(unix)]
pub use self::{client::ask, path::default_path, server::LocalListener};
