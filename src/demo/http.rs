//! The streamable HTTP transport of the demo server: JSON answers, event streams where a call needs one.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::jobs::{Job, Running};
use super::server::{Era, MODERN, Next, Server};
use super::wire::{self, Message};
use super::{EraChoice, headers};

/// Lines of a slow call that may wait for its client.
const QUEUE: usize = 16;
/// The longest request taken.
const LONGEST: usize = 64 * 1024 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Serves every client that connects, for ever.
pub async fn run(server: Arc<Server>, port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = listener.local_addr()?.port();
    let _ = writeln!(io::stderr(), "listening on http://127.0.0.1:{port}/mcp");
    accept(server, listener).await
}

/// Serves every client of a listener that is already bound.
pub async fn accept(server: Arc<Server>, listener: TcpListener) -> io::Result<()> {
    let running = Running::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, as a rule: wait for some to be closed instead of spinning.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let service = Service {
            server: server.clone(),
            running: running.clone(),
        };
        let service = hyper::service::service_fn(move |request| service.clone().answer(request));
        let connection = hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

#[derive(Clone)]
struct Service {
    server: Arc<Server>,
    running: Running,
}

impl Service {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        if head.uri.path() != "/mcp" {
            return Ok(status(StatusCode::NOT_FOUND));
        }
        if !headers::is_local_origin(&head.headers) {
            return Ok(status(StatusCode::FORBIDDEN));
        }
        if head.method != Method::POST {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            let post = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, post);
            return Ok(response);
        }
        Ok(match read(body).await {
            Ok(body) => self.post(&head.headers, &body).await,
            Err(code) => status(code),
        })
    }

    async fn post(&self, headers: &HeaderMap, body: &[u8]) -> Response<Body> {
        let mut out = Vec::with_capacity(body.len() + 256);
        // The message borrows the body and must be gone before anything is awaited.
        let (era, next) = match wire::parse(body) {
            Err(malformed) => (Era::Legacy, self.server.refuse(&malformed, &mut out)),
            Ok(message) => {
                let era = self.era(headers, &message);
                let wrong = match era {
                    Era::Legacy if headers::is_stale(headers) => return status(StatusCode::NOT_FOUND),
                    Era::Legacy => None,
                    Era::Modern => headers::mismatch(headers, &message),
                };
                let next = match wrong {
                    None => self.server.answer(&message, era, &mut out),
                    Some(text) => {
                        wire::push_error(&mut out, message.id, wire::HEADER_MISMATCH, &text, None);
                        Next::Refused(400)
                    }
                };
                (era, next)
            }
        };
        match next {
            Next::Answered => json(out),
            Next::Told => reply(EVENTS, Body::Whole(Some(events(&out)))),
            Next::Refused(code) => {
                let mut response = json(out);
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
                response
            }
            Next::Welcomed => {
                let mut response = json(out);
                if let Some(id) = headers::session_id() {
                    response.headers_mut().insert(headers::SESSION, id);
                }
                response
            }
            Next::Nothing => status(StatusCode::ACCEPTED),
            Next::Cancel(id) => {
                // In the modern era closing the response is the only way to cancel.
                if era == Era::Legacy {
                    self.running.cancel(&key(headers, &id));
                }
                status(StatusCode::ACCEPTED)
            }
            Next::Crash => super::die(),
            Next::Later(job) => self.later(headers, era, job).await,
        }
    }

    /// The header tells a modern request that lacks its envelope from a legacy one.
    fn era(&self, headers: &HeaderMap, message: &Message<'_>) -> Era {
        let claims_modern = headers.get(headers::VERSION).is_some_and(|version| version == MODERN);
        if claims_modern && self.server.options.era == EraChoice::Both {
            return Era::Modern;
        }
        self.server.era(message)
    }

    async fn later(&self, headers: &HeaderMap, era: Era, job: Job) -> Response<Body> {
        let (sink, mut lines) = mpsc::channel(QUEUE);
        let streams = job.streams();
        let key = match era {
            Era::Legacy => key(headers, job.id.get()),
            // Cannot be cancelled by id, and ids of unrelated clients may be equal.
            Era::Modern => headers::unique(),
        };
        let tail = self.server.tail(era).to_owned();
        let task = self.running.start(key, job, tail, sink);
        // A legacy client that disconnects may come back, so only a modern one cancels by leaving.
        let guard = AbortOnDrop((era == Era::Modern).then_some(task));
        if streams {
            return reply(EVENTS, Body::Events { lines, _guard: guard });
        }
        match lines.recv().await {
            Some(line) => json(line),
            // Cancelled: a stream that ends without the answer.
            None => reply(EVENTS, Body::Whole(None)),
        }
    }
}

/// What a legacy request can be cancelled by: request ids are only unique within their session.
fn key(headers: &HeaderMap, id: &str) -> String {
    let session = headers.get(headers::SESSION);
    let session = session.map_or("", |id| id.to_str().unwrap_or_default());
    format!("{session} {id}")
}

async fn read(mut body: Incoming) -> Result<Bytes, StatusCode> {
    let mut first = Bytes::new();
    let mut rest = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else {
            continue;
        };
        if first.is_empty() {
            // Nearly always all there is, and then taken without a copy.
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&data);
        if rest.len() > LONGEST {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

fn json(mut line: Vec<u8>) -> Response<Body> {
    line.pop_if(|byte| *byte == b'\n');
    reply(JSON, Body::Whole(Some(line.into())))
}

fn reply(kind: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = code;
    response
}

fn events(lines: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(lines.len() + 64);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        out.extend_from_slice(b"event: message\ndata: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.into()
}

struct AbortOnDrop(Option<AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

enum Body {
    Whole(Option<Bytes>),
    Events {
        lines: mpsc::Receiver<Vec<u8>>,
        _guard: AbortOnDrop,
    },
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events { lines, .. } => lines
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(events(&line))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                http_body::SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Events { .. } => http_body::SizeHint::default(),
        }
    }
}
