//! Components from elsewhere: OCI registries and web servers. Only commands fetch; a router that serves never does.

use std::time::Duration;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use futures_util::StreamExt;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{ParseError, Reference};

/// How layers with a component are called: by the CNCF's wasm working group, and by tools before it.
const LAYERS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// How long one component may take.
const ALL: Duration = Duration::from_secs(300);

/// Characters of what a server says at most.
const WORDS: usize = 400;

/// Redirects in a row at most.
const MOST_REDIRECTS: usize = 10;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a component was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It names no place that components come from.
    #[error("{0} is no reference: write oci://REGISTRY/NAME:TAG or https://HOST/FILE.wasm")]
    Scheme(String),
    /// It names no component in a registry.
    #[error("{0} is no reference to a registry: {1}; write oci://REGISTRY/NAME:TAG")]
    Reference(String, #[source] ParseError),
    /// What is pulled over the network in the open can be anything.
    #[error("{0} goes over the network in the open: only https is, but for this machine itself")]
    Open(String),
    /// The credentials of the user for the registry cannot be had.
    #[error("the credentials for {0}: {1}")]
    Credentials(String, String),
    /// The registry refused, or could not be reached.
    #[error("{0}: {1}")]
    Registry(String, String),
    /// The server refused, or could not be reached.
    #[error("{0}")]
    Web(String),
    /// There is something else, or nothing alone.
    #[error("{reference} holds {} components and not one; its layers are: {}", .found, .layers.join(", "))]
    Layers {
        /// What was asked for.
        reference: String,
        /// Layers with a component.
        found: usize,
        /// The media types of all.
        layers: Vec<String>,
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

/// Fetches a component of `most` bytes at most.
///
/// The system's certificates say whom to trust. Registries get the credentials that `docker login` left.
pub async fn fetch(from: &str, most: usize) -> Result<Vec<u8>, FetchError> {
    // Once for the process; whoever was first wanted the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fetched = async {
        match from.split_once("://") {
            Some(("oci", rest)) => from_registry(from, rest, most).await,
            Some(("https" | "http", _)) => from_web(from, most).await,
            _ => Err(FetchError::Scheme(from.to_owned())),
        }
    };
    let late = |_| FetchError::Late(from.to_owned(), ALL.as_secs());
    tokio::time::timeout(ALL, fetched).await.map_err(late)?
}

async fn from_registry(from: &str, rest: &str, most: usize) -> Result<Vec<u8>, FetchError> {
    let reference = Reference::try_from(rest).map_err(|error| FetchError::Reference(from.to_owned(), error))?;
    let registry = reference.resolve_registry().to_owned();
    let host = registry.rsplit_once(':').map_or(registry.as_str(), |(host, _)| host);
    let protocol = match is_this_machine(host) {
        true => ClientProtocol::Http,
        false => ClientProtocol::Https,
    };
    let told = |error: &dyn std::fmt::Display| FetchError::Registry(from.to_owned(), clean(&error.to_string()));
    let scheme = if is_this_machine(host) { "http" } else { "https" };
    closed_realm(from, &format!("{scheme}://{registry}/v2/")).await?;
    let config = ClientConfig {
        protocol,
        read_timeout: Some(PATIENCE),
        connect_timeout: Some(PATIENCE),
        user_agent: concat!("pointsman/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    let client = Client::try_from(config).map_err(|error| told(&error))?;
    let auth = credentials(&registry)?;
    let (manifest, _) = client
        .pull_image_manifest(&reference, &auth)
        .await
        .map_err(|error| told(&error))?;
    let is_component = |layer: &&OciDescriptor| LAYERS.contains(&layer.media_type.as_str());
    let layers: Vec<&OciDescriptor> = manifest.layers.iter().filter(is_component).collect();
    let [layer] = layers.as_slice() else {
        return Err(FetchError::Layers {
            reference: from.to_owned(),
            found: layers.len(),
            layers: manifest.layers.iter().map(|layer| clean(&layer.media_type)).collect(),
        });
    };
    // The stream checks the digest that the manifest names.
    let stream = client
        .pull_blob_stream(&reference, *layer)
        .await
        .map_err(|error| told(&error))?;
    let chunks = stream.stream.map(|chunk| chunk.map_err(|error| told(&error)));
    collected(from, most, chunks).await
}

async fn from_web(from: &str, most: usize) -> Result<Vec<u8>, FetchError> {
    let told = |error: reqwest::Error| FetchError::Web(said(&error));
    let url = reqwest::Url::parse(from).map_err(|_| FetchError::Scheme(from.to_owned()))?;
    let is_local = url.host_str().is_some_and(is_this_machine);
    if url.scheme() == "http" && !is_local {
        return Err(FetchError::Open(from.to_owned()));
    }
    let client = client(is_local).map_err(told)?;
    let response = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    let chunks = response.map_err(told)?.bytes_stream();
    collected(from, most, chunks.map(|chunk| chunk.map_err(told))).await
}

/// Asks a registry where it has tokens asked for: that is no place where everybody on the way can read a password.
async fn closed_realm(from: &str, base: &str) -> Result<(), FetchError> {
    let told = |error: reqwest::Error| FetchError::Web(said(&error));
    let is_local = base.starts_with("http://");
    let answer = client(is_local).map_err(told)?.get(base).send().await.map_err(told)?;
    let challenges = answer.headers().get_all("www-authenticate").iter();
    for challenge in challenges.filter_map(|value| value.to_str().ok()) {
        let Some((_, rest)) = challenge.split_once("realm=\"") else {
            continue;
        };
        let realm = rest.split('"').next().unwrap_or_default();
        // A realm that is no URL is a name, as Basic has it.
        let Ok(url) = reqwest::Url::parse(realm) else { continue };
        if url.scheme() != "https" && !url.host_str().is_some_and(is_this_machine) {
            return Err(FetchError::Realm(from.to_owned(), clean(realm)));
        }
    }
    Ok(())
}

/// A client that nobody leads into the open. `is_local` is for servers of this machine, to which plain HTTP is as good.
fn client(is_local: bool) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .https_only(!is_local)
        // Whoever is asked may send on to others, but nobody into the open.
        .redirect(reqwest::redirect::Policy::custom(|attempt| {
            let url = attempt.url();
            let is_closed = url.scheme() == "https" || url.host_str().is_some_and(is_this_machine);
            match (is_closed, attempt.previous().len()) {
                (false, _) => attempt.error("a redirect goes over the network in the open"),
                (true, MOST_REDIRECTS..) => attempt.error("too many redirects"),
                (true, _) => attempt.follow(),
            }
        }))
        .read_timeout(PATIENCE)
        .connect_timeout(PATIENCE)
        .user_agent(concat!("pointsman/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What a server says, for a terminal: without what would steer that, and not for ever.
fn clean(words: &str) -> String {
    let plain = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(WORDS).collect()
}

/// An error with what is behind it: the first words alone are "error sending request".
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

async fn collected(
    from: &str,
    most: usize,
    chunks: impl futures_util::Stream<Item = Result<bytes::Bytes, FetchError>>,
) -> Result<Vec<u8>, FetchError> {
    let mut chunks = std::pin::pin!(chunks);
    let mut all = Vec::new();
    while let Some(chunk) = chunks.next().await {
        all.extend_from_slice(&chunk?);
        if all.len() > most {
            return Err(FetchError::TooLarge(from.to_owned(), most));
        }
    }
    Ok(all)
}

/// Whether a host is this machine, to which nobody listens on the way.
fn is_this_machine(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// What `docker login` left for a registry.
fn credentials(registry: &str) -> Result<RegistryAuth, FetchError> {
    match docker_credential::get_credential(registry) {
        Ok(DockerCredential::UsernamePassword(name, password)) => Ok(RegistryAuth::Basic(name, password)),
        Ok(DockerCredential::IdentityToken(_)) => Err(FetchError::Credentials(
            registry.to_owned(),
            "there is an identity token, which is not supported: log in with a password or an access token".to_owned(),
        )),
        Err(
            CredentialRetrievalError::NoCredentialConfigured
            | CredentialRetrievalError::ConfigNotFound
            | CredentialRetrievalError::ConfigReadError
            // No helper, or one that has nothing for this registry: most of what is pulled is for everybody, and a registry
            // that wants to know who asks says so.
            | CredentialRetrievalError::HelperCommunicationError
            | CredentialRetrievalError::HelperFailure { .. },
        ) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(FetchError::Credentials(registry.to_owned(), error.to_string())),
    }
}
