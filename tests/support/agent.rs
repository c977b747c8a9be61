//! An agent: calls in either era over kept connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{Event, Http};
use super::in_time;

pub const MODERN: &str = "2026-07-28";
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

/// Clones are the same agent.
#[derive(Clone)]
pub struct Agent {
    inner: Arc<Inner>,
}

struct Inner {
    address: String,
    path: String,
    /// `None` for a modern one.
    session: Option<String>,
    /// What it says that it can do.
    capabilities: Value,
    idle: Mutex<Vec<Http>>,
    next: AtomicU64,
}

/// A call that was sent.
pub struct Sent {
    agent: Agent,
    http: Http,
    id: Value,
    headed: bool,
    /// Notifications so far.
    pub notes: Vec<Value>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// HTTP status.
    pub status: u16,
    /// `result` or `error`.
    pub body: Result<Value, Value>,
    /// The notifications before it.
    pub notes: Vec<Value>,
}

impl Outcome {
    /// The error's code; 0 for a result.
    pub fn code(&self) -> i64 {
        self.body.as_ref().err().map_or(0, |e| e["code"].as_i64().unwrap())
    }

    /// What the error's `data` says under this name.
    pub fn data(&self, name: &str) -> Value {
        self.body
            .as_ref()
            .err()
            .map_or(Value::Null, |e| e["data"][name].clone())
    }

    /// The text of a result that is no error.
    pub fn text(&self) -> Option<&str> {
        let result = self.body.as_ref().ok()?;
        if result["isError"] == true {
            return None;
        }
        result["content"][0]["text"].as_str()
    }
}

/// What came next for a call.
pub enum Next {
    Note(Value),
    /// A request of the server to the agent.
    Asked(Value),
    Done(Outcome),
}

impl Agent {
    /// A modern agent at `/mcp`.
    pub fn modern(address: &str) -> Agent {
        Agent::at(address, "/mcp", None, json!({}))
    }

    /// A modern agent at another path.
    pub fn modern_at(address: &str, path: &str) -> Agent {
        Agent::at(address, path, None, json!({}))
    }

    /// A modern agent that can do this.
    pub fn modern_able(address: &str, capabilities: Value) -> Agent {
        Agent::at(address, "/mcp", None, capabilities)
    }

    /// A legacy agent at `/mcp`: opens its session.
    pub async fn legacy(address: &str) -> Agent {
        Agent::legacy_of(address, "2025-11-25").await
    }

    /// The same in this revision.
    pub async fn legacy_of(address: &str, version: &str) -> Agent {
        Agent::legacy_able(address, version, json!({})).await
    }

    /// A legacy agent at another path.
    pub async fn legacy_at(address: &str, path: &str) -> Agent {
        Agent::open(address, path, "2025-11-25", json!({})).await
    }

    /// The same for one that can do this.
    pub async fn legacy_able(address: &str, version: &str, capabilities: Value) -> Agent {
        Agent::open(address, "/mcp", version, capabilities).await
    }

    async fn open(address: &str, path: &str, version: &str, capabilities: Value) -> Agent {
        let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": capabilities, "clientInfo": { "name": "test", "version": "1" } } });
        let mut http = Http::connect(address).await;
        http.send("POST", path, &[ACCEPT], &initialize.to_string()).await;
        in_time("initialize", http.head()).await.unwrap();
        assert_eq!(http.status, 200, "initialize is answered");
        let session = http.header("mcp-session-id").expect("a session").to_owned();
        http.body().await.unwrap();
        let agent = Agent::at(address, path, Some(session), capabilities);
        agent.keep(http);
        agent.notify("notifications/initialized", json!({})).await;
        agent
    }

    fn at(address: &str, path: &str, session: Option<String>, capabilities: Value) -> Agent {
        Agent {
            inner: Arc::new(Inner {
                address: address.to_owned(),
                path: path.to_owned(),
                session,
                capabilities,
                idle: Mutex::default(),
                next: AtomicU64::new(1_000_000),
            }),
        }
    }

    /// The id of its session.
    pub fn session(&self) -> &str {
        self.inner.session.as_deref().expect("modern agents have none")
    }

