//! What crosses the router besides tools: requests of servers, input that is asked for, subscriptions, tasks, and the
//! bytes of all of it, between agents and servers of both eras.

mod bytes;
mod deaths;
mod fake;
mod many;
mod refusals;
#[path = "../support/mod.rs"]
mod support;
mod talk;
