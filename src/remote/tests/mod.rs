//! Remotes in front of a scripted server: what is sent, and what is told of it.

mod calls;
mod deadlines;
mod fake;
mod gaps;
mod old;
mod statuses;
mod streams;
mod tls;
