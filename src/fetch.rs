//! Components from elsewhere: OCI registries and web servers. Only commands fetch; a router that serves never does.

mod challenge;
mod login;
mod manifest;
mod reference;
mod registry;
mod web;

use std::time::Duration;

use reqwest::{Response, Url};

use self::web::Web;
use crate::config::sha256_of;
use crate::error::chain;
use crate::wire::discovery::is_safe;
use crate::wire::printable_within;

/// How long one component may take.
const ALL: Duration = Duration::from_secs(300);

/// Bytes of what a server says at most.
const WORDS: usize = 400;

/// Why a component was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It names no place that components come from.
    #[error("{0} is no reference: write oci://REGISTRY/NAME:TAG or https://HOST/FILE.wasm")]
    Scheme(String),
    /// It names no component in a registry.
    #[error("{0} is no reference to a registry: {1}; write oci://REGISTRY/NAME:TAG")]
    Reference(String, String),
    /// What is pulled over the network in the open can be anything.
    #[error("{0} goes over the network in the open: only https is, but for this machine itself")]
    Open(String),
    /// The credentials of the user for the registry cannot be had.
    #[error("the credentials for {0}: {1}")]
    Credentials(String, String),
    /// The registry refused, or could not be reached.
    #[error("{0}: {1}")]
    Registry(String, String),
    /// The registry has no such thing, or not any more.
    #[error("{0}: {1}")]
    Missing(String, String),
    /// The server refused, or could not be reached.
    #[error("{0}")]
    Web(String),
    /// There is something else, or nothing alone.
    #[error("{reference} holds {found} components and not one; its layers are: {layers}")]
    Layers {
        /// What was asked for.
        reference: String,
        /// Layers with a component.
        found: usize,
        /// The media types of all.
        layers: String,
    },
    /// It is one for each platform, which components have not.
    #[error("{0} is an index of several manifests: name one of them, as NAME@DIGEST: {1}")]
    Index(String, String),
    /// It is not what it is called by.
    #[error("{reference}: the SHA-256 of its {what} is {found}, and should be {wanted}")]
    Digest {
        /// What was asked for.
        reference: String,
        /// Its manifest or its component.
        what: &'static str,
        /// By what it was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// It would be asked for a token in the open, with the user's password.
    #[error("{0} sends for its tokens to {1}, over the network in the open")]
    Realm(String, String),
    /// It took too long.
    #[error("{0} took longer than {1} s")]
    Late(String, u64),
    /// It is too large.
    #[error("{0} is larger than {1} bytes (policies.max-component)")]
    TooLarge(String, usize),
}

/// A component.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// What it is.
    pub bytes: Vec<u8>,
    /// The SHA-256 of that, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The digest of the manifest that has it in its registry, where the reference does not say that itself.
    pub manifest: Option<String>,
}

impl Fetched {
    fn of(bytes: Vec<u8>) -> Self {
        Self {
            sha256: sha256_of(&bytes),
            bytes,
            manifest: None,
        }
    }
}

/// Fetches a component of `most` bytes at most. `manifest` is the digest of the manifest that is meant in a registry,
/// whatever its tag says by now.
///
/// The system's certificates say whom to trust. Registries get the credentials that `docker login` left.
pub async fn fetch(from: &str, manifest: Option<&str>, most: usize) -> Result<Fetched, FetchError> {
    // Once for the process; whoever was first wanted the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fetched = async {
        match from.split_once("://") {
            Some(("oci", rest)) => registry::fetch(from, rest, manifest, most).await,
            Some(("https" | "http", _)) => from_web(from, most).await,
            _ => Err(FetchError::Scheme(from.to_owned())),
        }
    };
    let late = |_| FetchError::Late(from.to_owned(), ALL.as_secs());
    tokio::time::timeout(ALL, fetched).await.map_err(late)?
}

async fn from_web(from: &str, most: usize) -> Result<Fetched, FetchError> {
    let told = |error: reqwest::Error| FetchError::Web(clean(&chain(&error)));
    let url = Url::parse(from).map_err(|_| FetchError::Scheme(from.to_owned()))?;
    if !is_safe(url.as_str()) {
        return Err(FetchError::Open(from.to_owned()));
    }
    let response = Web::new().map_err(told)?.get(url, "*/*", None).await;
    let response = response.map_err(|error| FetchError::Web(clean(&format!("{from}: {}", chain(&error)))))?;
    let response = response.error_for_status().map_err(told)?;
    let bytes = body(response, most).await.map_err(told)?;
    bytes
        .map(Fetched::of)
        .ok_or_else(|| FetchError::TooLarge(from.to_owned(), most))
}

/// What a server sends, or nothing if that is more than `most` bytes.
async fn body(mut response: Response, most: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut all = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        all.extend_from_slice(&chunk);
        if all.len() > most {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// What a server says, for a terminal: without what would steer that, and not for ever.
fn clean(words: &str) -> String {
    printable_within(words, WORDS).0
}
