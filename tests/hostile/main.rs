//! Hostile tests of the whole program: the real binary, real children, real components, and clients, servers and
//! files that do what they should not. `POINTSMAN_SOAK=1` runs the full counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "a test that fails says so by panicking; it drives a process from outside, in real time"
)]

mod absent;
mod batches;
mod edits;
mod endpoints;
mod eras;
mod every_hook;
mod guests;
mod liars;
mod neighbours;
mod reloads;
mod requests;
mod rollback;
mod servers;
mod shared;
mod slow;
mod slow_compile;
mod support;
mod swaps;
mod walks;
