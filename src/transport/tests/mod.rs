//! The HTTP front over raw sockets.

mod leaving;
mod limits;
#[cfg(unix)]
mod local;
mod requests;
mod stopping;
mod support;
