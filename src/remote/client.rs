//! The HTTP client of one incarnation: kept connections, TLS, Unix sockets, and the proof of what was not sent.

use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::OpenError;
use crate::error::chain;

/// Unused connections are closed after this time. Common servers close theirs after 5 s, and a request that meets such
/// a close on its way is lost without anybody knowing whether it ran.
const IDLE: Duration = Duration::from_secs(4);
/// Unused connections kept at most.
const KEPT: usize = 64;

/// How far a request has got. It is written, or given up, never both: whichever comes first.
#[derive(Default)]
pub(super) struct Mark(AtomicU8);

impl Mark {
    const WAITS: u8 = 0;
    const WRITTEN: u8 = 1;
    const GIVEN_UP: u8 = 2;

    fn step(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    /// It begins to be written. False where it was given up before.
    fn write(&self) -> bool {
        self.step(Self::WAITS, Self::WRITTEN) != Err(Self::GIVEN_UP)
    }

    /// It is not wanted any more. True where nothing of it was written, and nothing will be.
    pub(super) fn give_up(&self) -> bool {
        self.step(Self::WAITS, Self::GIVEN_UP) != Err(Self::WRITTEN)
    }

    /// The server said that it did nothing: what was written counts as not written.
    pub(super) fn undone(&self) {
        // Nothing changes for one that was given up.
        let _ = self.step(Self::WRITTEN, Self::WAITS);
    }
}

/// What is sent: a body that knows whether it was asked for. Until then no server can have seen the request.
pub(super) struct Letter {
    bytes: Option<Bytes>,
    mark: Arc<Mark>,
}

/// The request was given up before it was written.
#[derive(Debug, thiserror::Error)]
#[error("it was given up")]
pub(super) struct GivenUp;

impl Letter {
    /// A body. `mark` says so as soon as it begins to be written.
    pub(super) fn new(bytes: Bytes, mark: Arc<Mark>) -> Self {
        Self {
            bytes: Some(bytes),
            mark,
        }
    }

    /// No body, for requests that change nothing.
    pub(super) fn empty() -> Self {
        Self {
            bytes: None,
            mark: Arc::default(),
        }
    }
}

impl http_body::Body for Letter {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.mark.write() {
            true => Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            false => Poll::Ready(Some(Err(GivenUp))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |b| b.len() as u64))
    }
}

/// How connections are made.
enum Dial {
    /// Over TCP, with TLS where the URL says so.
    Net(HttpsConnector<HttpConnector>),
    /// Over a Unix socket.
    #[cfg(unix)]
    Unix(super::unix::Connector),
}

/// Connections that are kept.
enum Pool {
    Net(Pooled<HttpsConnector<HttpConnector>, Letter>),
    #[cfg(unix)]
    Unix(Pooled<super::unix::Connector, Letter>),
}

impl Dial {
    fn pool(&self) -> Pool {
        let mut builder = Pooled::builder(TokioExecutor::new());
        builder
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .pool_timer(TokioTimer::new());
        match self {
            Self::Net(connector) => Pool::Net(builder.build(connector.clone())),
            #[cfg(unix)]
            Self::Unix(connector) => Pool::Unix(builder.build(connector.clone())),
        }
    }
}

/// Sends requests over kept connections.
pub(super) struct Client {
    dial: Dial,
    pool: ArcSwap<Pool>,
}

impl From<Dial> for Client {
    fn from(dial: Dial) -> Self {
        let pool = ArcSwap::from_pointee(dial.pool());
        Self { dial, pool }
    }
}

impl Client {
    /// A client for URLs. `secure`: TLS is wanted, checked against `ca_file`, or else what the system believes.
    pub(super) fn net(secure: bool, ca_file: Option<&Path>) -> Result<Self, OpenError> {
        let tls = match (secure, ca_file) {
            (false, _) => config(RootCertStore::empty())?,
            (true, Some(file)) => config(authorities(file)?)?,
            (true, None) => system()?,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Dial::Net(connector).into())
    }

    /// A client for a Unix socket.
    #[cfg(unix)]
    pub(super) fn unix(socket: &Path) -> Self {
        Dial::Unix(super::unix::Connector::new(socket)).into()
    }

    /// Lets go of all unused connections: where one broke the others may be as dead, and not known to be yet.
    pub(super) fn renew(&self) {
        self.pool.store(Arc::new(self.dial.pool()));
    }

    /// Sends a request and waits for the head of its reply.
    pub(super) async fn send(&self, request: Request<Letter>) -> Result<Response<Incoming>, SendError> {
        let sending = match &**self.pool.load() {
            Pool::Net(client) => client.request(request),
            #[cfg(unix)]
            Pool::Unix(client) => client.request(request),
        };
        sending.await.map_err(|error| SendError {
            connect: error.is_connect(),
            why: chain(&error),
        })
    }
}

/// A request without a reply.
pub(super) struct SendError {
    /// No connection was made.
    pub(super) connect: bool,
    /// What happened.
    pub(super) why: String,
}

fn config(roots: RootCertStore) -> Result<ClientConfig, OpenError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| OpenError(format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What the system believes, read once: a bundle of authorities takes milliseconds.
fn system() -> Result<ClientConfig, OpenError> {
    static SYSTEM: OnceLock<ClientConfig> = OnceLock::new();
    if let Some(config) = SYSTEM.get() {
        return Ok(config.clone());
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |e| format!(" ({e})"));
        return Err(OpenError(format!(
            "no certificate authorities were found on this system{why}; name a file of them with `ca-file`"
        )));
    }
    let config = config(roots)?;
    Ok(SYSTEM.get_or_init(|| config).clone())
}

fn authorities(file: &Path) -> Result<RootCertStore, OpenError> {
    let wrong = |why: &dyn std::fmt::Display| OpenError(format!("`ca-file` {} {why}", file.display()));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| wrong(&format!("cannot be read: {e}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|e| wrong(&format!("is no PEM file: {e}")))?;
        roots
            .add(certificate)
            .map_err(|e| wrong(&format!("holds a certificate that cannot be used: {e}")))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"holds no certificate"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_letter_is_written_or_given_up_and_never_both() {
        let letter = |mark: &Arc<Mark>| Letter::new(Bytes::from_static(b"x"), Arc::clone(mark));
        let mark = Arc::<Mark>::default();
        let mut given_up = letter(&mark);
        assert!(mark.give_up() && mark.give_up());
        assert!(given_up.frame().await.is_some_and(|frame| frame.is_err()));
        mark.undone();
        assert!(given_up.frame().await.is_some_and(|frame| frame.is_err()));
        let mark = Arc::<Mark>::default();
        assert!(letter(&mark).frame().await.is_some_and(|frame| frame.is_ok()));
        assert!(!mark.give_up());
        // Elsewhere, as by a redirect.
        assert!(letter(&mark).frame().await.is_some_and(|frame| frame.is_ok()));
        mark.undone();
        assert!(mark.give_up());
    }
}
