//! `http` as a component has it: what its grant does not give is refused in words, and what takes too long or is too
//! much ends. Redirects from a public address to a private one need a public address: they are tested beside
//! `src/plugin/capability/http.rs`, where a name can stand for one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pointsman::config::{Grants, HttpGrant};
use pointsman::plugin::Generation;
use pointsman::policy::{Policy, RouteChoice};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::*;

/// A server on loopback that does what the path says, and counts who asked.
struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let read = socket.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..read]).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let length = |n: usize| format!("connection: close\r\ncontent-length: {n}\r\n");
                    let (status, headers, body) = match path {
                        "/slow" => (200, length(9), "slow".to_owned()),
                        "/large" => (200, length(2000), "x".repeat(2000)),
                        // Nobody says how long it is, and it never ends.
                        "/endless" => (200, "transfer-encoding: chunked\r\n".to_owned(), String::new()),
                        "/away" => (
                            302,
                            format!("location: http://elsewhere.test/\r\n{}", length(0)),
                            String::new(),
                        ),
                        _ => (200, length(2), "hi".to_owned()),
                    };
                    let answer = format!("HTTP/1.1 {status} X\r\n{headers}\r\n{body}");
                    let _ = socket.write_all(answer.as_bytes()).await;
                    match path {
                        "/slow" => std::future::pending().await,
                        "/endless" => while socket.write_all(b"3\r\nxxx\r\n").await.is_ok() {},
                        _ => {}
                    }
                });
            }
        });
        Self { address, asked }
    }
}

/// The guest that may send GET to these hosts, with a second for it and a kilobyte.
async fn granted(hosts: &[&str], port: u16, private: bool) -> Arc<Generation> {
    let http = HttpGrant {
        allow: hosts.iter().map(|host| format!("http://{host}:{port}")).collect(),
        methods: vec!["GET".to_owned()],
        private,
        timeout: Duration::from_millis(300),
        max_body: 1000,
    };
    let grants = Grants {
        http: Some(http),
        ..everything()
    };
    alone(reach(grants)).await
}

/// What the guest is told of one request.
async fn send(generation: &Generation, request: Value) -> String {
    let mut order = request;
    order["do"] = "send".into();
    let choice = generation
        .route(&super::support::order(json!([order])), candidates(&[]))
        .await;
    let Ok(RouteChoice::Answer(json)) = choice else {
        panic!("{choice:?}")
    };
    let answer: Value = serde_json::from_str(json.as_str()).unwrap();
    answer["answers"][0].as_str().unwrap().to_owned()
}

async fn get(generation: &Generation, url: &str) -> String {
    send(generation, json!({ "method": "GET", "url": url })).await
}

#[tokio::test]
async fn private_addresses_are_refused_whatever_they_are_called() {
    let server = Server::start().await;
    let port = server.address.port();
    // The first two are literals; the others are names that stand for this machine, one of them a number.
    let hosts = ["127.0.0.1", "[::1]", "localhost", "2130706433"];
    let without = granted(&hosts, port, false).await;
    for host in hosts {
        let told = get(&without, &format!("http://{host}:{port}/")).await;
        let literal = host.trim_matches(['[', ']']);
        let name = match host {
            "localhost" => "localhost (",
            "2130706433" => "2130706433 (127.0.0.1)",
            _ => literal,
        };
        assert!(told.starts_with(&format!("refused: {name}")), "{host}: {told}");
        let words = "is an address of a private network, and the grant has no `private = true`";
        assert!(told.ends_with(words), "{host}: {told}");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0, "nobody connected");
    let with = granted(&hosts, port, true).await;
    for host in ["127.0.0.1", "localhost", "2130706433"] {
        assert_eq!(get(&with, &format!("http://{host}:{port}/")).await, "200  hi", "{host}");
    }
}

#[tokio::test]
async fn slow_and_large_answers_end() {
    let server = Server::start().await;
    let (generation, url) = (
        granted(&["127.0.0.1"], server.address.port(), true).await,
        format!("http://{}", server.address),
    );
    assert_eq!(get(&generation, &url).await, "200  hi");
    assert_eq!(
        get(&generation, &format!("{url}/slow")).await,
        "timeout: no answer within 300 ms"
    );
    for path in ["/large", "/endless"] {
        assert_eq!(
            get(&generation, &format!("{url}{path}")).await,
            "too-large: an answer of more than 1000 bytes",
            "{path}"
        );
    }
    assert_eq!(generation.status()[0].faults, 0, "the guest is told, and that is all");
}

#[tokio::test]
async fn methods_bodies_and_redirects_that_are_not_granted_are_refused() {
    let server = Server::start().await;
    let (generation, url) = (
        granted(&["127.0.0.1"], server.address.port(), true).await,
        format!("http://{}/", server.address),
    );
    let post = json!({ "method": "POST", "url": url });
    assert_eq!(
        send(&generation, post).await,
        "refused: POST is not allowed; the grant has GET"
    );
    let large = json!({ "method": "GET", "url": url, "length": 1001 });
    assert_eq!(
        send(&generation, large).await,
        "too-large: a body of 1001 bytes, 1000 are allowed"
    );
    assert_eq!(server.asked.load(Ordering::SeqCst), 0, "nobody connected");
    let away = get(&generation, &format!("{url}away")).await;
    assert!(
        away.starts_with("refused: http://elsewhere.test:80 is not allowed"),
        "{away}"
    );
}
