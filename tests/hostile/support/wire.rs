//! HTTP by hand: what a well-behaved client library would refuse to send must be sent here.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// A connection to the router.
pub struct Connection {
    stream: BufStream<TcpStream>,
}

/// The head of a response.
pub struct Head {
    pub status: u16,
    pub headers: Vec<(String, String)>,
}

/// A whole response.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn is_stream(&self) -> bool {
        self.header("content-type")
            .is_some_and(|t| t.starts_with("text/event-stream"))
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Every message in it, in order, whether it came as JSON or as events.
    pub fn messages(&self) -> Vec<Value> {
        if !find(&self.headers, "content-type").is_some_and(|t| t.starts_with("text/event-stream")) {
            return serde_json::from_slice(&self.body).into_iter().collect();
        }
        events(&self.text())
    }

    /// The last message: the response.
    pub fn json(&self) -> Value {
        self.messages().pop().unwrap_or(Value::Null)
    }
}

/// The messages of an event stream.
pub fn events(text: &str) -> Vec<Value> {
    let event = |block: &str| {
        let data: Vec<&str> = block.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
        // An event without data says where a reader is, and is no message.
        (!data.concat().is_empty()).then(|| serde_json::from_str(&data.join("\n")).unwrap())
    };
    text.split("\n\n").filter_map(event).collect()
}

async fn patient<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, what)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn ended() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufStream::new(stream),
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        patient(async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        patient(self.stream.read_until(b'\n', &mut line)).await?;
        if line.pop() != Some(b'\n') {
            return Err(ended());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    pub async fn head(&mut self) -> io::Result<Head> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(ended)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Head { status, headers })
    }

    /// The next chunk of a chunked body; empty at its end.
    pub async fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let size = usize::from_str_radix(&self.line().await?, 16).map_err(|_| ended())?;
        let mut chunk = vec![0; size + 2];
        patient(self.stream.read_exact(&mut chunk)).await?;
        chunk.truncate(size);
        Ok(chunk)
    }

    /// A whole response.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let Head { status, headers } = self.head().await?;
        let mut body = Vec::new();
        if let Some(length) = find(&headers, "content-length") {
            body.resize(length.parse().map_err(|_| ended())?, 0);
            patient(self.stream.read_exact(&mut body)).await?;
        } else if find(&headers, "transfer-encoding").is_some() {
            loop {
                let chunk = self.chunk().await?;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
        }
        Ok(Reply { status, headers, body })
    }

    /// Waits until the other side hangs up; whatever still comes is thrown away.
    pub async fn closed(&mut self) -> io::Result<usize> {
        let mut waste = vec![0; 64 * 1024];
        let mut read = 0;
        loop {
            match patient(self.stream.read(&mut waste)).await {
                Ok(0) => return Ok(read),
                Ok(n) => read += n,
                Err(e) if e.kind() == io::ErrorKind::TimedOut => return Err(e),
                Err(_) => return Ok(read),
            }
        }
    }
}

/// A POST with these header lines besides the usual ones.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|(n, _)| *n == "accept") {
        out += "accept: application/json, text/event-stream\r\n";
    }
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    let mut out = (out + "\r\n").into_bytes();
    out.extend_from_slice(body);
    out
}
