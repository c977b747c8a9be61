//! End to end: the real program in front of real processes that are killed, stopped and changed under load.
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

mod chaos;
mod faults;
mod gate;
mod held;
mod kills;
mod lists;
mod loops;
mod metrics;
mod remote;
mod restarts;
mod settle;
mod shown;
mod shutdown;
mod streams;
mod words;
