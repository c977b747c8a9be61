//! As much of HTTP as the generator needs: one kept connection, replies whose length is known.

use std::net::SocketAddr;

use memchr::memmem;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The header that names the revision, for requests of a session.
pub const LEGACY: &str = "mcp-protocol-version: 2025-11-25\r\n";

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Connection {
    /// Connects, with room for replies of so many bytes.
    pub async fn open(address: SocketAddr, room: usize) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Self {
            stream,
            input: Vec::with_capacity(16 * 1024 + room),
        })
    }

    /// Opens a session, and returns its id. `capabilities`: what its agent can do.
    pub async fn initialize(&mut self, capabilities: &str) -> Result<String, String> {
        let capabilities: serde_json::Value = serde_json::from_str(capabilities).map_err(|e| e.to_string())?;
        let client = json!({ "name": "load", "version": "0" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string();
        self.send(post("", &body).as_bytes()).await?;
        let (head, _) = self.receive().await?;
        let session = header(head, b"mcp-session-id: ").ok_or("initialize gave no session")?;
        let session = String::from_utf8_lossy(session).into_owned();
        let more = format!("{LEGACY}mcp-session-id: {session}\r\n");
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.send(post(&more, body).as_bytes()).await?;
        self.receive().await?;
        Ok(session)
    }

    /// Ends a session.
    pub async fn end(&mut self, session: &str) {
        let request = format!("DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: {session}\r\n\r\n");
        // The echo server has no sessions to end, and refuses.
        let _ = self.send(request.as_bytes()).await;
        let _ = self.stream.read_buf(&mut self.input).await;
    }

    /// Opens the event stream of a session, which lasts as long as this connection.
    pub async fn listen(&mut self, session: &str) -> Result<(), String> {
        let request = format!(
            "GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{LEGACY}mcp-session-id: {session}\r\n\r\n"
        );
        self.send(request.as_bytes()).await?;
        self.input.clear();
        while memmem::find(&self.input, b"\r\n\r\n").is_none() {
            self.read().await?;
        }
        let head = &self.input;
        if !head.starts_with(b"HTTP/1.1 200") {
            return Err(format!("the reply is {}", String::from_utf8_lossy(head)));
        }
        Ok(())
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|e| e.to_string())
    }

    /// Head and body of the next reply.
    pub async fn receive(&mut self) -> Result<(&[u8], &[u8]), String> {
        self.input.clear();
        let start = loop {
            self.read().await?;
            if let Some(head) = memmem::find(&self.input, b"\r\n\r\n") {
                break head + 4;
            }
        };
        let end = start + body_length(&self.input[..start])?;
        self.input.reserve(end.saturating_sub(self.input.len()));
        while self.input.len() < end {
            self.read().await?;
        }
        if self.input.len() > end {
            return Err("there is more than one reply".to_owned());
        }
        Ok((&self.input[..start], &self.input[start..end]))
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.input).await {
            Ok(0) => Err("the connection was closed".to_owned()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        }
    }
}

fn body_length(head: &[u8]) -> Result<usize, String> {
    let shown = || String::from_utf8_lossy(head).into_owned();
    if head.starts_with(b"HTTP/1.1 202") {
        return Ok(0);
    }
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(format!("the reply is {}", shown()));
    }
    let length = header(head, b"content-length: ").ok_or_else(|| format!("a reply without a length: {}", shown()))?;
    let length = std::str::from_utf8(length).ok().and_then(|l| l.parse().ok());
    length.ok_or_else(|| format!("the length of a reply is no number: {}", shown()))
}

/// The value of a header whose name, in the lower case in which it is sent, ends `: `.
fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = &head[memmem::find(head, name)? + name.len()..];
    Some(&value[..memchr::memchr(b'\r', value)?])
}

/// A request with that body.
pub fn post(more: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
