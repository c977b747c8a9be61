//! The graceful stop.

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::support::{PATIENCE, Seen, Server};

#[tokio::test]
async fn requests_at_work_are_finished_and_idle_connections_closed() {
    let mut server = Server::start(|_| {}).await;
    let (mut idle, mut busy, fresh) = (server.connect().await, server.connect().await, server.connect().await);
    assert_eq!(idle.ask("POST", "/mcp", "", b"").await.status, 200);
    busy.request("POST", "/mcp/slow", "", b"").await;
    assert_eq!(server.next().await, Seen::Began("slow"));
    server.stop();
    assert!(idle.closed().await.is_empty());
    assert!(fresh.closed().await.is_empty());
    assert!(
        TcpStream::connect(server.address).await.is_err(),
        "nothing listens any more"
    );
    assert!(!server.serving.is_finished());
    server.go();
    let answer = busy.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("connection: close\r\n"));
    busy.closed().await;
    timeout(PATIENCE, server.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_finished_at_the_deadline_is_dropped() {
    let mut server = Server::start(|_| {}).await;
    let (mut waiting, mut streaming) = (server.connect().await, server.connect().await);
    waiting.request("POST", "/mcp/wait", "", b"").await;
    assert_eq!(server.next().await, Seen::Began("wait"));
    streaming.request("GET", "/mcp/stream", "", b"").await;
    assert_eq!(server.next().await, Seen::Began("stream"));
    server.stop();
    server.pass_deadline();
    assert!(waiting.closed().await.is_empty());
    streaming.closed().await;
    let mut dropped = [server.next().await, server.next().await];
    dropped.sort_by_key(|seen| *seen == Seen::Dropped("wait"));
    assert_eq!(dropped, [Seen::Dropped("stream"), Seen::Dropped("wait")]);
    timeout(PATIENCE, server.serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_server_drops_its_connections() {
    let mut server = Server::start(|_| {}).await;
    let mut waiting = server.connect().await;
    waiting.request("POST", "/mcp/wait", "", b"").await;
    assert_eq!(server.next().await, Seen::Began("wait"));
    server.serving.abort();
    assert_eq!(server.next().await, Seen::Dropped("wait"));
    waiting.closed().await;
}
