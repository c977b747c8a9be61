//! HTTP+SSE of 2024-11-05, wanted or found out; and Unix sockets.

use super::fake::{Fake, answer, call, event, message, open, soon};
use crate::config::{self, Place, Transport};
use crate::remote::Event;

const INITIALIZE: &[u8] = br#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#;

#[tokio::test]
async fn answers_come_on_the_one_stream() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote_with(Transport::Sse, |_| {});
    remote.push(None, INITIALIZE.to_vec());
    let stream = fake.next().await;
    assert_eq!(stream.line(), "get /mcp");
    stream.events().await;
    stream.event("event: endpoint\ndata: /messages?session=1\n\n").await;
    let asked = fake.next().await;
    assert_eq!(asked.line(), "post /messages?session=1");
    asked.reply("202 Accepted", "", "Accepted").await;
    stream.event(&format!("event: message\ndata: {}\n\n", answer(2))).await;
    assert_eq!(event(&mut remote).await, message(&answer(2), None));
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_vec(),
    );
    remote.push(Some(7), call(7));
    fake.next().await.reply("202 Accepted", "", "").await;
    let (asked, _) = soon("the call", async {
        tokio::select! { asked = fake.next() => (asked, ()), told = remote.event() => panic!("{told:?}") }
    })
    .await;
    assert!(asked.body.contains("tools/call"), "no stream of its own is asked for");
    asked.reply("202 Accepted", "", "").await;
    stream.event(&format!("data: {}\n\n", answer(7))).await;
    assert_eq!(event(&mut remote).await, message(&answer(7), None));
    stream.hang_up().await;
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    assert!(matches!(
        event(&mut remote).await,
        Event::Gone { unreachable: false, .. }
    ));
}

#[tokio::test]
async fn it_is_found_out_by_itself() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let discover = br#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#;
    remote.push(None, discover.to_vec());
    fake.next().await.reply("405 Method Not Allowed", "", "").await;
    let error =
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"it answered with HTTP 405 Method Not Allowed"}}"#;
    assert_eq!(event(&mut remote).await, message(error, None));
    remote.push(None, INITIALIZE.to_vec());
    fake.next().await.reply("405 Method Not Allowed", "", "").await;
    let (stream, ()) = soon("the stream", async {
        tokio::select! { stream = fake.next() => (stream, ()), told = remote.event() => panic!("{told:?}") }
    })
    .await;
    stream.events().await;
    stream.event("event: endpoint\ndata: m\n\n").await;
    let asked = fake.next().await;
    assert_eq!(asked.line(), "post /m");
    asked.reply("202 Accepted", "", "").await;
    stream.event(&format!("data: {}\n\n", answer(2))).await;
    assert_eq!(event(&mut remote).await, message(&answer(2), None));
}

#[tokio::test]
async fn messages_are_not_posted_to_another_origin() {
    let mut fake = Fake::new().await;
    let mut other = Fake::new().await;
    let mut remote = fake.remote_with(Transport::Sse, |_| {});
    remote.push(None, INITIALIZE.to_vec());
    let stream = fake.next().await;
    stream.events().await;
    stream
        .event(&format!("event: endpoint\ndata: {}\n\n", other.url("/m")))
        .await;
    let Event::Down { why } = event(&mut remote).await else {
        panic!()
    };
    assert_eq!(why, "it wants messages posted to another origin");
    assert!(other.is_quiet());
}

#[tokio::test]
async fn a_server_without_any_transport_is_told_so() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(None, INITIALIZE.to_vec());
    fake.next().await.reply("404 Not Found", "", "").await;
    let (told, ()) = tokio::join!(event(&mut remote), async {
        fake.next().await.reply("404 Not Found", "", "").await;
    });
    let Event::Down { why } = told else { panic!("{told:?}") };
    assert_eq!(why, "it has no event stream (HTTP 404 Not Found)");
    // With the transport given, the fault is the request's.
    let mut remote = fake.remote_with(Transport::Http, |_| {});
    remote.push(None, INITIALIZE.to_vec());
    fake.next().await.reply("404 Not Found", "", "").await;
    let error = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32600,"message":"it answered with HTTP 404 Not Found"}}"#;
    assert_eq!(event(&mut remote).await, message(error, None));
}

#[tokio::test]
async fn a_huge_event_ends_the_session() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote_with(Transport::Sse, |_| {});
    let stream = fake.next().await;
    stream.events().await;
    stream.event("data: ").await;
    stream.event(&"x".repeat(2000)).await;
    let Event::Down { why } = event(&mut remote).await else {
        panic!()
    };
    assert_eq!(why, "it sent a message over the limit of 1000 bytes");
    stream.left().await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_a_place_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let settings = config::Remote::from(Place::Socket {
        socket,
        path: "/here?x=1".to_owned(),
    });
    let mut remote = open(&settings, 1000);
    remote.push(Some(1), super::fake::modern_call(1));
    let (mut stream, _) = soon("a connection", listener.accept()).await.unwrap();
    let mut head = vec![0; 64];
    soon("the request", stream.read_exact(&mut head)).await.unwrap();
    assert!(
        head.starts_with(b"POST /here?x=1 HTTP/1.1\r\n"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    let body = answer(1);
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await.unwrap();
    assert_eq!(event(&mut remote).await, message(&body, Some(1)));
}

#[test]
fn a_file_of_authorities_that_is_none_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let mut settings = config::Remote::from(Place::Urls(vec!["https://x.example/".to_owned()]));
    settings.ca_file = Some(file.clone());
    let error = |settings: &config::Remote| {
        let mirrors: crate::remote::Mirrors = std::sync::Arc::new(|_| Vec::new());
        let opened = crate::remote::Remote::open(settings, 0, 1000, mirrors, &Default::default());
        opened.map(drop).unwrap_err().to_string()
    };
    assert!(error(&settings).contains("cannot be read"), "{}", error(&settings));
    std::fs::write(&file, "hello").unwrap();
    assert!(
        error(&settings).ends_with("holds no certificate"),
        "{}",
        error(&settings)
    );
}
