//! Policy components from file to verdict: the defaults, faults, limits, broken files, reloads.
// Compilers that misbehave are shell scripts here.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests against the real clock, and of the program itself"
)]

mod bounds;
mod broken;
mod capabilities;
mod chains;
mod command;
mod defaults;
#[cfg(target_os = "linux")]
mod dev;
mod examples;
mod faults;
mod fetching;
mod fixtures;
mod golden;
mod handmade;
mod limits;
mod lists;
mod outside;
mod principal;
mod reload;
mod roots;
#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod router;
mod scope;
mod server;
mod supply;
mod support;
#[cfg(target_os = "linux")]
mod trace;
mod trails;