    fn keep(&self, http: Http) {
        if http.is_free() {
            self.inner.idle.lock().unwrap().push(http);
        }
    }

    async fn connection(&self) -> Http {
        let idle = self.inner.idle.lock().unwrap().pop();
        match idle {
            Some(http) => http,
            None => Http::connect(&self.inner.address).await,
        }
    }

    /// Sends a request; `params` without the modern envelope, which is added.
    pub async fn send(&self, id: Value, method: &str, mut params: Value) -> Sent {
        let mut headers = vec![ACCEPT];
        let named = match method {
            "resources/read" => "uri",
            "tasks/get" | "tasks/update" | "tasks/cancel" => "taskId",
            _ => "name",
        };
        let name = params.get(named).and_then(Value::as_str).map(str::to_owned);
        match &self.inner.session {
            Some(session) => headers.extend([
                ("mcp-session-id", session.as_str()),
                ("mcp-protocol-version", "2025-11-25"),
            ]),
            None => {
                params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
                params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.inner.capabilities.clone();
                headers.extend([("mcp-protocol-version", MODERN), ("mcp-method", method)]);
                if let Some(name) = &name {
                    headers.push(("mcp-name", name));
                }
            }
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let mut http = self.connection().await;
        http.send("POST", &self.inner.path, &headers, &body.to_string()).await;
        Sent {
            agent: self.clone(),
            http,
            id,
            headed: false,
            notes: Vec::new(),
        }
    }

    /// Sends a call of a tool.
    pub async fn start(&self, id: impl Into<Value>, tool: &str, arguments: Value) -> Sent {
        self.send(id.into(), "tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// Sends a call of a tool that wants to hear of its progress.
    pub async fn start_told(&self, id: impl Into<Value>, tool: &str, arguments: Value) -> Sent {
        let id = id.into();
        let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
        self.send(id, "tools/call", params).await
    }

    /// Calls a tool under an id of its own and waits for the end.
    pub async fn call(&self, tool: &str, arguments: Value) -> Outcome {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.start(id, tool, arguments).await.outcome().await
    }

    /// The names of the tools that it is shown.
    pub async fn tools(&self) -> Vec<String> {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let outcome = self.send(id.into(), "tools/list", json!({})).await.outcome().await;
        let tools = outcome.body.expect("a list")["tools"].as_array().unwrap().clone();
        tools.iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Posts a batch, as 2025-03-26 has it, and waits for all of its responses.
    pub async fn batch(&self, messages: &[Value]) -> Vec<Value> {
        let session = self.inner.session.clone().expect("modern agents send no batches");
        let mut http = Http::connect(&self.inner.address).await;
        let headers = [ACCEPT, ("mcp-session-id", session.as_str())];
        http.send("POST", &self.inner.path, &headers, &json!(messages).to_string())
            .await;
        in_time("responses", http.head()).await.unwrap();
        let responses = match http.is_stream() {
            false => serde_json::from_str(&http.body().await.unwrap()).unwrap(),
            true => loop {
                if let Some(Event::Message(message)) = in_time("responses", http.event()).await.unwrap() {
                    break message;
                }
            },
        };
        responses
            .as_array()
            .unwrap_or_else(|| panic!("no batch: {responses}"))
            .clone()
    }

    /// Sends a notification.
    pub async fn notify(&self, method: &str, params: Value) {
        self.post(json!({ "jsonrpc": "2.0", "method": method, "params": params }))
            .await;
    }

    async fn post(&self, message: Value) {
        let session = self.inner.session.clone().expect("modern agents send requests alone");
        let body = message.to_string();
        let mut http = self.connection().await;
        let headers = [ACCEPT, ("mcp-session-id", &session)];
        http.send("POST", &self.inner.path, &headers, &body).await;
        in_time("202", http.head()).await.unwrap();
        assert_eq!(http.status, 202);
        http.body().await.unwrap();
        self.keep(http);
    }

    /// Ends its session.
    pub async fn end(&self) {
        let session = self.session();
        let mut http = Http::connect(&self.inner.address).await;
        let headers = [("mcp-session-id", session)];
        http.send("DELETE", &self.inner.path, &headers, "").await;
        in_time("the end of the session", http.head()).await.unwrap();
        assert_eq!(http.status, 200);
    }

    /// Any request, under an id of its own, to its end.
    pub async fn request(&self, method: &str, params: Value) -> Outcome {
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.send(id.into(), method, params).await.outcome().await
    }

    /// Answers what a server asked.
    pub async fn answer(&self, id: &Value, result: Value) {
        self.post(json!({ "jsonrpc": "2.0", "id": id, "result": result })).await;
    }

    /// Cancels a legacy request.
    pub async fn cancel(&self, id: impl Into<Value>) {
        self.notify("notifications/cancelled", json!({ "requestId": id.into() }))
            .await;
    }

    /// Opens the stream of list changes: GET for a legacy agent, `subscriptions/listen` for a modern one. Returns
    /// when the first event has come.
    pub async fn listen(&self) -> Http {
        let mut http = match &self.inner.session {
            Some(session) => {
                let mut http = Http::connect(&self.inner.address).await;
                let headers = [("accept", "text/event-stream"), ("mcp-session-id", session)];
                http.send("GET", &self.inner.path, &headers, "").await;
                http
            }
            None => {
                let params = json!({ "notifications": { "toolsListChanged": true } });
                self.send("listen".into(), "subscriptions/listen", params).await.http
            }
        };
        in_time("a stream", http.head()).await.unwrap();
        assert_eq!(http.status, 200);
        in_time("the first event", http.event()).await.unwrap().unwrap();
        http
    }
}

impl Sent {
    /// The next notification or the end; comments are skipped.
    pub async fn next(&mut self) -> std::io::Result<Next> {
        if !self.headed {
            self.http.head().await?;
            self.headed = true;
        }
        if !self.http.is_stream() {
            let body = self.http.body().await?;
            let message = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {} {body}", self.http.status));
            return Ok(Next::Done(self.done(message)));
        }
        loop {
            match self.http.event().await? {
                Some(Event::Comment(_)) => {}
                Some(Event::Message(message)) if message.get("id").is_some() && message.get("method").is_some() => {
                    return Ok(Next::Asked(message));
                }
                Some(Event::Message(message)) if message.get("id").is_some() => {
                    let end = self.http.event().await?;
                    assert_eq!(end, None, "nothing follows the response");
                    return Ok(Next::Done(self.done(message)));
                }
                Some(Event::Message(message)) => {
                    self.notes.push(message.clone());
                    return Ok(Next::Note(message));
                }
                None => panic!("the stream ended without a response"),
            }
        }
    }

    fn done(&mut self, message: Value) -> Outcome {
        assert_eq!(message["id"], self.id, "{message}");
        let body = match message.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(message["result"].clone()),
        };
        Outcome {
            status: self.http.status,
            body,
            notes: std::mem::take(&mut self.notes),
        }
    }

    /// Waits for the end, whatever comes before.
    pub async fn ended(mut self) -> std::io::Result<Outcome> {
        loop {
            if let Next::Done(outcome) = self.next().await? {
                self.agent.keep(self.http);
                return Ok(outcome);
            }
        }
    }

    /// Waits for the end, which must come.
    pub async fn outcome(self) -> Outcome {
        let id = self.id.clone();
        let ended = in_time(&format!("an answer to call {id}"), self.ended()).await;
        ended.unwrap_or_else(|e| panic!("call {id} was dropped: {e}"))
    }

    /// Waits for the first notification; the end where that comes first.
    pub async fn first_note(&mut self) -> Option<Outcome> {
        match in_time("a word about the call", self.next())
            .await
            .expect("it is not dropped")
        {
            Next::Note(_) | Next::Asked(_) => None,
            Next::Done(outcome) => Some(outcome),
        }
    }

    /// Gives the connection back after the end.
    pub fn give_back(self) {
        self.agent.keep(self.http);
    }

    /// The connection, for whoever reads it otherwise.
    pub fn into_http(self) -> Http {
        self.http
    }

    /// Closes the connection under the call.
    pub fn disconnect(self) {}
}
