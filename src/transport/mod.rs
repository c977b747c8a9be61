//! The HTTP front: sockets into requests, replies into bytes. It knows nothing about MCP but its paths.
//!
//! `http` accepts and stops, `connection` drives one socket against its deadlines (`watch` says what the socket
//! is doing), `request` turns HTTP requests into [`HttpRequest`]s, `hosts` keeps other sites' pages out,
//! `reply` and `sse` make the bytes that go back, `tls` keeps the certificate. `local` has the other doors: sockets that only their owner can open.

use std::pin::Pin;
use std::sync::Arc;

use ::http::{HeaderMap, Method, StatusCode, Uri};
use bytes::Bytes;
use futures_util::Stream;

use crate::call::Principal;

mod connection;
mod hosts;
pub mod http;
pub mod local;
mod reply;
mod request;
pub mod sse;
#[cfg(test)]
mod tests;
mod tls;
mod watch;

pub use self::http::{Bound, bind, serve};
pub use self::tls::Tls;

/// One HTTP request to an endpoint, its body complete.
#[derive(Debug)]
pub struct HttpRequest {
    /// The HTTP method; the front decides which ones it takes.
    pub method: Method,
    /// Empty for `/mcp`, `NAME` for `/mcp/NAME`.
    pub endpoint: String,
    /// The headers as they came; `Host` and `Origin` are checked already.
    pub headers: HeaderMap,
    /// The whole body, at most `max_body` bytes.
    pub body: Bytes,
    /// Unique per accepted connection; over a local socket, per process.
    pub connection: u64,
    /// Who sent it, where the front asked for proof.
    pub principal: Option<Arc<Principal>>,
    /// It came over a socket that only the router's owner can open. Nobody between the two routes by headers, and a
    /// client that speaks stdio has none: they need not mirror the body.
    pub local: bool,
}

/// Bytes of an event stream as they become ready, made by [`sse`].
pub type Events = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// What goes back. Content type and cache headers are set here, all others are the front's.
pub enum HttpReply {
    /// A status and nothing else.
    Empty {
        /// The status.
        status: StatusCode,
        /// Additional headers.
        headers: HeaderMap,
    },
    /// A JSON document.
    Json {
        /// The status.
        status: StatusCode,
        /// Additional headers.
        headers: HeaderMap,
        /// The document.
        body: Bytes,
    },
    /// An event stream with status 200, which ends when `events` does.
    Stream {
        /// Additional headers.
        headers: HeaderMap,
        /// The events; dropped when the client disconnects, or stops reading for `write_timeout`.
        events: Events,
    },
}

/// A small page for people and probes.
#[derive(Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The page.
    pub body: Bytes,
}

/// The future of a reply.
pub type Replying = Pin<Box<dyn Future<Output = HttpReply> + Send>>;

/// What is known of a request before its body is read.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The endpoint, as in [`HttpRequest`]; `None` for the page `/status`.
    pub endpoint: Option<&'a str>,
    /// Its target.
    pub uri: &'a Uri,
    /// Its headers; `Host` and `Origin` are checked already.
    pub headers: &'a HeaderMap,
    /// It came over TLS.
    pub secure: bool,
}

/// Whether a request is let in: as whom, where that was asked, or the reply in its place.
pub type Admitted = Result<Option<Arc<Principal>>, HttpReply>;

/// The way to that.
pub enum Admitting<'a> {
    /// It is clear at once.
    Now(Admitted),
    /// It takes a look at what the request brings, which may have to be compared with keys from elsewhere.
    Later(Pin<Box<dyn Future<Output = Admitted> + Send + 'a>>),
}

/// What stands behind the HTTP front.
pub trait Front: Send + Sync + 'static {
    /// Whether a request is let in. Requests over local sockets are, without a question.
    fn admit<'a>(&'a self, head: Head<'a>) -> Admitting<'a>;

    /// The metadata of an endpoint as a protected resource (RFC 9728); `None` is answered with 404.
    fn metadata(&self, head: Head<'_>) -> Option<Page>;

    /// Answers one request. The future is dropped when the client disconnects before the reply.
    fn serve(self: Arc<Self>, request: HttpRequest) -> Replying;

    /// The page for `/healthz`, `/readyz`, `/status` or `/metrics`; `None` is answered with 404.
    fn page(&self, path: &str) -> Option<Page>;
}
