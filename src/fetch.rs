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
    match from.split_once("://") {
        Some(("oci", rest)) => from_registry(from, rest, most).await,
        Some(("https" | "http", _)) => from_web(from, most).await,
        _ => Err(FetchError::Scheme(from.to_owned())),
    }
}

async fn from_registry(from: &str, rest: &str, most: usize) -> Result<Vec<u8>, FetchError> {
    let reference = Reference::try_from(rest).map_err(|error| FetchError::Reference(from.to_owned(), error))?;
    let registry = reference.resolve_registry().to_owned();
    let host = registry.rsplit_once(':').map_or(registry.as_str(), |(host, _)| host);
    let protocol = match is_this_machine(host) {
        true => ClientProtocol::Http,
        false => ClientProtocol::Https,
    };
    let told = |error: &dyn std::fmt::Display| FetchError::Registry(from.to_owned(), error.to_string());
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
            layers: manifest.layers.iter().map(|layer| layer.media_type.clone()).collect(),
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
    let client = reqwest::Client::builder()
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
        .map_err(told)?;
    let response = client
        .get(url)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    let chunks = response.map_err(told)?.bytes_stream();
    collected(from, most, chunks.map(|chunk| chunk.map_err(told))).await
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
            | CredentialRetrievalError::ConfigReadError,
        ) => Ok(RegistryAuth::Anonymous),
        Err(error) => Err(FetchError::Credentials(registry.to_owned(), error.to_string())),
    }
}
