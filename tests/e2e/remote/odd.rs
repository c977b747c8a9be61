//! Servers with habits: what they say without the words of the protocol, and what is made of it.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::fakes::{json_reply, result};
use crate::support::{Agent, Router, until};

/// The reply to a message, given how many calls came before: the whole of it, head included. None: it hangs up.
type Habit = dyn Fn(&Value, usize) -> Option<String> + Send + Sync;

/// A server with a habit.
struct Odd {
    port: u16,
    /// What it was asked: methods of the protocol, or those of HTTP where there was no message.
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Odd {
    async fn new(habit: impl Fn(&Value, usize) -> Option<String> + Send + Sync + 'static) -> Odd {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, habit): (Arc<Mutex<Vec<String>>>, Arc<Habit>) = (Arc::default(), Arc::new(habit));
        let noted = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&noted), Arc::clone(&habit)));
            }
        });
        Odd { port, asked, task }
    }

    async fn router(&self, more: &str) -> Router {
        let backend = format!("[backends.odd]\nurl = \"http://127.0.0.1:{}/mcp\"\n{more}\n", self.port);
        Router::start(&backend).await
    }

    fn count(&self, method: &str) -> usize {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|asked| *asked == method)
            .count()
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, asked: Arc<Mutex<Vec<String>>>, habit: Arc<Habit>) {
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
        let body: Value = serde_json::from_slice(&bytes.drain(..length).collect::<Vec<u8>>()).unwrap_or_default();
        let verb = head.split(' ').next().unwrap();
        let method = body["method"].as_str().unwrap_or(verb).to_owned();
        let before = {
            let mut asked = asked.lock().unwrap();
            asked.push(method.clone());
            asked.iter().filter(|m| *m == "tools/call").count().saturating_sub(1)
        };
        let reply = match habit(&body, before) {
            Some(reply) if !reply.is_empty() => reply,
            Some(_) => usual(&method, &body),
            None => return,
        };
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// What a server of either era says that has no habit.
fn usual(method: &str, body: &Value) -> String {
    let id = &body["id"];
    let session = "mcp-session-id: s1\r\n";
    match method {
        "server/discover" => result(
            id,
            json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} }, "resultType": "complete" }),
        ),
        "initialize" => {
            let result = json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "serverInfo": {} });
            let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
            json_reply("200 OK", session, &answer.to_string())
        }
        "tools/list" => {
            let tools = json!([{ "name": "tool", "inputSchema": { "type": "object" } }]);
            result(
                id,
                json!({ "tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "public" }),
            )
        }
        "tools/call" => result(
            id,
            json!({ "content": [{ "type": "text", "text": "fine" }], "resultType": "complete" }),
        ),
        "ping" => result(id, json!({})),
        "get" => json_reply("405 Method Not Allowed", "", ""),
        _ => json_reply("202 Accepted", "", ""),
    }
}

/// Nothing out of the ordinary.
fn no() -> Option<String> {
    Some(String::new())
}

