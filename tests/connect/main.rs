//! `pointsman connect` as a client starts it: real shims, real routers that are killed, and every line of stdout.
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

mod deaths;
mod limits;
mod place;
mod shim;
mod starting;
mod strict;
