//! Requests that are as they should be, and some that are merely odd.

use super::support::{Seen, Server};
use crate::wire::codes::INVALID_REQUEST;

#[tokio::test]
async fn paths_lead_to_endpoints_and_pages() {
    let server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    let answer = client.ask("POST", "/mcp", "", b"abc").await;
    assert_eq!((answer.status, &answer.json()["endpoint"]), (200, &"".into()));
    assert_eq!(
        (&answer.json()["method"], &answer.json()["length"]),
        (&"POST".into(), &3.into())
    );
    assert!(answer.head.contains("content-type: application/json\r\n"));
    let answer = client.ask("DELETE", "/mcp/docs?x=1", "", b"").await;
    assert_eq!(
        (&answer.json()["endpoint"], &answer.json()["method"]),
        (&"docs".into(), &"DELETE".into())
    );
    let answer = client.ask("GET", "/healthz", "", b"").await;
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (200, b"page /healthz".as_slice())
    );
    for path in ["/readyz", "/", "/mcp/", "/mcp/a/b", "/MCP", "/favicon.ico"] {
        let answer = client.ask("GET", path, "", b"").await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (404, &INVALID_REQUEST.into()),
            "{path}"
        );
    }
    let answer = client.ask("POST", "/mcp/accepted", "", b"{}").await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
}

#[tokio::test]
async fn a_connection_keeps_its_number() {
    let server = Server::start(|_| {}).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    let mut numbers = Vec::new();
    for _ in 0..2 {
        for client in [&mut one, &mut two] {
            numbers.push(
                client.ask("POST", "/mcp", "", b"").await.json()["connection"]
                    .as_u64()
                    .unwrap(),
            );
        }
    }
    assert_eq!(numbers[..2], numbers[2..]);
    assert_ne!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn() {
    let server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    let mut bytes = String::new();
    for length in 0..50 {
        let body = "x".repeat(length);
        bytes += &format!("POST /mcp/n{length} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}");
    }
    client.send(bytes).await;
    for length in 0..50 {
        let answer = client.answer().await.json();
        assert_eq!(
            (&answer["endpoint"], &answer["length"]),
            (&format!("n{length}").into(), &length.into())
        );
    }
}

#[tokio::test]
async fn bodies_in_many_pieces_arrive_whole() {
    let server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    let answer = client.ask("POST", "/mcp", "", &body).await.json();
    assert_eq!((&answer["length"], &answer["sum"]), (&body.len().into(), &sum.into()));

    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for piece in body.chunks(70_001) {
        client.send(format!("{:x}\r\n", piece.len())).await;
        client.send(piece).await;
        client.send("\r\n").await;
    }
    client.send("0\r\nTrailer: yes\r\n\r\n").await;
    let answer = client.answer().await.json();
    assert_eq!((&answer["length"], &answer["sum"]), (&body.len().into(), &sum.into()));
    assert_eq!(client.ask("GET", "/mcp", "", b"").await.status, 200);
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_continue() {
    let server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 100);
    client.send("{}").await;
    assert_eq!(client.answer().await.json()["length"], 2);
}

#[tokio::test]
async fn streams_have_their_headers_and_events() {
    let mut server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    client.request("POST", "/mcp/stream", "", b"{}").await;
    assert_eq!(server.next().await, Seen::Began("stream"));
    let head = client.head().await;
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-cache",
        "x-accel-buffering: no",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
    }
    client.until("event: message\ndata: {}\n\n").await;
    client.until(": quiet\n\n").await;
}

#[tokio::test]
async fn hosts_and_origins_are_checked() {
    let server = Server::start(|_| {}).await;
    let port = server.address.port();
    let status = async |headers: String| {
        let mut client = server.connect().await;
        client
            .send(format!("POST /mcp HTTP/1.1\r\nContent-Length: 0\r\n{headers}\r\n"))
            .await;
        let answer = client.answer().await;
        assert!(answer.status == 200 || answer.json()["error"]["message"].is_string());
        answer.status
    };
    assert_eq!(status(format!("Host: 127.0.0.1:{port}\r\n")).await, 200);
    assert_eq!(status("Host: evil.example\r\n".to_owned()).await, 403);
    assert_eq!(status(String::new()).await, 400);
    assert_eq!(status("Host: localhost\r\nHost: localhost\r\n".to_owned()).await, 400);
    assert_eq!(
        status("Host: localhost\r\nOrigin: http://localhost:3000\r\n".to_owned()).await,
        200
    );
    assert_eq!(
        status("Host: localhost\r\nOrigin: http://evil.example\r\n".to_owned()).await,
        403
    );
    let mut client = server.connect().await;
    client
        .send("GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\nGET /healthz HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 403);
    assert_eq!(client.answer().await.status, 200, "probes come under any name");
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_no_more() {
    let server = Server::start(|_| {}).await;
    let (mut broken, mut other) = (server.connect().await, server.connect().await);
    broken.request("POST", "/mcp/panic", "", b"").await;
    assert!(broken.closed().await.is_empty());
    assert_eq!(other.ask("POST", "/mcp", "", b"").await.status, 200);
    assert_eq!(server.connect().await.ask("POST", "/mcp", "", b"").await.status, 200);
}
