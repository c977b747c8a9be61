//! An MCP client of either era over [`Connection`].

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::wire::{Connection, Reply, events, post};

pub use Era::{Legacy, Modern};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    Legacy,
    Modern,
}

/// What a call brought.
#[derive(Debug)]
pub struct Called {
    pub status: u16,
    /// Its notifications, in order.
    pub notes: Vec<Value>,
    pub response: Value,
}

/// A progress notification.
pub struct Progress {
    pub token: Value,
    pub value: f64,
    pub total: Option<f64>,
}

impl Called {
    pub fn code(&self) -> i64 {
        self.response["error"]["code"].as_i64().unwrap_or(0)
    }

    pub fn text(&self) -> &str {
        self.response["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
    }

    pub fn progress(&self) -> Vec<Progress> {
        let notes = self.notes.iter().filter(|n| n["method"] == "notifications/progress");
        notes
            .map(|n| Progress {
                token: n["params"]["progressToken"].clone(),
                value: n["params"]["progress"].as_f64().unwrap(),
                total: n["params"]["total"].as_f64(),
            })
            .collect()
    }

    pub fn logged(&self) -> Vec<Value> {
        let notes = self.notes.iter().filter(|n| n["method"] == "notifications/message");
        notes.map(|n| n["params"].clone()).collect()
    }
}

/// A client.
pub struct Agent {
    pub address: SocketAddr,
    pub era: Era,
    pub path: String,
    /// The legacy session.
    pub session: Option<String>,
    /// Headers sent with every request.
    pub headers: Vec<(String, String)>,
    connection: Option<Connection>,
}

pub const MODERN: &str = "2026-07-28";

impl Agent {
    /// Connects to `/mcp`, or to `/mcp/NAME`.
    pub async fn new(address: SocketAddr, era: Era, path: &str) -> Self {
        match era {
            Modern => Self::unopened(address, era, path),
            Legacy => Self::legacy(address, path, "2025-11-25").await,
        }
    }

    fn unopened(address: SocketAddr, era: Era, path: &str) -> Self {
        Self {
            address,
            era,
            path: path.to_owned(),
            session: None,
            headers: Vec::new(),
            connection: None,
        }
    }

