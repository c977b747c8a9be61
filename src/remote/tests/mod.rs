//! Remotes in front of a scripted server: what is sent, and what is told of it.

mod calls;
mod fake;
mod old;
mod streams;
mod tls;