fn plain(status: &str, headers: &str) -> Option<String> {
    Some(format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n"))
}

fn is_call(body: &Value) -> bool {
    body["method"] == "tools/call"
}

/// As a server does that knows only the legacy era.
fn unknown(body: &Value) -> Option<String> {
    let error = json!({ "code": -32601, "message": "Method not found" });
    let error = json!({ "jsonrpc": "2.0", "id": body["id"], "error": error });
    Some(json_reply("404 Not Found", "", &error.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_met_a_503_is_not_written_again() {
    let odd = Odd::new(|body, _| match is_call(body) {
        true => plain("503 Service Unavailable", "retry-after: 0\r\n"),
        false => no(),
    })
    .await;
    let router = odd.router("").await;
    router.ready("odd").await;
    let outcome = Agent::modern(&router.address).call("tool", json!({})).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7004, json!("unknown")),
        "{outcome:?}"
    );
    assert_eq!(odd.count("tools/call"), 1);
    assert_eq!(router.backend("odd")["targets"][0]["incarnation"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_counts_requests_is_asked_less_and_less_often() {
    let odd = Odd::new(|body, _| match is_call(body) {
        true => plain("429 Too Many Requests", ""),
        false => no(),
    })
    .await;
    let router = odd.router("gate = { wait = \"1s\" }").await;
    router.ready("odd").await;
    let outcome = Agent::modern(&router.address).call("tool", json!({})).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7001, json!("rejected")),
        "{outcome:?}"
    );
    let error = outcome.body.as_ref().unwrap_err().to_string();
    assert!(error.contains("HTTP 429"), "{error}");
    // After 0, 100, 300 and 700 ms at the earliest.
    let tries = odd.count("tools/call");
    assert!((2..=4).contains(&tries), "{tries} tries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_names_a_time_is_asked_again_then_and_not_before() {
    let odd = Odd::new(|body, before| match (is_call(body), before) {
        (true, 0) => plain("429 Too Many Requests", "retry-after: 1\r\n"),
        (true, 2) => plain("429 Too Many Requests", "retry-after: 3600\r\n"),
        _ => no(),
    })
    .await;
    let router = odd.router("").await;
    router.ready("odd").await;
    let agent = Agent::modern(&router.address);
    let began = std::time::Instant::now();
    let outcome = agent.call("tool", json!({})).await;
    assert_eq!(outcome.text(), Some("fine"), "{outcome:?}");
    assert!(began.elapsed().as_millis() >= 1000);
    assert_eq!(odd.count("tools/call"), 2);
    // Nobody waits for so long.
    let outcome = agent.call("tool", json!({})).await;
    let told = (outcome.code(), outcome.data("retry_after_ms"));
    assert_eq!(told, (7001, json!(3_600_000)), "{outcome:?}");
    assert_eq!(odd.count("tools/call"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_targets_the_one_that_has_time_is_asked() {
    let busy = Odd::new(|body, _| match is_call(body) {
        true => plain("429 Too Many Requests", "retry-after: 3600\r\n"),
        false => no(),
    })
    .await;
    let other = Odd::new(|_, _| no()).await;
    let urls = [busy.port, other.port].map(|port| format!("\"http://127.0.0.1:{port}/mcp\""));
    let router = Router::start(&format!("[backends.odd]\nurls = [{}]\n", urls.join(", "))).await;
    router.ready("odd").await;
    let agent = Agent::modern(&router.address);
    for n in 1..=4 {
        let outcome = agent.call("tool", json!({})).await;
        assert_eq!(outcome.text(), Some("fine"), "{outcome:?}");
        assert_eq!(other.count("tools/call"), n);
    }
    assert!(busy.count("tools/call") <= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_server_that_fails_on_what_it_does_not_know_is_one_all_the_same() {
    for status in [None, Some("500 Internal Server Error"), Some("501 Not Implemented")] {
        let odd = Odd::new(move |body, _| match body["method"].as_str() {
            Some("server/discover") => status.and_then(|status| plain(status, "")),
            _ => no(),
        })
        .await;
        let router = odd.router("").await;
        let backend = router.ready("odd").await;
        let target = &backend["targets"][0];
        assert_eq!(
            (&target["era"], &target["incarnation"]),
            (&json!("legacy"), &json!(1)),
            "{status:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_with_an_error_of_its_own_is_no_lost_session() {
    let odd = Odd::new(|body, _| match body["method"].as_str() {
        Some("server/discover") => unknown(body),
        Some("tools/call") => {
            let error = json!({ "code": -32002, "message": "Resource not found" });
            let error = json!({ "jsonrpc": "2.0", "id": body["id"], "error": error });
            Some(json_reply("404 Not Found", "", &error.to_string()))
        }
        _ => no(),
    })
    .await;
    let router = odd.router("").await;
    router.ready("odd").await;
    let outcome = Agent::legacy(&router.address).await.call("tool", json!({})).await;
    assert_eq!(outcome.code(), -32002, "{outcome:?}");
    assert_eq!((odd.count("tools/call"), odd.count("initialize")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_loses_one_session_at_most() {
    let odd = Odd::new(|body, _| match body["method"].as_str() {
        Some("server/discover") => unknown(body),
        Some("tools/call") if body["params"]["arguments"]["poison"] == true => plain("404 Not Found", ""),
        _ => no(),
    })
    .await;
    let router = odd
        .router("backoff = { min = \"1ms\", base = \"1ms\", max = \"5ms\" }")
        .await;
    router.ready("odd").await;
    let agent = Agent::legacy(&router.address).await;
    let outcome = agent.call("tool", json!({ "poison": true })).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7001, json!("rejected")),
        "{outcome:?}"
    );
    assert_eq!((odd.count("tools/call"), odd.count("initialize")), (2, 2));
    let outcome = agent.call("tool", json!({})).await;
    assert_eq!(outcome.text(), Some("fine"), "{outcome:?}");
    assert_eq!(router.backend("odd")["targets"][0]["incarnation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_handshakes_that_fail_are_ended() {
    let odd = Odd::new(|body, _| match body["method"].as_str() {
        Some("server/discover" | "tools/list") => unknown(body),
        _ => no(),
    })
    .await;
    let _router = odd
        .router("backoff = { min = \"1ms\", base = \"1ms\", max = \"5ms\" }")
        .await;
    until("three sessions to be ended", || {
        (odd.count("delete") >= 3).then_some(())
    })
    .await;
    assert!(odd.count("initialize") <= odd.count("delete") + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_is_cancelled() {
    let odd = Odd::new(|body, _| match body["method"].as_str() {
        Some("server/discover") => unknown(body),
        Some("tools/call") => {
            // The stream ends, and there is none to take it up on.
            let events = "id: e1\nretry: 1\ndata:\n\n";
            let headers = format!("content-type: text/event-stream\r\ncontent-length: {}", events.len());
            Some(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{events}"))
        }
        _ => no(),
    })
    .await;
    let router = odd.router("").await;
    router.ready("odd").await;
    let outcome = Agent::legacy(&router.address).await.call("tool", json!({})).await;
    assert_eq!(outcome.code(), 7004, "{outcome:?}");
    let cancelled = || (odd.count("notifications/cancelled") == 1).then_some(());
    until("the cancellation", cancelled).await;
}
