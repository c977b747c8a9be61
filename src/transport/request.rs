//! From an HTTP request to the front: path, origin, body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use hyper::body::Incoming;

use super::hosts::Hosts;
use super::reply::{Content, Refusal, not_allowed};
use super::watch::{Phase, Watch};
use super::{Admitted, Admitting, Front, Head, HttpReply, HttpRequest};

/// What all requests share.
pub(super) struct Shared {
    pub(super) front: Arc<dyn Front>,
    /// `None` behind a local socket.
    pub(super) hosts: Option<Hosts>,
    pub(super) max_body: usize,
    /// Behind TLS.
    pub(super) secure: bool,
}

impl Shared {
    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        self.hosts.as_ref().map_or(Ok(()), |hosts| hosts.check(uri, headers))
    }

    fn head<'a>(&self, endpoint: Option<&'a str>, uri: &'a Uri, headers: &'a HeaderMap) -> Head<'a> {
        Head {
            endpoint,
            uri,
            headers,
            secure: self.secure,
        }
    }

    /// Who asks. Over a local socket nobody else can.
    async fn admit(&self, head: Head<'_>) -> Admitted {
        match self.hosts {
            None => Ok(None),
            Some(_) => match self.front.admit(head) {
                Admitting::Now(admitted) => admitted,
                Admitting::Later(admitting) => admitting.await,
            },
        }
    }
}

/// One request, by its path. `/healthz` and `/readyz` are asked by load balancers under whatever name or address,
/// and say nothing worth stealing: only they go without the check of `Host` and `Origin`.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>, watch: &Watch) -> Response<Content> {
    let path = request.uri().path();
    match path {
        "/status" | "/metrics" | "/healthz" | "/readyz" | WELL_KNOWN
            if !matches!(*request.method(), Method::GET | Method::HEAD) =>
        {
            not_allowed()
        }
        "/status" | "/metrics" => match shared.check(request.uri(), request.headers()) {
            Ok(()) => match shared.admit(shared.head(None, request.uri(), request.headers())).await {
                Ok(_) => page(shared, &request, watch),
                Err(reply) => reply.into_response(),
            },
            Err(refusal) => refuse(refusal, request.body(), watch),
        },
        "/healthz" | "/readyz" => page(shared, &request, watch),
        _ if endpoint(path).is_some() => call(shared, request, watch).await,
        _ => match path.strip_prefix(WELL_KNOWN).and_then(resource) {
            Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => not_allowed(),
            Some(endpoint) => metadata(shared, endpoint, &request, watch),
            None => refuse(Refusal::NotFound, request.body(), watch),
        },
    }
}

/// Where clients look for what an endpoint asks for (RFC 9728, section 3.1): here, with its path behind.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The endpoint whose metadata a path is of; without a path behind it is that of `/mcp`.
fn resource(rest: &str) -> Option<&str> {
    match rest {
        "" | "/" => Some(""),
        path => endpoint(path),
    }
}

/// Everybody may read it: who has no token yet least of all has one.
fn metadata(shared: &Shared, endpoint: &str, request: &Request<Incoming>, watch: &Watch) -> Response<Content> {
    let (uri, headers) = (request.uri(), request.headers());
    if let Err(refusal) = shared.check(uri, headers) {
        return refuse(refusal, request.body(), watch);
    }
    match shared.front.metadata(shared.head(Some(endpoint), uri, headers)) {
        Some(page) => page.into_response(),
        None => refuse(Refusal::NotFound, request.body(), watch),
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
    let name = endpoint(parts.uri.path()).unwrap_or_default();
    let mut principal = None;
    let read = match shared.check(&parts.uri, &parts.headers) {
        // Before the body: nobody holds memory who may not call.
        Ok(()) => match shared.admit(shared.head(Some(name), &parts.uri, &parts.headers)).await {
            Ok(admitted) => {
                principal = admitted;
                read(&mut body, shared.max_body, watch).await
            }
            Err(reply) => return turn_away(reply, body, watch).await,
        },
        Err(refusal) => Err(refusal),
    };
    watch.stop_waiting_for_body();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(refusal) => return refuse(refusal, &body, watch),
    };
    let request = HttpRequest {
        method: parts.method,
        endpoint: name.to_owned(),
        principal,
        headers: parts.headers,
        body: bytes,
        connection: watch.number(),
        local: shared.hosts.is_none(),
    };
    Arc::clone(&shared.front).serve(request).await.into_response()
}

/// Bytes of a body that are read although its request is refused, for the sake of its connection.
const POLITE: usize = 64 * 1024;

/// A refusal that is none of ours. Clients try without a token first: the connection is kept where that is cheap.
async fn turn_away(reply: HttpReply, mut body: Incoming, watch: &Watch) -> Response<Content> {
    let read = read(&mut body, POLITE, watch).await;
    watch.stop_waiting_for_body();
    let mut response = reply.into_response();
    if read.is_err() {
        watch.close_after_reply();
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
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
