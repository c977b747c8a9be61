//! Who may call: bearer tokens (RFC 6750) in front of endpoints, and what is said to those without a good one.
//!
//! [`Guard`] knows what every endpoint asks for; `bearer` finds the token in a request, `tokens` knows static ones,
//! `jwt` those of an issuer, whose `keys` are fetched and kept; `challenge` says what is missing (RFC 9728); a `lease` is
//! how long somebody may go on listening.

mod bearer;
mod challenge;
mod guard;
mod jwt;
mod keys;
mod lease;
mod rules;
mod signature;
mod tokens;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;

pub use self::challenge::Refused;
pub use self::guard::{Guard, Request};
pub use self::lease::Lease;

/// The future of a document.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// Fetches a document of so many bytes at most over HTTP. The path is a file of the authorities that are believed, in
/// place of the system's; an error is what happened, in words.
pub type Fetch = Arc<dyn Fn(Uri, Option<PathBuf>, usize) -> Fetching + Send + Sync>;
