//! The demo server's HTTP transport, driven by requests written out by hand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::server::Server;
use super::{Options, http};

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The messages of an event stream, whose chunk lengths stand on lines of their own.
    fn events(&self) -> Vec<Value> {
        assert!(self.head.contains("text/event-stream"), "{}", self.head);
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}

async fn start() -> SocketAddr {
    let server = Arc::new(
        Server::new(Options {
            http: Some(0),
            ..Options::default()
        })
        .unwrap(),
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::accept(server, listener));
    address
}

async fn connect(address: SocketAddr, verb: &str, headers: &str, body: &Value) -> TcpStream {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{verb} /mcp HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn finish(mut stream: TcpStream) -> Reply {
    let mut text = String::new();
    let read = stream.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .unwrap()
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Reply {
        status: head[9..12].parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

async fn post(address: SocketAddr, headers: &str, body: Value) -> Reply {
    finish(connect(address, "POST", headers, &body).await).await
}

fn legacy(id: u32, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn modern(id: u32, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    legacy(id, method, params)
}

const MODERN: &str = "mcp-protocol-version: 2026-07-28\r\n";

#[tokio::test]
async fn a_legacy_session_gets_an_id_and_streams_only_where_needed() {
    let address = start().await;
    let hello = post(address, "", legacy(1, "initialize", json!({}))).await;
    assert!(hello.head.contains("mcp-session-id: "));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(address, "", note).await.status, 202);
    let call = json!({"name": "echo", "arguments": {"text": "a"}});
    let echo = post(address, "", legacy(2, "tools/call", call)).await;
    assert_eq!(echo.json()["result"]["content"][0]["text"], "a");
    assert!(echo.head.contains("application/json") && !echo.head.contains("mcp-session-id"));
    let call = json!({"name": "progress", "arguments": {"steps": 2, "ms": 0}, "_meta": {"progressToken": 5}});
    let events = post(address, "", legacy(3, "tools/call", call)).await.events();
    assert_eq!(events.len(), 3);
    assert_eq!(events[1]["params"]["progressToken"], 5);
    assert_eq!(events[2]["id"], 3);
    let call = json!({"name": "log", "arguments": {"level": "info", "text": "a"}});
    let events = post(address, "", legacy(4, "tools/call", call)).await.events();
    assert_eq!(
        (&events[0]["params"]["data"], &events[1]["id"]),
        (&json!("a"), &json!(4))
    );
    assert_eq!(
        finish(connect(address, "GET", "", &Value::Null).await).await.status,
        405
    );
}

#[tokio::test]
async fn a_legacy_call_is_cancelled_within_its_session_only() {
    let address = start().await;
    let sessions = ["mcp-session-id: one\r\n", "mcp-session-id: two\r\n"];
    let mut streams = Vec::new();
    for session in sessions {
        let arguments = json!({"steps": 1_000_000, "ms": 1});
        let call = json!({"name": "progress", "arguments": arguments, "_meta": {"progressToken": 1}});
        let body = legacy(1, "tools/call", call);
        let stream = connect(address, "POST", session, &body).await;
        // The event stream's first bytes prove that the call runs before it is cancelled.
        stream.readable().await.unwrap();
        streams.push(stream);
    }
    // Both calls have the same id: without the session, the first could not be reached any more.
    for (session, stream) in sessions.into_iter().zip(streams) {
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}});
        assert_eq!(post(address, session, cancel).await.status, 202);
        let events = finish(stream).await.events();
        assert!(events.iter().all(|event| event.get("id").is_none()));
    }
}

#[tokio::test]
async fn modern_errors_have_the_status_the_revision_asks_for() {
    let address = start().await;
    let headers = |rest: &str| format!("{MODERN}{rest}");
    let discover = modern(1, "server/discover", json!({}));
    let answer = post(address, &headers("mcp-method: server/discover\r\n"), discover.clone()).await;
    assert_eq!(
        (answer.status, &answer.json()["result"]["resultType"]),
        (200, &json!("complete"))
    );
    let ping = modern(2, "ping", json!({}));
    let bare = legacy(3, "tools/list", json!({}));
    for (method, body, status, code) in [
        ("mcp-method: tools/list\r\n", discover.clone(), 400, -32020),
        ("", discover, 400, -32020),
        ("mcp-method: ping\r\n", ping, 404, -32601),
        ("mcp-method: tools/list\r\n", bare, 400, -32602),
    ] {
        let answer = post(address, &headers(method), body).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)));
    }
    let foreign = post(address, "origin: http://evil.example\r\n", json!({})).await;
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn a_subscription_is_an_event_stream() {
    let address = start().await;
    let wish = modern(
        1,
        "subscriptions/listen",
        json!({"notifications": {"toolsListChanged": true}}),
    );
    let headers = format!("{MODERN}mcp-method: subscriptions/listen\r\n");
    let mut stream = connect(address, "POST", &headers, &wish).await;
    let mut text = String::new();
    for (tool, marker) in [("one", "subscriptions/acknowledged"), ("two", "tools/list_changed")] {
        while !text.contains(marker) {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "{text}");
            text += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        let add = modern(
            2,
            "tools/call",
            json!({"name": "add_tool", "arguments": {"name": tool}}),
        );
        let headers = format!("{MODERN}mcp-method: tools/call\r\nmcp-name: add_tool\r\n");
        assert_eq!(post(address, &headers, add).await.json()["id"], 2);
    }
}
