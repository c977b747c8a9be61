//! Replies as HTTP responses: the front's, and our own refusals.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::watch::Watch;
use super::{Events, HttpReply, Page};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// Tells nginx, and those who copied it, to pass events on as they come.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const NO: HeaderValue = HeaderValue::from_static("no");

impl HttpReply {
    pub(super) fn into_response(self) -> Response<Content> {
        match self {
            Self::Empty { status, headers } => response(status, headers, Content::Whole(Bytes::new())),
            Self::Json {
                status,
                mut headers,
                body,
            } => {
                headers.insert(CONTENT_TYPE, JSON);
                response(status, headers, Content::Whole(body))
            }
            Self::Stream { mut headers, events } => {
                headers.insert(CONTENT_TYPE, EVENT_STREAM);
                headers.insert(CACHE_CONTROL, NO_CACHE);
                headers.insert(ACCEL_BUFFERING, NO);
                response(StatusCode::OK, headers, Content::Events(events))
            }
        }
    }
}

impl Page {
    pub(super) fn into_response(self) -> Response<Content> {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response(self.status, headers, Content::Whole(self.body))
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Why a request never reaches the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No `Host`, several, or one that is none.
    BadHost,
    /// A `Host` that is not ours.
    ForeignHost,
    /// A page of another site asks.
    ForeignOrigin,
    /// No such path.
    NotFound,
    /// The body is longer than `max_body`.
    TooLarge,
    /// The body took longer than `body_timeout`.
    TooSlow,
    /// The body is no proper HTTP, or ends before its end.
    BadBody,
    /// More than `max_connections`.
    Crowded,
}

/// An error body with the code of an invalid request: whatever its id is, it was not read.
macro_rules! body {
    ($message:literal) => {
        concat!(
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":""#,
            $message,
            r#""}}"#
        )
    };
}

impl Refusal {
    /// The status and the JSON-RPC error.
    pub(super) fn parts(self) -> (StatusCode, &'static str) {
        match self {
            Self::BadHost => (StatusCode::BAD_REQUEST, body!("exactly one Host header is needed")),
            Self::ForeignHost => (
                StatusCode::FORBIDDEN,
                body!("this Host is not served here; listen.allowed-hosts can allow it"),
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                body!("this Origin may not connect; listen.allowed-origins can allow it"),
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                body!("no such path; endpoints are /mcp and /mcp/NAME"),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                body!("the request body is longer than listen.max-body"),
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                body!("the request body took longer than listen.body-timeout"),
            ),
            Self::BadBody => (
                StatusCode::BAD_REQUEST,
                body!("the request body is malformed or incomplete"),
            ),
            Self::Crowded => (
                StatusCode::SERVICE_UNAVAILABLE,
                body!("listen.max-connections are open; try again"),
            ),
        }
    }

    /// The response; `close` when the request's body was not read to its end.
    pub(super) fn into_response(self, close: bool) -> Response<Content> {
        let (status, body) = self.parts();
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(CONTENT_TYPE, JSON);
        if close {
            headers.insert(CONNECTION, CLOSE);
        }
        response(status, headers, Content::Whole(Bytes::from_static(body.as_bytes())))
    }
}

/// For a method that a page does not have.
pub(super) fn not_allowed() -> Response<Content> {
    let mut headers = HeaderMap::with_capacity(1);
    headers.insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
    response(StatusCode::METHOD_NOT_ALLOWED, headers, Content::Whole(Bytes::new()))
}

/// What a response holds.
pub(super) enum Content {
    /// These bytes; none are left once they were sent.
    Whole(Bytes),
    /// Bytes as they come.
    Events(Events),
}

/// A body that tells the watch when it is over: sent, or given up.
pub(super) struct Sent {
    content: Content,
    watch: Arc<Watch>,
}

impl Sent {
    pub(super) fn new(content: Content, watch: Arc<Watch>) -> Self {
        Self { content, watch }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.watch.replied();
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Events(events) => events
                .as_mut()
                .poll_next(cx)
                .map(|event| event.map(|e| Ok(Frame::data(e)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Content::Events(_) => SizeHint::default(),
        }
    }
}
