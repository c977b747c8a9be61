//! Clients that are slow, large, many or mad.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::support::{Seen, Server};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn garbage_is_answered_and_closed() {
    let server = Server::start(|_| {}).await;
    let long_uri = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "u".repeat(70_000));
    let inputs: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /mcp HTTP/9.9\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /mcp HTTP/1.1\r\nHost: local\0host\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\nxx",
        long_uri.as_bytes(),
    ];
    for input in inputs {
        let mut client = server.connect().await;
        client.send(input).await;
        let answer = client.closed().await;
        let shown = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
            "{shown:?}: {answer:?}"
        );
    }
    let chunks = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let mut client = server.connect().await;
    client.send(chunks).await;
    client.closed().await;
    assert_eq!(server.connect().await.ask("GET", "/mcp", "", b"").await.status, 200);
}

#[tokio::test]
async fn half_a_head_and_no_byte_at_all_are_closed_in_time() {
    let server = Server::start(|listen| listen.header_timeout = SHORT).await;
    let began = Instant::now();
    let (mut half, none) = (server.connect().await, server.connect().await);
    half.send("POST /mcp HTTP/1.1\r\nHost: loc").await;
    assert!(half.closed().await.is_empty());
    assert!(none.closed().await.is_empty());
    assert!(began.elapsed() >= SHORT);
}

#[tokio::test]
async fn an_idle_kept_connection_outlives_the_head_timeout_but_half_a_second_head_does_not() {
    let server = Server::start(|listen| listen.header_timeout = SHORT).await;
    let mut client = server.connect().await;
    assert_eq!(client.ask("POST", "/mcp", "", b"").await.status, 200);
    sleep(3 * SHORT).await;
    assert_eq!(client.ask("POST", "/mcp", "", b"").await.status, 200);
    client.send("POST /mcp HT").await;
    assert!(client.closed().await.is_empty());
}

#[tokio::test]
async fn a_waiting_request_has_no_head_timeout() {
    let mut server = Server::start(|listen| (listen.header_timeout, listen.body_timeout) = (SHORT, SHORT)).await;
    let mut client = server.connect().await;
    // In two parts, so that the body was waited for.
    client
        .send("POST /mcp/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{")
        .await;
    client.send("}").await;
    assert_eq!(server.next().await, Seen::Began("slow"));
    sleep(3 * SHORT).await;
    server.go();
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn a_stalled_and_a_trickling_body_are_late() {
    let server = Server::start(|listen| listen.body_timeout = SHORT).await;
    let mut stalled = server.connect().await;
    stalled
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        .await;
    let answer = stalled.answer().await;
    assert_eq!((answer.status, &answer.json()["id"]), (408, &serde_json::Value::Null));
    assert!(answer.head.contains("connection: close\r\n"));
    stalled.closed().await;

    let trickling = server.connect().await;
    let (mut read, mut write) = trickling.0.into_split();
    let writing = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n";
        write.write_all(head.as_bytes()).await.unwrap();
        while write.write_all(b"x").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    });
    let mut answer = vec![0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut read, &mut answer)
        .await
        .unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
    writing.await.unwrap();
}

#[tokio::test]
async fn a_long_content_length_is_refused_before_the_body() {
    let server = Server::start(|listen| (listen.max_body, listen.body_timeout) = (1000, LONG)).await;
    let mut client = server.connect().await;
    assert_eq!(client.ask("POST", "/mcp", "", &[b'x'; 1000]).await.status, 200);
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n")
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, &answer.json()["jsonrpc"]), (413, &"2.0".into()));
    assert!(answer.head.contains("connection: close\r\n"));
    client.closed().await;

    let mut huge = server.connect().await;
    huge.send(format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        u64::MAX - 2
    ))
    .await;
    assert_eq!(huge.answer().await.status, 413);
}

#[tokio::test]
async fn who_sends_a_long_body_anyway_still_reads_the_refusal() {
    let server = Server::start(|listen| listen.max_body = 1000).await;
    for _ in 0..5 {
        let mut client = server.connect().await;
        client.request("POST", "/mcp", "", &vec![b'x'; 5_000_000]).await;
        assert_eq!(client.answer().await.status, 413);
    }
}

#[tokio::test]
async fn a_chunked_body_over_the_limit_is_refused() {
    let server = Server::start(|listen| (listen.max_body, listen.body_timeout) = (1000, LONG)).await;
    let mut client = server.connect().await;
    client
        .send("POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100))).await;
    }
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn many_and_large_headers() {
    let server = Server::start(|_| {}).await;
    let mut client = server.connect().await;
    let lines = |count: usize| (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>();
    // `Host` and `Content-Length` make it a hundred.
    assert_eq!(client.ask("POST", "/mcp", &lines(98), b"").await.json()["headers"], 100);
    assert_eq!(client.ask("POST", "/mcp", &lines(99), b"").await.status, 431);
    client.closed().await;
    let mut client = server.connect().await;
    let long = format!("x: {}\r\n", "v".repeat(30_000));
    assert_eq!(client.ask("POST", "/mcp", &long, b"").await.status, 200);
    let long = format!("x: {}\r\n", "v".repeat(70_000));
    let answer = client.ask("POST", "/mcp", &long, b"").await;
    assert_eq!(answer.status, 431);
}

#[tokio::test]
async fn one_connection_too_many_is_told() {
    let mut server = Server::start(|listen| listen.max_connections = 2).await;
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    assert_eq!(one.ask("POST", "/mcp", "", b"").await.status, 200);
    two.request("POST", "/mcp/wait", "", b"").await;
    assert_eq!(server.next().await, Seen::Began("wait"));
    let mut three = server.connect().await;
    let answer = three.ask("POST", "/mcp", "", b"").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &(-32600).into())
    );
    drop((two, three));
    assert_eq!(server.next().await, Seen::Dropped("wait"));
    // The connection's end is counted a moment after its request's.
    while server.connect().await.ask("POST", "/mcp", "", b"").await.status != 200 {}
}
