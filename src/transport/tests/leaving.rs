//! Clients that go away, or only stop reading.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use super::support::{Seen, Server};

#[tokio::test]
async fn the_request_of_a_client_that_goes_is_dropped() {
    let mut server = Server::start(|_| {}).await;
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.request("POST", "/mcp/wait", "", b"{}").await;
        assert_eq!(server.next().await, Seen::Began("wait"));
        drop(client);
        assert_eq!(server.next().await, Seen::Dropped("wait"));
    }
}

#[tokio::test]
async fn a_client_that_closes_only_its_own_side_has_gone_too() {
    let mut server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    client.request("POST", "/mcp/wait", "", b"{}").await;
    assert_eq!(server.next().await, Seen::Began("wait"));
    client.0.shutdown().await.unwrap();
    assert_eq!(server.next().await, Seen::Dropped("wait"));
    client.closed().await;
}

#[tokio::test]
async fn the_stream_of_a_client_that_goes_is_dropped() {
    let mut server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    client.request("POST", "/mcp/stream", "", b"{}").await;
    client.until(": quiet\n\n").await;
    assert_eq!(server.next().await, Seen::Began("stream"));
    drop(client);
    assert_eq!(server.next().await, Seen::Dropped("stream"));
}

#[tokio::test]
async fn the_stream_of_a_client_that_stops_reading_is_dropped() {
    let mut server = Server::start(|listen| listen.write_timeout = Duration::from_millis(300)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(server.address).await.unwrap();
    client
        .write_all(b"GET /mcp/flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(server.next().await, Seen::Began("flood"));
    assert_eq!(server.next().await, Seen::Dropped("flood"));
    drop(client);
}
