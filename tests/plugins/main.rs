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

mod broken;
mod capabilities;
mod chains;
mod command;
mod defaults;
mod examples;
mod faults;
mod golden;
mod languages;
mod limits;
mod lists;
mod principal;
mod reload;
#[path = "../support/mod.rs"]
mod running;
mod scope;
mod support;
