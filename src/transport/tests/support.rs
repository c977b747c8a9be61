//! A scripted front, a server around it, and a client that sends bytes as they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::Listen;
use crate::transport::{Admitting, Front, Head, HttpReply, HttpRequest, Page, Replying, bind, serve, sse};

/// Long enough for a busy machine; only failing tests wait for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What the front tells the test.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Began(&'static str),
    Dropped(&'static str),
}

/// Tells the test when it is dropped.
struct Dropping(&'static str, mpsc::Sender<Seen>);

impl Dropping {
    /// Makes a closure own it.
    fn hold(&self) {}
}

impl Drop for Dropping {
    fn drop(&mut self) {
        // The test may be over.
        let _ = self.1.try_send(Seen::Dropped(self.0));
    }
}

/// `/mcp/wait` never answers, `/mcp/slow` answers when told, `/mcp/stream` sends two events and falls silent,
/// `/mcp/flood` never falls silent, `/mcp/accepted` has no body, `/mcp/panic` panics; all others echo.
struct Script {
    seen: mpsc::Sender<Seen>,
    go: tokio::sync::Notify,
}

impl Script {
    fn begin(&self, what: &'static str) -> Dropping {
        self.seen.try_send(Seen::Began(what)).unwrap();
        Dropping(what, self.seen.clone())
    }
}

impl Front for Script {
    fn serve(self: Arc<Self>, request: HttpRequest) -> Replying {
        Box::pin(async move {
            let headers = HeaderMap::new();
            match request.endpoint.as_str() {
                "wait" => {
                    let _guard = self.begin("wait");
                    std::future::pending().await
                }
                "slow" => {
                    self.seen.try_send(Seen::Began("slow")).unwrap();
                    self.go.notified().await;
                    echo(&request)
                }
                "stream" => {
                    let guard = self.begin("stream");
                    let events = stream::iter([sse::event("{}"), sse::comment("quiet")]).chain(stream::pending());
                    let events = events.inspect(move |_| guard.hold());
                    HttpReply::Stream {
                        headers,
                        events: Box::pin(events),
                    }
                }
                "flood" => {
                    let guard = self.begin("flood");
                    let block = sse::event(&"x".repeat(100_000));
                    let events = stream::repeat_with(move || {
                        guard.hold();
                        block.clone()
                    });
                    HttpReply::Stream {
                        headers,
                        events: Box::pin(events),
                    }
                }
                "accepted" => HttpReply::Empty {
                    status: StatusCode::ACCEPTED,
                    headers,
                },
                "panic" => panic!("as the test wants it"),
                _ => echo(&request),
            }
        })
    }

    fn admit<'a>(&'a self, _: Head<'a>) -> Admitting<'a> {
        Admitting::Now(Ok(None))
    }

    fn metadata(&self, _: Head<'_>) -> Option<Page> {
        None
    }

    fn page(&self, path: &str) -> Option<Page> {
        (path != "/readyz").then(|| Page {
            status: StatusCode::OK,
            content_type: "text/plain",
            body: Bytes::from(format!("page {path}")),
        })
    }
}

fn echo(request: &HttpRequest) -> HttpReply {
    let body = serde_json::json!({
        "method": request.method.as_str(),
        "endpoint": request.endpoint,
        "length": request.body.len(),
        "sum": request.body.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
        "headers": request.headers.len(),
        "connection": request.connection,
    });
    HttpReply::Json {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub seen: mpsc::Receiver<Seen>,
    pub serving: JoinHandle<()>,
    script: Arc<Script>,
    stop: Option<oneshot::Sender<()>>,
    deadline: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Serves on a free port with what `change` makes of the default configuration.
    pub async fn start(change: impl FnOnce(&mut Listen)) -> Self {
        let mut listen = Listen {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..Listen::default()
        };
        change(&mut listen);
        let bound = bind(&listen).await.unwrap();
        let address = bound.local_addr().unwrap();
        let (tell, seen) = mpsc::channel(1000);
        let (stop, stopped) = oneshot::channel();
        let (deadline, passed) = oneshot::channel();
        let script = Arc::new(Script {
            seen: tell,
            go: tokio::sync::Notify::new(),
        });
        let front = Arc::clone(&script) as Arc<dyn Front>;
        let until = |signal: oneshot::Receiver<()>| async move { drop(signal.await) };
        let serving = tokio::spawn(serve(bound, listen, front, until(stopped), until(passed)));
        Self {
            address,
            seen,
            serving,
            script,
            stop: Some(stop),
            deadline: Some(deadline),
        }
    }

    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap(), Vec::new())
    }

    pub async fn next(&mut self) -> Seen {
        timeout(PATIENCE, self.seen.recv()).await.unwrap().unwrap()
    }

    /// Lets one `/mcp/slow` go on.
    pub fn go(&self) {
        self.script.go.notify_one();
    }

    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub fn pass_deadline(&mut self) {
        self.deadline.take().unwrap().send(()).unwrap();
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A socket and what was read from it but not used.
pub struct Client(pub TcpStream, Vec<u8>);

impl Client {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A request with a right `Host`, more header lines and a body.
    pub async fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) {
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n");
        self.send([head.as_bytes(), body].concat()).await;
    }

    pub async fn ask(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        self.request(method, path, headers, body).await;
        self.answer().await
    }

    /// The next answer's head; for events, which have no length, also the bytes that came with it.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.1.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.1.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(
                self.fill().await > 0,
                "closed in a head: {:?}",
                String::from_utf8_lossy(&self.1)
            );
        }
    }

    /// A whole answer that has a `Content-Length`.
    pub async fn answer(&mut self) -> Answer {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.unwrap_or("0").parse().unwrap();
        while self.1.len() < length {
            assert!(self.fill().await > 0, "closed in a body");
        }
        let body = self.1.drain(..length).collect();
        Answer { status, head, body }
    }

    /// Reads until `text` has come.
    pub async fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.1).contains(text) {
            assert!(self.fill().await > 0, "closed before {text:?}");
        }
    }

    /// Waits until the server closes; what came before that is returned.
    pub async fn closed(mut self) -> Vec<u8> {
        while self.fill().await > 0 {}
        self.1
    }

    /// 0 at the end, a reset being one.
    async fn fill(&mut self) -> usize {
        let read = timeout(PATIENCE, self.0.read_buf(&mut self.1)).await;
        read.expect("neither answered nor closed").unwrap_or(0)
    }
}
