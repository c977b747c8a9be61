//! Who may call, end to end: the real program, tokens of every kind, TLS, and credentials of the router's own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests start processes, measure real time, print it, and fail by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod asking;
mod issuer;
mod owners;
mod server;
mod streams;
mod tls;
mod tokens;
mod upstream;
