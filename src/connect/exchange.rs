//! One request to the router's socket, from connecting to the end of its reply, told as events.
//!
//! Each request has a connection of its own: one that was kept could have died unnoticed. And its body leaves only when
//! the router has said that it is there to read it (`100 Continue`), for a router that dies still has a queue of
//! connections that it never saw. So what fails before that provably never reached it.

use std::convert::Infallible;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::header::{ACCEPT, CONTENT_TYPE, EXPECT, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::sleep;

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
    /// How long the router may take to ask for a body, or to answer without. It does so at once unless it hangs.
    pub(super) patience: Duration,
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
        if post.session.is_none() && post.mirror.is_none() {
            // What opens a session: the head of the reply names it, and must not go out before it is there.
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
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
pub(super) async fn exchange(socket: &Path, call: Call, patience: Duration, number: u64, events: mpsc::Sender<Event>) {
    let end = converse(socket, call, patience, number, &events).await;
    // Nobody listens any more when the program ends.
    let _ = events.send(end).await;
}

async fn converse(
    socket: &Path,
    mut call: Call,
    patience: Duration,
    number: u64,
    events: &mpsc::Sender<Event>,
) -> Event {
    let wanted = Arc::clone(&call.body().wanted);
    let told = Arc::clone(&wanted);
    hyper::ext::on_informational(&mut call, move |_| {
        told.yes.store(true, Ordering::Release);
        told.waker.wake();
    });
    let Ok(stream) = local::connect(socket).await else {
        return Event::Refused(number);
    };
    let Ok((mut sender, mut connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return Event::Refused(number);
    };
    let conversation = async move {
        let has_it = || wanted.yes.load(Ordering::Acquire);
        let hangs = async {
            sleep(patience).await;
            if has_it() {
                std::future::pending().await
            }
        };
        let reply = tokio::select! {
            reply = sender.send_request(call) => reply,
            () = hangs => return Event::Refused(number),
        };
        match reply {
            Ok(reply) => match read(reply, number, events).await {
                Some(()) => Event::Ended(number),
                None => Event::Cut(number),
            },
            Err(_) if has_it() => Event::Cut(number),
            Err(_) => Event::Refused(number),
        }
    };
    let mut conversation = pin!(conversation);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            end = &mut conversation => return end,
            // How it ends is seen by those who talk over it.
            _ = &mut connection, if open => open = false,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    fn ping() -> Call {
        let shape = Shape {
            patience: Duration::from_secs(1),
            path: "/mcp".to_owned(),
            headers: HeaderMap::new(),
        };
        let body = "{\"ping\":1}".into();
        shape.post(Post {
            number: 7,
            session: None,
            mirror: None,
            body,
        })
    }

    /// What is told of an exchange with a router that does what `router` does with its connection.
    async fn told<F>(router: impl FnOnce(UnixStream) -> F + Send + 'static) -> Vec<String>
    where
        F: Future<Output = ()> + Send,
    {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("x.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move { router(listener.accept().await.unwrap().0).await });
        let (events, mut happened) = mpsc::channel(9);
        exchange(&path, ping(), Duration::from_secs(1), 7, events).await;
        let mut all = Vec::new();
        while let Some(event) = happened.recv().await {
            all.push(format!("{event:?}"));
        }
        all
    }

    /// Reads until `text` has come.
    async fn until(stream: &mut UnixStream, text: &str) {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
            assert!(text.contains("ping") || !String::from_utf8_lossy(&read).contains("ping"));
        }
    }

    #[tokio::test]
    async fn what_broke_before_the_body_left_is_refused_and_else_cut() {
        let (nobody, mut happened) = mpsc::channel(1);
        exchange(Path::new("/nowhere"), ping(), Duration::from_secs(1), 7, nobody).await;
        assert!(matches!(happened.recv().await, Some(Event::Refused(7))));
        assert_eq!(told(|stream| async move { drop(stream) }).await, ["Refused(7)"]);
        let head_alone = |mut stream: UnixStream| async move { until(&mut stream, "\r\n\r\n").await };
        assert_eq!(told(head_alone).await, ["Refused(7)"]);
        let body = |mut stream: UnixStream| async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            until(&mut stream, "ping").await;
        };
        assert_eq!(told(body).await, ["Cut(7)"]);
        let half = |mut stream: UnixStream| async move {
            until(&mut stream, "\r\n\r\n").await;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            until(&mut stream, "ping").await;
            let reply = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
                0d\r\n: x\n\ndata: 1\n\r\n08\r\n\ndata: 2\r\n";
            stream.write_all(reply).await.unwrap();
        };
        let head = "Head { number: 7, status: 200, session: None }";
        assert_eq!(told(half).await, [head, "Said(7, \"1\")", "Cut(7)"]);
    }

    #[tokio::test]
    async fn a_refusal_needs_no_body_and_a_router_that_hangs_gets_none() {
        let refusal = |mut stream: UnixStream| async move {
            until(&mut stream, "\r\n\r\n").await;
            let reply = b"HTTP/1.1 413 X\r\nmcp-session-id: s\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(reply).await.unwrap();
        };
        let head = "Head { number: 7, status: 413, session: Some(\"s\") }";
        assert_eq!(told(refusal).await, [head, "Said(7, \"{}\")", "Ended(7)"]);
        let hangs = |mut stream: UnixStream| async move {
            until(&mut stream, "\r\n\r\n").await;
            // Until the other side gives up.
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        };
        assert_eq!(told(hangs).await, ["Refused(7)"]);
    }
}
