//! A small HTTP/1.1 client: one connection, kept alive, with event streams read as they come.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::in_time;

/// One connection.
pub struct Http {
    stream: BufReader<TcpStream>,
    body: Body,
    /// Of the reply that is being read.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Decoded bytes of an event stream that are not a whole event yet.
    text: Vec<u8>,
    /// The id of the last whole event that had one.
    pub last_id: Option<String>,
    /// How soon to come back, if the stream said so.
    pub retry: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Of so many bytes, which are still to come.
    Sized(usize),
    Chunked,
    Over,
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Comment(String),
    Message(Value),
}

impl Http {
    pub async fn connect(address: &str) -> Http {
        let stream = in_time("a connection", TcpStream::connect(address)).await;
        let stream = stream.expect("the router accepts connections");
        stream.set_nodelay(true).unwrap();
        Http {
            stream: BufReader::new(stream),
            body: Body::Over,
            status: 0,
            headers: Vec::new(),
            text: Vec::new(),
            last_id: None,
            retry: None,
        }
    }

    /// Sends a request whole.
    pub async fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        let whole = head + "\r\n" + body;
        let sent = in_time("room in the socket", self.stream.write_all(whole.as_bytes())).await;
        sent.expect("the router reads requests");
    }

    /// Reads the head of the reply; its end is an error, as when the router drops the connection.
    pub async fn head(&mut self) -> std::io::Result<()> {
        let mut line = String::new();
        let closed = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(closed());
        }
        self.status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(closed)?;
        self.headers.clear();
        self.text.clear();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(closed());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            self.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        self.body = match (self.header("transfer-encoding"), self.header("content-length")) {
            (Some(_), _) => Body::Chunked,
            (None, Some(length)) => Body::Sized(length.parse().unwrap()),
            (None, None) => Body::Sized(0),
        };
        Ok(())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn is_stream(&self) -> bool {
        self.header("content-type")
            .is_some_and(|t| t.starts_with("text/event-stream"))
    }

    /// The next piece of the body; `None` at its end.
    async fn piece(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        match self.body {
            Body::Over | Body::Sized(0) => {
                self.body = Body::Over;
                Ok(None)
            }
            Body::Sized(n) => {
                let mut bytes = vec![0; n];
                self.stream.read_exact(&mut bytes).await?;
                self.body = Body::Over;
                Ok(Some(bytes))
            }
            Body::Chunked => {
                let mut line = String::new();
                if self.stream.read_line(&mut line).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                let size = usize::from_str_radix(line.trim(), 16).expect("a chunk has a size");
                let mut bytes = vec![0; size + 2];
                self.stream.read_exact(&mut bytes).await?;
                bytes.truncate(size);
                if size == 0 {
                    self.body = Body::Over;
                }
                Ok((size > 0).then_some(bytes))
            }
        }
    }

    /// The whole body.
    pub async fn body(&mut self) -> std::io::Result<String> {
        let mut all = Vec::new();
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(String::from_utf8(all).expect("replies are UTF-8"))
    }

    /// The next event of a stream; `None` at its proper end.
    pub async fn event(&mut self) -> std::io::Result<Option<Event>> {
        loop {
            if let Some(end) = self.text.windows(2).position(|w| w == b"\n\n") {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = String::from_utf8(event).expect("events are UTF-8");
                if let Some(id) = field(&event, "id") {
                    self.last_id = Some(id.to_owned());
                }
                if let Some(retry) = field(&event, "retry") {
                    self.retry = Some(retry.parse().expect("milliseconds"));
                }
                return Ok(Some(parse(&event)));
            }
            match self.piece().await? {
                Some(piece) => self.text.extend_from_slice(&piece),
                None => {
                    assert!(self.text.is_empty(), "half an event: {:?}", self.text);
                    return Ok(None);
                }
            }
        }
    }

    /// Whether another request can be sent on it.
    pub fn is_free(&self) -> bool {
        self.body == Body::Over && self.header("connection").is_none_or(|c| c != "close")
    }
}

fn field<'e>(event: &'e str, name: &str) -> Option<&'e str> {
    let value = |line: &'e str| line.strip_prefix(name)?.strip_prefix(": ");
    event.lines().find_map(value)
}

/// An event without data is as good as a comment.
fn parse(event: &str) -> Event {
    let data: Vec<&str> = event.lines().filter_map(|l| l.strip_prefix("data:")).collect();
    if data.iter().all(|line| line.trim().is_empty()) {
        let comment = event.lines().filter_map(|l| l.strip_prefix(':')).map(str::trim);
        return Event::Comment(comment.collect());
    }
    Event::Message(serde_json::from_str(&data.join("\n")).expect("an event carries one message"))
}
