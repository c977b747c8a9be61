//! `[endpoints.NAME]` as types: a path with its backends, and how it shows them.

use super::{Exposure, Pipeline};

/// How an endpoint names tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// As they are with one backend, `BACKEND__TOOL` with several: going from one to two renames all.
    Auto,
    /// `BACKEND__TOOL`, also with one backend: backends that come and go rename nothing.
    Prefixed,
    /// Always as they are: for those who know that there is no collision.
    Plain,
}

/// How an endpoint reports the router's errors of `tools/call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// As JSON-RPC errors.
    JsonRpc,
    /// As results with `isError`.
    Result,
}

/// Which of the router's own tools an endpoint shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTools {
    /// None: agents do not notice that there is a router.
    Off,
    /// Those that change nothing but the session that calls them.
    Read,
    /// Those that restart backends too.
    Manage,
}

/// `[endpoints.NAME]`: a path with its backends.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its backends; `None` means all.
    pub backends: Option<Vec<String>>,
    /// Its `[auth.NAME]`; `None` means that of `[listen]`, [`OPEN`] that anybody may.
    pub auth: Option<String>,
    /// Scopes that a token must have here, besides those of its `[auth.NAME]`.
    pub scopes: Vec<String>,
    /// How it names tools.
    pub names: Names,
    /// How it reports errors.
    pub errors: Errors,
    /// Items of one page of a list at most.
    pub page_size: usize,
    /// Which of the router's own tools it shows.
    pub own_tools: OwnTools,
    /// Which of its backends' things it has.
    pub exposure: Exposure,
    /// Which plugins are asked here instead of those of `[pipeline]`.
    pub pipeline: Pipeline,
}
