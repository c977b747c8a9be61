//! From an HTTP request to the front: path, origin, body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Body as _;
use hyper::body::Incoming;

use super::hosts::Hosts;
use super::reply::{Content, Refusal, not_allowed};
use super::watch::{Phase, Watch};
use super::{Front, HttpRequest};

/// What all requests share.
pub(super) struct Shared {
    pub(super) front: Arc<dyn Front>,
    /// `None` behind a local socket.
    pub(super) hosts: Option<Hosts>,
    pub(super) max_body: usize,
}

impl Shared {
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        self.hosts.as_ref().map_or(Ok(()), |hosts| hosts.check(uri, headers))
    }
}

/// One request, by its path. `/healthz` and `/readyz` are asked by load balancers under whatever name or address,
/// and say nothing worth stealing: only they go without the check of `Host` and `Origin`.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>, watch: &Watch) -> Response<Content> {
    let path = request.uri().path();
    match path {
        "/status" | "/healthz" | "/readyz" if !matches!(*request.method(), Method::GET | Method::HEAD) => not_allowed(),
        "/status" => match shared.check(request.uri(), request.headers()) {
            Ok(()) => page(shared, &request, watch),
            Err(refusal) => refuse(refusal, request.body(), watch),
        },
        "/healthz" | "/readyz" => page(shared, &request, watch),
        _ if endpoint(path).is_some() => call(shared, request, watch).await,
        _ => refuse(Refusal::NotFound, request.body(), watch),
    }
}

/// The endpoint that a path names: empty for `/mcp`. Names need no percent encoding: one that has some is the name
/// of no endpoint.
fn endpoint(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/mcp")?;
    match rest.strip_prefix('/') {
        None => rest.is_empty().then_some(rest),
        Some(name) => (!name.is_empty() && !name.contains('/')).then_some(name),
    }
}

async fn call(shared: &Shared, request: Request<Incoming>, watch: &Watch) -> Response<Content> {
    let (parts, mut body) = request.into_parts();
    let read = match shared.check(&parts.uri, &parts.headers) {
        Ok(()) => read(&mut body, shared.max_body, watch).await,
        Err(refusal) => Err(refusal),
    };
    watch.stop_waiting_for_body();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(refusal) => return refuse(refusal, &body, watch),
    };
    let request = HttpRequest {
        method: parts.method,
        endpoint: endpoint(parts.uri.path()).unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: bytes,
        connection: watch.number(),
        local: shared.hosts.is_none(),
    };
    Arc::clone(&shared.front).serve(request).await.into_response()
}

fn page(shared: &Shared, request: &Request<Incoming>, watch: &Watch) -> Response<Content> {
    match shared.front.page(request.uri().path()) {
        Some(page) => page.into_response(),
        None => refuse(Refusal::NotFound, request.body(), watch),
    }
}

/// The connection goes on after a refusal if the whole request was read; what is left of a body would be taken
/// for the next request.
fn refuse(refusal: Refusal, body: &Incoming, watch: &Watch) -> Response<Content> {
    let close = !body.is_end_stream();
    if close {
        watch.close_after_reply();
    }
    refusal.into_response(close)
}

/// The whole body, without a copy if it came in one piece.
async fn read(body: &mut Incoming, limit: usize, watch: &Watch) -> Result<Bytes, Refusal> {
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
async fn piece(body: &mut Incoming, left: usize, watch: &Watch) -> Result<Option<Bytes>, Refusal> {
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
