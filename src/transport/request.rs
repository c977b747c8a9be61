//! From an HTTP request to the front: path, origin, body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use super::hosts::Hosts;
use super::reply::Refusal;
use super::watch::{Phase, Watch};
use super::{Front, HttpRequest};

/// What all requests share.
pub(super) struct Shared {
    pub(super) front: Arc<dyn Front>,
    pub(super) hosts: Hosts,
    pub(super) max_body: usize,
}

/// The paths. `/healthz` and `/readyz` are asked by load balancers under whatever name or address, and say
/// nothing worth stealing: only they go without the check of `Host` and `Origin`.
pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/mcp", any(call))
        .route("/mcp/{name}", any(call))
        .route("/status", get(status))
        .route("/healthz", get(probe))
        .route("/readyz", get(probe))
        .fallback(nothing)
        .with_state(Arc::new(shared))
}

async fn call(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (mut parts, mut body) = request.into_parts();
    // Set by the connection for each of its requests.
    let Some(watch) = parts.extensions.remove::<Arc<Watch>>() else {
        return Refusal::NotFound.into_response(true);
    };
    let read = match shared.hosts.check(&parts.uri, &parts.headers) {
        Ok(()) => read(&mut body, shared.max_body, &watch).await,
        Err(refusal) => Err(refusal),
    };
    watch.stop_waiting_for_body();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(refusal) => return refuse(refusal, &body, &watch),
    };
    // Names need no percent encoding: one that has some is the name of no endpoint.
    let endpoint = parts.uri.path().strip_prefix("/mcp/").unwrap_or_default().to_owned();
    let request = HttpRequest {
        method: parts.method,
        endpoint,
        headers: parts.headers,
        body: bytes,
        connection: watch.number(),
    };
    Arc::clone(&shared.front).serve(request).await.into_response()
}

async fn status(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match shared.hosts.check(request.uri(), request.headers()) {
        Ok(()) => page(&shared, request),
        Err(refusal) => refuse_request(refusal, &request),
    }
}

async fn probe(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    page(&shared, request)
}

async fn nothing(request: Request) -> Response {
    refuse_request(Refusal::NotFound, &request)
}

fn page(shared: &Shared, request: Request) -> Response {
    match shared.front.page(request.uri().path()) {
        Some(page) => page.into_response(),
        None => refuse_request(Refusal::NotFound, &request),
    }
}

fn refuse_request(refusal: Refusal, request: &Request) -> Response {
    match request.extensions().get::<Arc<Watch>>() {
        Some(watch) => refuse(refusal, request.body(), watch),
        None => refusal.into_response(true),
    }
}

/// The connection goes on after a refusal if the whole request was read; what is left of a body would be taken
/// for the next request.
fn refuse(refusal: Refusal, body: &Body, watch: &Watch) -> Response {
    let close = !body.is_end_stream();
    if close {
        watch.close_after_reply();
    }
    refusal.into_response(close)
}

/// The whole body, without a copy if it came in one piece.
async fn read(body: &mut Body, limit: usize, watch: &Watch) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // What `Content-Length` says, before a byte of it is read.
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Refusal::TooLarge);
    }
    let Some(first) = piece(body, limit, watch).await? else {
        return Ok(Bytes::new());
    };
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = piece(body, limit - first.len(), watch).await? else {
        return Ok(first);
    };
    // Room is made for what has come, not for what is announced: announcing is free.
    let mut whole = BytesMut::with_capacity(2 * (first.len() + second.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while !body.is_end_stream() {
        let Some(next) = piece(body, limit - whole.len(), watch).await? else {
            break;
        };
        whole.extend_from_slice(&next);
    }
    Ok(whole.freeze())
}

/// The next piece, of at most `left` bytes; `None` at the end.
async fn piece(body: &mut Body, left: usize, watch: &Watch) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = std::future::poll_fn(|cx| {
            if watch.phase() == Phase::Late {
                return Poll::Ready(Err(Refusal::TooSlow));
            }
            let frame = Pin::new(&mut *body).poll_frame(cx);
            if frame.is_pending() {
                watch.wait_for_body();
            }
            frame.map(Ok)
        })
        .await?;
        let piece = match frame {
            None => None,
            Some(Err(_)) => return Err(Refusal::BadBody),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if data.len() > left => return Err(Refusal::TooLarge),
                Ok(data) => Some(data),
                // Trailers: nobody needs them.
                Err(_) => continue,
            },
        };
        return Ok(piece);
    }
}
