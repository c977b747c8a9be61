//! What crosses the router besides tools: requests of servers, input that is asked for, subscriptions, tasks, and the
//! bytes of all of it, between agents and servers of both eras.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests start processes, measure real time, print it, and fail by panicking"
)]

mod bounds;
mod bytes;
mod deaths;
mod doors;
mod fake;
mod hostile;
mod later;
mod many;
mod refusals;
mod roots;
#[path = "../support/mod.rs"]
mod support;
mod talk;
