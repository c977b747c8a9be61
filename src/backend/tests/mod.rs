//! A backend with scripted children on in-memory pipes, under a clock that only tests move.

mod asks;
mod calls;
mod deaths;
mod lives;
mod replicas;
mod talk;
mod world;
