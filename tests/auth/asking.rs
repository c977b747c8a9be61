//! Requests with and without a token, and what comes back.

use serde_json::{Value, json};

use crate::support::http::Http;
use crate::support::{Router, in_time};

/// A reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub challenge: Option<String>,
    pub session: Option<String>,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Reply {
    /// Status and challenge.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.challenge.as_deref().unwrap_or_default())
    }

    /// The text of a tool's result.
    pub fn text(&self) -> &str {
        self.body["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// Sends one request over a connection of its own.
pub async fn ask(router: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut http = Http::connect(&router.address).await;
    http.send(method, path, headers, body).await;
    in_time("a reply", http.head()).await.unwrap();
    let body = match http.is_stream() {
        false => http.body().await.unwrap(),
        true => loop {
            match http.event().await.unwrap() {
                Some(crate::support::http::Event::Message(message)) => break message.to_string(),
                Some(_) => {}
                None => break String::new(),
            }
        },
    };
    Reply {
        status: http.status,
        challenge: http.header("www-authenticate").map(str::to_owned),
        session: http.header("mcp-session-id").map(str::to_owned),
        retry_after: http.header("retry-after").map(str::to_owned),
        body: serde_json::from_str(&body).unwrap_or(Value::String(body)),
    }
}

/// The headers of a modern request, with those that are given besides.
pub fn modern<'a>(method: &'a str, name: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", method),
    ];
    if !name.is_empty() {
        headers.push(("mcp-name", name));
    }
    headers.extend(more);
    headers
}

/// A modern request.
pub fn request(method: &str, mut params: Value) -> String {
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2026-07-28".into();
    if params["_meta"]["io.modelcontextprotocol/clientCapabilities"].is_null() {
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// A modern call of a tool, with this token.
pub async fn call(router: &Router, path: &str, token: Option<&str>, tool: &str, arguments: Value) -> Reply {
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let authorization = [("authorization", bearer.as_str())];
    let more: &[_] = if token.is_some() { &authorization } else { &[] };
    let body = request("tools/call", json!({ "name": tool, "arguments": arguments }));
    ask(router, "POST", path, &modern("tools/call", tool, more), &body).await
}
