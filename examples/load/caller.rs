//! One caller: a kept connection, one request at a time, every reply compared to the byte.
//!
//! It shares the machine with what it measures, so it does as little as it can: a request is one buffer in which
//! the number of the call is overwritten, and a reply is compared with the reply that is expected, made in the
//! same way from the first one, which was read as JSON.

use std::net::SocketAddr;

use memchr::memmem;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::{Connection, LEGACY, post};

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

/// Who calls.
#[derive(Clone, Copy)]
pub struct Agent {
    pub era: Era,
    /// Whether it declares that servers may ask it for input.
    pub can_be_asked: bool,
}

impl Agent {
    /// What it can do, as JSON text.
    pub fn capabilities(self) -> &'static str {
        match self.can_be_asked {
            true => r#"{"elicitation":{},"roots":{},"sampling":{}}"#,
            false => "{}",
        }
    }
}

/// What is called.
#[derive(Clone, Copy)]
pub enum Work {
    /// A text comes back as it was sent, with arguments of so many bytes.
    Echo(usize),
    /// A text of so many bytes comes back.
    Big(usize),
}

impl Work {
    /// The tool, by the name it has also at routers: one backend alone keeps its tools' names.
    fn tool(self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Big(_) => "big",
        }
    }

    /// Bytes of the argument or the result, whichever is longer.
    pub fn bytes(self) -> usize {
        let (Self::Echo(bytes) | Self::Big(bytes)) = self;
        bytes
    }

    /// The arguments of the call with that number, and the text that they bring.
    fn of(self, number: u64) -> (Value, String) {
        match self {
            Self::Big(bytes) => (json!({ "n": bytes }), "x".repeat(bytes)),
            Self::Echo(bytes) => {
                // `{"text":""}` is of the arguments as well. The number makes every text different.
                let fill = bytes.saturating_sub(r#"{"text":" "}"#.len() + DIGITS);
                let text = format!("{number} {}", "abcdefghij".repeat(fill / 10 + 1).split_at(fill).0);
                (json!({ "text": text }), text)
            }
        }
    }
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
    connection: Connection,
    request: Template,
    reply: Template,
    number: u64,
    session: Option<String>,
    latencies: Vec<u32>,
}

impl Caller {
    /// Connects, opens a session where the era has one, and makes the first call.
    pub async fn connect(who: usize, to: SocketAddr, agent: Agent, work: Work) -> Result<Self, String> {
        let mut connection = Connection::open(to, work.bytes()).await?;
        let number = FIRST + EACH * who as u64;
        let session = match agent.era {
            Era::Legacy => Some(connection.initialize(agent.capabilities()).await?),
            Era::Modern => None,
        };
        let (arguments, text) = work.of(number);
        let body = call(number, agent, work.tool(), arguments);
        let more = match &session {
            Some(session) => format!("{LEGACY}mcp-session-id: {session}\r\n"),
            None => format!(
                "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: {}\r\n",
                work.tool()
            ),
        };
        let request = post(&more, &body);
        connection.send(request.as_bytes()).await?;
        let body = connection.receive().await?.1.to_vec();
        check(&body, number, &text)?;
        Ok(Self {
            connection,
            request: Template::new(request.into_bytes(), number),
            reply: Template::new(body, number),
            number,
            session,
            latencies: Vec::new(),
        })
    }

    /// Calls until then. The times are those of this run alone, in nanoseconds.
    pub async fn run(&mut self, until: Instant) -> Result<Vec<u32>, String> {
        self.latencies.clear();
        let mut now = Instant::now();
        while now < until {
            self.number += 1;
            let request = self.request.with(self.number);
            self.connection.send(request).await?;
            let (_, body) = self.connection.receive().await?;
            if body != self.reply.with(self.number) {
                return Err(format!("reply to call {} is wrong: {}", self.number, beginning(body)));
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
            self.connection.end(&session).await;
        }
    }
}

/// A call with that number.
fn call(number: u64, agent: Agent, tool: &str, arguments: Value) -> String {
    let mut params = json!({ "name": tool, "arguments": arguments });
    if agent.era == Era::Modern {
        let capabilities: Value = serde_json::from_str(agent.capabilities()).unwrap_or_default();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": capabilities,
        });
    }
    json!({ "jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params }).to_string()
}

/// Whether a reply is the one to that call.
fn check(body: &[u8], number: u64, text: &str) -> Result<(), String> {
    let reply: Value = serde_json::from_slice(body).map_err(|e| format!("{e}: {}", beginning(body)))?;
    if reply["id"] != number || reply["result"]["content"] != json!([{ "type": "text", "text": text }]) {
        return Err(format!("the reply is wrong: {}", beginning(body)));
    }
    Ok(())
}

/// As much of a message as a person reads.
fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(1000).collect()
}
