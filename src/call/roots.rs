//! The folders that an agent works in, which are asked for when a policy wants to know them.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::wire::RawJson;

/// A future of [`Roots`].
pub type RootsFuture<'a> = Pin<Box<dyn Future<Output = Option<RawJson>> + Send + 'a>>;

/// An agent that said that it has roots (MCP: the capability `roots`).
pub trait Roots: Debug + Send + Sync {
    /// The `roots` of its answer to `roots/list`, a JSON array; `None` where it does not say them within `patience`.
    fn roots(&self, patience: Duration) -> RootsFuture<'_>;
}
