//! A server that answers as the test says, request by request, and what it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::config::{self, Place, Transport};
use crate::remote::{Event, Mirrors, Remote};

/// Long enough for a busy machine; only failing tests wait for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited for {what}"))
}

/// A server on loopback.
pub struct Fake {
    pub port: u16,
    pub accepted: Arc<AtomicUsize>,
    asked: mpsc::Receiver<Asked>,
    task: AbortHandle,
}

/// A request that waits for its reply. Dropping it leaves the connection open for the next one.
pub struct Asked {
    pub head: String,
    pub body: String,
    out: mpsc::Sender<Vec<u8>>,
}

impl Fake {
    pub async fn new() -> Self {
        Self::at(0).await
    }

    /// At a port that was in use just now.
    pub async fn at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, asked) = mpsc::channel(64);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            // Its connections end with it, as those of a process.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(stream, sender.clone()));
            }
        });
        Self {
            port,
            accepted,
            asked,
            task: task.abort_handle(),
        }
    }

    pub async fn next(&mut self) -> Asked {
        soon("a request", self.asked.recv()).await.unwrap()
    }

    /// Answers the question whether it is well.
    pub async fn probed(&mut self) {
        let asked = self.next().await;
        assert!(asked.body.contains("\"probe\""), "{}", asked.body);
        asked.json(r#"{"jsonrpc":"2.0","id":"probe","result":{}}"#).await;
    }

    /// Whether nothing was asked so far that was not taken.
    pub fn is_quiet(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }

    /// As a SIGKILL: every connection breaks, and nobody listens any more.
    pub async fn die(mut self) -> u16 {
        self.task.abort();
        while self.asked.recv().await.is_some() {}
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn remote(&self) -> Remote {
        self.remote_with(Transport::Auto, |_| {})
    }

    pub fn remote_with(&self, transport: Transport, change: impl FnOnce(&mut config::Remote)) -> Remote {
        let mut settings = config::Remote::from(Place::Urls(vec![self.url("/mcp")]));
        settings.transport = transport;
        change(&mut settings);
        open(&settings, 1000)
    }
}

pub fn open(settings: &config::Remote, limit: usize) -> Remote {
    let mirrors: Mirrors = Arc::new(|_| Vec::new());
    Remote::open(settings, 0, limit, mirrors, &Default::default()).unwrap()
}

async fn connection(mut stream: TcpStream, asked: mpsc::Sender<Asked>) {
    loop {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                let head = String::from_utf8(bytes.drain(..end + 4).collect())
                    .unwrap()
                    .to_lowercase();
                let length = head
                    .split("content-length: ")
                    .nth(1)
                    .and_then(|l| l.lines().next()?.parse().ok());
                break (head, length.unwrap_or(0_usize));
            }
        };
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let (out, mut chunks) = mpsc::channel::<Vec<u8>>(64);
        let body = String::from_utf8(bytes).unwrap();
        if asked.send(Asked { head, body, out }).await.is_err() {
            return;
        }
        loop {
            let mut more = [0_u8; 1];
            tokio::select! {
                chunk = chunks.recv() => match chunk {
                    None => break,
                    Some(end) if end.is_empty() => return,
                    Some(chunk) => if stream.write_all(&chunk).await.is_err() { return },
                },
                read = stream.read(&mut more) => {
                    assert_eq!(read.unwrap_or(0), 0, "requests are not pipelined");
                    return;
                }
            }
        }
    }
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(prefix.as_str()))
    }

    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap().trim_end_matches(" http/1.1")
    }

    pub async fn write(&self, text: &str) {
        self.out.send(text.as_bytes().to_vec()).await.unwrap();
    }

    /// Waits until the client has closed the connection.
    pub async fn left(&self) {
        soon("the end of the connection", self.out.closed()).await;
    }

    /// Breaks the connection.
    pub async fn hang_up(self) {
        let _ = self.out.send(Vec::new()).await;
    }

    pub async fn reply(self, status: &str, headers: &str, body: &str) {
        let text = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.write(&text).await;
    }

    pub async fn json(self, body: &str) {
        self.reply("200 OK", "content-type: application/json\r\n", body).await;
    }

    /// Begins an event stream.
    pub async fn events(&self) {
        self.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            .await;
    }

    pub async fn event(&self, text: &str) {
        self.write(&format!("{:x}\r\n{text}\r\n", text.len())).await;
    }

    /// Ends it in order.
    pub async fn end(self) {
        self.write("0\r\n\r\n").await;
    }
}

/// The next event of a remote.
pub async fn event(remote: &mut Remote) -> Event {
    soon("an event", remote.event()).await
}

/// The call that failed, and whether another try may go better.
pub fn failed(event: &Event) -> (u64, bool) {
    match event {
        Event::Failed { id, again, .. } => (*id, *again),
        other => panic!("{other:?}"),
    }
}

pub fn message(text: &str, call: Option<u64>) -> Event {
    Event::Message {
        text: text.to_owned().into(),
        call,
    }
}

pub fn call(id: u64) -> Vec<u8> {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"t\"}}}}\n")
        .into_bytes()
}

pub fn modern_call(id: u64) -> Vec<u8> {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"t\",\"_meta\":{meta}}}}}\n"
    )
    .into_bytes()
}

pub fn answer(id: u64) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}")
}

/// What the server says to `initialize`.
pub const WELCOME: &str =
    r#"{"jsonrpc":"2.0","id":2,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}}"#;

/// A remote whose legacy handshake is done, with a session, and whose stream of its own was refused.
pub async fn legacy(fake: &mut Fake) -> Remote {
    let mut remote = fake.remote();
    let stream = greet(fake, &mut remote).await;
    stream.reply("405 Method Not Allowed", "", "").await;
    remote
}

/// The three steps of a legacy session, and the request for its stream.
pub async fn greet(fake: &mut Fake, remote: &mut Remote) -> Asked {
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#.to_vec(),
    );
    let asked = fake.next().await;
    assert_eq!(
        asked.header("mcp-session-id").or(asked.header("mcp-protocol-version")),
        None
    );
    let headers = "content-type: application/json\r\nmcp-session-id: S1\r\n";
    asked.reply("200 OK", headers, WELCOME).await;
    assert_eq!(event(remote).await, message(WELCOME, None));
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec(),
    );
    // Held back until the third step is done.
    remote.push(Some(100), call(100));
    let asked = fake.next().await;
    assert!(asked.body.contains("initialized"), "{}", asked.body);
    assert!(fake.is_quiet());
    asked.reply("202 Accepted", "", "").await;
    let (told, stream) = tokio::join!(event(remote), async {
        let (one, other) = (fake.next().await, fake.next().await);
        let (stream, call) = if one.line() == "get /mcp" {
            (one, other)
        } else {
            (other, one)
        };
        for asked in [&stream, &call] {
            assert_eq!(asked.header("mcp-session-id"), Some("s1"));
            assert_eq!(asked.header("mcp-protocol-version"), Some("2025-11-25"));
        }
        call.json(&answer(100)).await;
        stream
    });
    assert_eq!(told, message(&answer(100), Some(100)));
    assert_eq!(stream.header("accept"), Some("text/event-stream"));
    stream
}
