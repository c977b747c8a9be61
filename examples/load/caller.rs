//! One caller: a kept connection, one request at a time, every reply compared to the byte.
//!
//! It shares the machine with what it measures, so it does as little as it can: a request is one buffer in which
//! the number of the call is overwritten, and a reply is compared with the reply that is expected, made in the
//! same way from the first one, which was read as JSON.

use std::net::SocketAddr;

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Numbers have this many digits, so that a message never changes its length.
const DIGITS: usize = 10;
/// The first number of caller 0. Each caller has ten million of its own.
const FIRST: u64 = 1_000_000_000;
const EACH: u64 = 10_000_000;

/// The protocol era that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Era {
    /// Sessions, opened with `initialize`.
    Legacy,
    /// Stateless requests.
    Modern,
}

/// What a caller sends and to whom.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub address: SocketAddr,
    pub era: Era,
    /// Bytes of the arguments.
    pub bytes: usize,
    /// The tool that echoes, by the name it has there.
    pub tool: &'a str,
}

/// A message in which a number stands at some places.
struct Template {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Template {
    fn new(bytes: Vec<u8>, number: u64) -> Self {
        let places = memmem::find_iter(&bytes, number.to_string().as_bytes()).collect();
        Self { bytes, places }
    }

    fn with(&mut self, number: u64) -> &[u8] {
        let mut digits = [b'0'; DIGITS];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        for place in &self.places {
            self.bytes[*place..*place + DIGITS].copy_from_slice(&digits);
        }
        &self.bytes
    }
}

/// A caller that is connected.
pub struct Caller {
    stream: TcpStream,
    input: Vec<u8>,
    request: Template,
    reply: Template,
    number: u64,
    session: Option<String>,
    latencies: Vec<u32>,
}

impl Caller {
    /// Connects, opens a session where the era has one, and makes the first call.
    pub async fn connect(who: usize, to: Target<'_>) -> Result<Self, String> {
        let stream = TcpStream::connect(to.address).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let number = FIRST + EACH * who as u64;
        let nothing = || Template::new(Vec::new(), number);
        let mut caller = Self {
            stream,
            input: Vec::with_capacity(16 * 1024 + to.bytes),
            request: nothing(),
            reply: nothing(),
            number,
            session: None,
            latencies: Vec::new(),
        };
        if to.era == Era::Legacy {
            caller.session = Some(caller.initialize().await?);
        }
        let (body, text) = call(number, to);
        let session = caller.session.as_ref();
        let more = match session {
            Some(session) => format!("mcp-protocol-version: 2025-11-25\r\nmcp-session-id: {session}\r\n"),
            None => format!(
                "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: {}\r\n",
                to.tool
            ),
        };
        let request = post(&more, &body);
        caller.send(request.as_bytes()).await?;
        let body = caller.receive().await?.1.to_vec();
        check(&body, number, &text)?;
        caller.request = Template::new(request.into_bytes(), number);
        caller.reply = Template::new(body, number);
        Ok(caller)
    }

    /// Calls until then. The times are those of this run alone, in nanoseconds.
    pub async fn run(&mut self, until: Instant) -> Result<Vec<u32>, String> {
        self.latencies.clear();
        let mut now = Instant::now();
        while now < until {
            self.number += 1;
            let request = self.request.with(self.number);
            self.stream.write_all(request).await.map_err(|e| e.to_string())?;
            let (start, end) = self.receive_span().await?;
            let body = &self.input[start..end];
            if body != self.reply.with(self.number) {
                return Err(format!(
                    "reply to call {} is wrong: {}",
                    self.number,
                    String::from_utf8_lossy(body)
                ));
            }
            let then = std::mem::replace(&mut now, Instant::now());
            let took = now.duration_since(then).as_nanos();
            self.latencies.push(u32::try_from(took).unwrap_or(u32::MAX));
        }
        Ok(std::mem::take(&mut self.latencies))
    }

    /// Ends the session, so that the next caller finds the server as this one did.
    pub async fn leave(mut self) {
        if let Some(session) = self.session.take() {
            let request = format!("DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: {session}\r\n\r\n");
            // The echo server has no sessions to end, and refuses.
            let _ = self.send(request.as_bytes()).await;
            let _ = self.stream.read_buf(&mut self.input).await;
        }
    }

    async fn initialize(&mut self) -> Result<String, String> {
        let client = json!({ "name": "load", "version": "0" });
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params }).to_string();
        self.send(post("", &body).as_bytes()).await?;
        let (head, _) = self.receive().await?;
        let session = header(head, b"mcp-session-id: ").ok_or("initialize gave no session")?;
        let session = String::from_utf8_lossy(session).into_owned();
        let more = format!("mcp-protocol-version: 2025-11-25\r\nmcp-session-id: {session}\r\n");
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        self.send(post(&more, body).as_bytes()).await?;
        self.receive().await?;
        Ok(session)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|e| e.to_string())
    }

    /// Head and body of the next reply.
    async fn receive(&mut self) -> Result<(&[u8], &[u8]), String> {
        let (start, end) = self.receive_span().await?;
        Ok((&self.input[..start], &self.input[start..end]))
    }

    /// Where the body of the next reply begins and ends in the input.
    async fn receive_span(&mut self) -> Result<(usize, usize), String> {
        self.input.clear();
        loop {
            let read = self.stream.read_buf(&mut self.input).await;
            if read.map_err(|e| e.to_string())? == 0 {
                return Err("the connection was closed".to_owned());
            }
            let Some(head) = memmem::find(&self.input, b"\r\n\r\n") else {
                continue;
            };
            let start = head + 4;
            let end = start + body_length(&self.input[..start])?;
            self.input.reserve(end.saturating_sub(self.input.len()));
            while self.input.len() < end {
                let read = self.stream.read_buf(&mut self.input).await;
                if read.map_err(|e| e.to_string())? == 0 {
                    return Err("the connection was closed within a reply".to_owned());
                }
            }
            if self.input.len() > end {
                return Err("there is more than one reply".to_owned());
            }
            return Ok((start, end));
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

fn post(more: &str, body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{more}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A call with that number, and the text that it sends and wants back.
fn call(number: u64, to: Target<'_>) -> (String, String) {
    // `{"text":""}` is of the arguments as well. The number makes every text different.
    let fill = to.bytes.saturating_sub(r#"{"text":" "}"#.len() + DIGITS);
    let text = format!("{number} {}", "abcdefghij".repeat(fill / 10 + 1).split_at(fill).0);
    let mut params = json!({ "name": to.tool, "arguments": { "text": text } });
    if to.era == Era::Modern {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
    }
    let body = json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params });
    (body.to_string(), text)
}

/// Whether a reply is the one to that call.
fn check(body: &[u8], number: u64, text: &str) -> Result<(), String> {
    let shown = || String::from_utf8_lossy(body).into_owned();
    let reply: Value = serde_json::from_slice(body).map_err(|e| format!("{e}: {}", shown()))?;
    if reply["id"] != number || reply["result"]["content"] != json!([{ "type": "text", "text": text }]) {
        return Err(format!("the reply is wrong: {}", shown()));
    }
    Ok(())
}
