//! Fakes over HTTP: what reaches a backend, and what becomes of replies that are none.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::http::Http;
use crate::support::{Agent, Router};

/// A modern server that answers what it must, and tool calls as the test says.
struct Fake {
    port: u16,
    /// The heads of all requests, in lower case.
    heads: Arc<Mutex<Vec<String>>>,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// The reply to a call, given the request's id: the whole of it, head included.
type Reply = fn(&Value) -> String;

impl Fake {
    async fn new(call: Reply) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heads, accepted) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let (known, count) = (Arc::clone(&heads), Arc::clone(&accepted));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Relaxed);
                tokio::spawn(serve(stream, Arc::clone(&known), call));
            }
        });
        Fake {
            port,
            heads,
            accepted,
            task,
        }
    }

    fn config(&self, more: &str) -> String {
        format!(
            "[backends.fake]\nurl = \"http://127.0.0.1:{}/mcp\"\n{more}\n",
            self.port
        )
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn json_reply(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn result(id: &Value, result: Value) -> String {
    json_reply(
        "200 OK",
        "",
        &json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string(),
    )
}

async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, call: Reply) {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(bytes.drain(..end).collect()).unwrap().to_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|l| l.lines().next()?.parse().ok());
        let length = length.unwrap_or(0);
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body: Value = serde_json::from_slice(&bytes.drain(..length).collect::<Vec<u8>>()).unwrap();
        heads.lock().unwrap().push(head);
        let id = &body["id"];
        let schema =
            json!({ "type": "object", "properties": { "region": { "type": "string", "x-mcp-header": "Region" } } });
        let reply = match body["method"].as_str().unwrap() {
            "server/discover" => {
                let versions = ["2026-07-28"];
                result(
                    id,
                    json!({ "supportedVersions": versions, "capabilities": { "tools": {} }, "resultType": "complete" }),
                )
            }
            "tools/list" => {
                let tools = json!([{ "name": "tool", "inputSchema": schema }]);
                result(
                    id,
                    json!({ "tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "public" }),
                )
            }
            _ => call(id),
        };
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn fine(id: &Value) -> String {
    result(
        id,
        json!({ "content": [{ "type": "text", "text": "fine" }], "resultType": "complete" }),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_calls_share_their_connections() {
    let fake = Fake::new(fine).await;
    let router = Router::start(&fake.config("")).await;
    router.ready("fake").await;
    let agent = Agent::legacy(&router.address).await;
    for _ in 0..50 {
        let call = async || agent.call("tool", json!({})).await;
        let four = tokio::join!(call(), call(), call(), call());
        for outcome in [four.0, four.1, four.2, four.3] {
            assert_eq!(outcome.text(), Some("fine"), "{outcome:?}");
        }
    }
    let accepted = fake.accepted.load(Relaxed);
    println!("{accepted} connections for 200 calls, four at a time");
    assert!(accepted <= 10, "{accepted} connections for 200 calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_sends_in_headers_stays_here() {
    let fake = Fake::new(fine).await;
    let more = "headers = { X-Own = \"${OWN:-configured}\" }";
    let router = Router::start(&fake.config(more)).await;
    router.ready("fake").await;
    let mut http = Http::connect(&router.address).await;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "tool", "arguments": { "region": "Köln" },
        "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} } } });
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "tool"),
        ("mcp-param-region", "=?base64?S8O2bG4=?="),
        ("mcp-param-other", "s3cret"),
        ("authorization", "Bearer s3cret"),
        ("proxy-authorization", "Basic s3cret"),
        ("cookie", "a=s3cret"),
        ("x-api-key", "s3cret"),
        ("x-own", "s3cret"),
    ];
    http.send("POST", "/mcp", &headers, &body.to_string()).await;
    http.head().await.unwrap();
    let answer = http.body().await.unwrap();
    assert!(http.status == 200 && answer.contains("fine"), "{answer}");
    let heads = fake.heads();
    for head in &heads {
        assert!(
            head.contains("x-own: configured\r\n") && !head.contains("s3cret"),
            "{head}"
        );
        assert!(!head.contains("authorization") && !head.contains("cookie"), "{head}");
    }
    let call = heads.iter().find(|head| head.contains("mcp-name: tool\r\n"));
    let call = call.unwrap_or_else(|| panic!("{heads:?}"));
    // As it was, apart from the case of the fake's notes.
    assert!(call.contains("mcp-param-region: =?base64?s8o2bg4=?=\r\n"), "{call}");
    assert!(call.contains("mcp-protocol-version: 2026-07-28\r\n"), "{call}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_credentials_are_a_definite_error() {
    let fake = Fake::new(|_| {
        json_reply(
            "401 Unauthorized",
            "www-authenticate: Bearer realm=\"s3cret\"\r\n",
            "{\"hint\":\"s3cret\"}",
        )
    })
    .await;
    let router = Router::start(&fake.config("")).await;
    router.ready("fake").await;
    for agent in [Agent::legacy(&router.address).await, Agent::modern(&router.address)] {
        let outcome = agent.call("tool", json!({})).await;
        assert_eq!((outcome.status, outcome.code()), (200, 7001), "{outcome:?}");
        let error = outcome.body.clone().unwrap_err();
        let words = "fake refused the call: it does not accept the router's credentials (HTTP 401 Unauthorized).";
        assert_eq!(error["message"], words);
        assert_eq!(
            (&error["data"]["backend"], &error["data"]["delivery"]),
            (&json!("fake"), &json!("rejected"))
        );
        assert!(!error.to_string().contains("s3cret"));
    }
    assert_eq!(router.backend("fake")["state"], "ready", "the server itself is well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_are_none_are_bounded_and_cost_their_call_alone() {
    // Each of them promises far more than may be kept.
    let replies: [(&str, Reply); 4] = [
        ("over the limit", |_| {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000000\r\n\r\ndata: {}",
                "x".repeat(100_000)
            )
        }),
        ("over the limit", |_| {
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n{{\"a\":\"{}",
                "x".repeat(100_000)
            )
        }),
        ("no answer", |_| json_reply("200 OK", "", "nonsense")),
        ("no answer", |_| result(&json!("another"), json!({}))),
    ];
    for (words, reply) in replies {
        let fake = Fake::new(reply).await;
        let router = Router::start(&fake.config("max-message = \"64KiB\"")).await;
        router.ready("fake").await;
        let outcome = Agent::modern(&router.address).call("tool", json!({})).await;
        assert_eq!(outcome.code(), 7004, "{outcome:?}");
        let error = outcome.body.unwrap_err();
        assert!(error["message"].as_str().unwrap().contains(words), "{error}");
        let backend = router.backend("fake");
        assert_eq!(
            (&backend["state"], &backend["targets"][0]["incarnation"]),
            (&json!("ready"), &json!(1))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_credentials_for_the_handshake_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = [0; 4096];
            let _ = stream.read(&mut bytes).await;
            let _ = stream
                .write_all(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
        }
    });
    let more = "crash-loop = { deaths = 1 }\nbackoff = { min = \"1ms\", base = \"1ms\", max = \"5ms\" }";
    let router = Router::start(&format!(
        "[backends.fake]\nurl = \"http://127.0.0.1:{port}/mcp\"\n{more}\n"
    ))
    .await;
    let given_up = |b: &Value| b["state"] == "crash-loop";
    let backend = router.backend_until("fake", "to be given up", given_up).await;
    let why = backend["targets"][0]["why"].as_str().unwrap();
    assert!(
        why.contains("it does not accept the router's credentials (HTTP 401 Unauthorized)"),
        "{why}"
    );
    task.abort();
}
