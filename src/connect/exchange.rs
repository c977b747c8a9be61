//! One request to the router's socket, from connecting to the end of its reply, told as events.
//!
//! Each request has a connection of its own: one that was kept could have died unnoticed. And its body leaves only when
//! the router has said that it is there to read it (`100 Continue`), for a router that dies still has a queue of
//! connections that it never saw. So what fails before that provably never reached it.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::join;
use futures_util::task::AtomicWaker;
use http::header::{ACCEPT, CONTENT_TYPE, EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::bridge::{Event, Post, Session};
use super::events::EventReader;
use crate::transport::local;
use crate::wire::header;

/// Bytes of one message of the router at most: it reads none that are longer from its backends, unless it is told to.
const MAX_MESSAGE: usize = 256 << 20;

/// A request that can be sent.
pub(super) type Call = Request<Withheld>;

/// A body that waits until it is asked for.
pub(super) struct Withheld {
    bytes: Bytes,
    wanted: Arc<Wanted>,
}

/// Whether the router wants the body, and who waits for that.
#[derive(Default)]
struct Wanted {
    yes: AtomicBool,
    waker: AtomicWaker,
}

impl Withheld {
    fn new(bytes: Bytes) -> Self {
        let wanted = Arc::default();
        Self { bytes, wanted }
    }
}

impl Body for Withheld {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        self.wanted.waker.register(cx.waker());
        if self.wanted.yes.load(Ordering::Acquire) {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}

/// What all requests of a client have in common.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// `/mcp`, or `/mcp/NAME`.
    pub(super) path: String,
    /// The headers that were asked for on the command line.
    pub(super) headers: HeaderMap,
}

impl Shape {
    /// A message as a request.
    pub(super) fn post(&self, post: Post) -> Call {
        let mut call = self.call(Method::POST, post.body.into_bytes(), post.session.as_deref());
        let headers = call.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        if let Some(mirror) = &post.mirror {
            set(headers, header::VERSION, &mirror.version);
            set(headers, header::METHOD, &mirror.method);
            mirror.name.iter().for_each(|name| set(headers, header::NAME, name));
        }
        call
    }

    /// Opens the stream of a session.
    pub(super) fn get(&self, session: &Session) -> Call {
        self.call(Method::GET, Bytes::new(), Some(session))
    }

    /// Ends a session.
    pub(super) fn delete(&self, session: &Session) -> Call {
        self.call(Method::DELETE, Bytes::new(), Some(session))
    }

    fn call(&self, method: Method, body: Bytes, session: Option<&Session>) -> Call {
        let mut call = Request::new(Withheld::new(body));
        // Checked when the command line was read.
        *call.uri_mut() = self.path.parse().unwrap_or_default();
        let accept = match method {
            Method::GET => "text/event-stream",
            _ => "application/json, text/event-stream",
        };
        *call.method_mut() = method;
        let headers = call.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(session) = session {
            set(headers, header::SESSION, &session.id);
            set(headers, header::VERSION, &session.version);
        }
        call
    }
}

/// Headers mirror the body; the router does not ask for it here. What no header can hold is left out.
fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let (Ok(value), false) = (HeaderValue::from_str(value), value.is_empty()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Sends a request and tells how it fares. Dropping this closes the connection.
pub(super) async fn exchange(socket: &Path, call: Call, number: u64, events: mpsc::Sender<Event>) {
    let end = converse(socket, call, number, &events).await;
    // Nobody listens any more when the program ends.
    let _ = events.send(end).await;
}

async fn converse(socket: &Path, mut call: Call, number: u64, events: &mpsc::Sender<Event>) -> Event {
    let wanted = Arc::clone(&call.body().wanted);
    let told = Arc::clone(&wanted);
    hyper::ext::on_informational(&mut call, move |_| {
        told.yes.store(true, Ordering::Release);
        told.waker.wake();
    });
    let Ok(stream) = local::connect(socket).await else {
        return Event::Refused(number);
    };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return Event::Refused(number);
    };
    let conversation = async move {
        let reply = match sender.send_request(call).await {
            Ok(reply) => reply,
            Err(_) if wanted.yes.load(Ordering::Acquire) => return Event::Cut(number),
            Err(_) => return Event::Refused(number),
        };
        match read(reply, number, events).await {
            Some(()) => Event::Ended(number),
            None => Event::Cut(number),
        }
    };
    // How the connection ends is seen by those who talk over it.
    join(connection, conversation).await.1
}

/// Tells what a reply says; `None` if it breaks off.
async fn read(reply: Response<Incoming>, number: u64, events: &mpsc::Sender<Event>) -> Option<()> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let head = Event::Head {
        number,
        status: reply.status().as_u16(),
        session: reply.headers().get(header::SESSION).and_then(text),
    };
    let kind = reply.headers().get(CONTENT_TYPE).and_then(text).unwrap_or_default();
    let streams = kind.starts_with("text/event-stream");
    events.send(head).await.ok()?;
    let mut body = reply.into_body();
    let (mut reader, mut whole) = (EventReader::default(), Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if whole.len() + reader.pending() + data.len() > MAX_MESSAGE {
            tracing::error!("a message of the router is longer than {MAX_MESSAGE} bytes");
            return None;
        }
        if !streams {
            whole.extend_from_slice(&data);
            continue;
        }
        reader.push(&data);
        while let Some(said) = reader.next() {
            events.send(Event::Said(number, said)).await.ok()?;
        }
    }
    if !whole.is_empty() {
        let said = String::from_utf8(whole).unwrap_or_default();
        events.send(Event::Said(number, said)).await.ok()?;
    }
    Some(())
}