    /// A legacy session of this version.
    pub async fn legacy(address: SocketAddr, path: &str, version: &str) -> Self {
        let mut agent = Self::unopened(address, Legacy, path);
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "hostile", "version": "0"}}});
        let reply = agent.raw(&[], hello.to_string().as_bytes()).await;
        assert_eq!(reply.json()["result"]["protocolVersion"], version, "{}", reply.text());
        agent.session = reply.header("mcp-session-id").map(str::to_owned);
        agent
    }

    /// Sends a body as it is, with this agent's session or era, and reads the whole reply.
    pub async fn raw(&mut self, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let request = self.request(headers, body);
        for fresh in [false, true] {
            if fresh || self.connection.is_none() {
                self.connection = Some(Connection::open(self.address).await);
            }
            let connection = self.connection.as_mut().unwrap();
            // A kept connection may be closed at any time before the request.
            if connection.send(&request).await.is_err() && !fresh {
                continue;
            }
            let reply = connection.reply().await;
            match reply {
                Ok(reply) => {
                    if reply.header("connection") == Some("close") {
                        self.connection = None;
                    }
                    return reply;
                }
                Err(e) => {
                    self.connection = None;
                    panic!("no reply: {e}");
                }
            }
        }
        unreachable!("the second time it is sent or panics")
    }

    /// The bytes of a POST of this agent.
    pub fn request(&self, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut all: Vec<(&str, &str)> = headers.to_vec();
        all.extend(self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        if let Some(session) = &self.session {
            all.push(("mcp-session-id", session));
        }
        post(&self.path, &all, body)
    }

    /// The envelope of a request in this agent's era: header lines and body. `meta` are members of `_meta`, raw.
    pub fn envelope(&self, id: &str, method: &str, params: &str, meta: &str) -> (Vec<(&'static str, String)>, String) {
        let mut meta = meta.to_owned();
        let mut headers = Vec::new();
        if self.era == Modern {
            let comma = if meta.is_empty() { "" } else { "," };
            meta += &format!(
                "{comma}\"io.modelcontextprotocol/protocolVersion\":\"{MODERN}\",\"io.modelcontextprotocol/clientCapabilities\":{{}}"
            );
            headers.push(("mcp-protocol-version", MODERN.to_owned()));
            headers.push(("mcp-method", method.to_owned()));
            let name = serde_json::from_str::<Value>(&format!("{{{params}}}"))
                .ok()
                .and_then(|p| p["name"].as_str().map(str::to_owned));
            headers.extend(name.map(|n| ("mcp-name", n)));
        }
        let meta = if meta.is_empty() {
            String::new()
        } else {
            let comma = if params.is_empty() { "" } else { "," };
            format!("{comma}\"_meta\":{{{meta}}}")
        };
        let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{{params}{meta}}}}}");
        (headers, body)
    }

    /// A request; `params` and `meta` are members of objects, raw.
    pub async fn ask(&mut self, id: &str, method: &str, params: &str, meta: &str) -> Called {
        let (headers, body) = self.envelope(id, method, params, meta);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let reply = self.raw(&headers, body.as_bytes()).await;
        let status = reply.status;
        let mut notes = reply.messages();
        let response = notes.pop().unwrap_or(Value::Null);
        Called {
            status,
            notes,
            response,
        }
    }

    /// Calls a tool.
    pub async fn call(&mut self, id: &str, tool: &str, arguments: &str) -> Called {
        self.call_with(id, tool, arguments, "").await
    }

    /// Calls a tool with members of `_meta`, raw.
    pub async fn call_with(&mut self, id: &str, tool: &str, arguments: &str, meta: &str) -> Called {
        let params = format!("\"name\":\"{tool}\",\"arguments\":{arguments}");
        self.ask(id, "tools/call", &params, meta).await
    }

    /// Sends a request and leaves its reply to be read.
    pub async fn begin(&self, id: &str, method: &str, params: &str, meta: &str) -> Connection {
        let (headers, body) = self.envelope(id, method, params, meta);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let mut connection = Connection::open(self.address).await;
        connection.send(&self.request(&headers, body.as_bytes())).await.unwrap();
        connection
    }

    /// Sends a notification of a legacy session.
    pub async fn notify(&mut self, method: &str, params: &str) {
        let body = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{{{params}}}}}");
        assert_eq!(self.raw(&[], body.as_bytes()).await.status, 202);
    }

    /// The names in its tool list.
    pub async fn tools(&mut self) -> Vec<String> {
        let list = self.ask("\"list\"", "tools/list", "", "").await;
        let tools = list.response["result"]["tools"].as_array();
        let tools = tools.unwrap_or_else(|| panic!("no list: {}", list.response));
        tools.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Opens the stream of list changes and log messages.
    pub async fn listen(&self) -> Stream {
        match self.era {
            Modern => {
                let wanted = "\"notifications\":{\"toolsListChanged\":true}";
                let connection = self.begin("\"sub\"", "subscriptions/listen", wanted, "").await;
                Stream::of(connection).await
            }
            Legacy => {
                let mut connection = Connection::open(self.address).await;
                let session = self.session.as_deref().unwrap();
                let request = format!(
                    "GET {} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\n\r\n",
                    self.path
                );
                connection.send(request.as_bytes()).await.unwrap();
                Stream::of(connection).await
            }
        }
    }
}

/// A long event stream.
pub struct Stream {
    connection: Connection,
    text: String,
}

impl Stream {
    pub async fn of(mut connection: Connection) -> Self {
        let head = connection.head().await.unwrap();
        assert!(head.is_stream(), "status {}", head.status);
        Self {
            connection,
            text: String::new(),
        }
    }

    /// The next message; `None` where the stream ended.
    pub async fn next(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(super::PATIENCE, self.take()).await;
        next.expect("neither a message nor the end of the stream")
    }

    async fn take(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                if let Some(message) = events(&block).pop() {
                    return Some(message);
                }
                continue;
            }
            let chunk = self.connection.chunk().await.ok()?;
            if chunk.is_empty() {
                return None;
            }
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }
}
