//! Streams that end in order, again and again, or bring too much; and how many may stand open.

use super::fake::{Fake, answer, call, event, failed, greet, legacy, message, soon};
use crate::remote::Event;

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;

fn listen(n: usize) -> Vec<u8> {
    format!(
        r#"{{"jsonrpc":"2.0","id":"listen-{n}","method":"subscriptions/listen","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
    )
    .into_bytes()
}

#[tokio::test]
async fn a_stream_of_changes_that_ends_in_order_is_left_to_its_owner() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    for n in 0..3 {
        remote.push(None, listen(n));
        let asked = fake.next().await;
        asked.events().await;
        let result = format!(r#"{{"jsonrpc":"2.0","id":"listen-{n}","result":{{}}}}"#);
        asked.event(&format!("data: {NOTE}\n\ndata: {result}\n\n")).await;
        asked.end().await;
        assert_eq!(event(&mut remote).await, message(NOTE, None));
        assert_eq!(event(&mut remote).await, message(&result, None));
    }
    // Were one of them to ask again, its task would live on.
    soon("the end of the tasks", async {
        while remote.others.iter().any(|other| !other.task.is_finished()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(fake.is_quiet());
}

#[tokio::test]
async fn streams_that_stand_open_do_not_stop_the_intake() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let mut open = Vec::new();
    for n in 0..70 {
        remote.push(None, listen(n));
        let asked = fake.next().await;
        asked.events().await;
        open.push(asked);
    }
    assert_eq!(remote.backlog(), 0);
}

#[tokio::test]
async fn a_server_that_has_itself_polled_keeps_its_calls() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    remote.push(Some(1), call(1));
    let mut asked = fake.next().await;
    for n in 0..12 {
        asked.events().await;
        // It says where it is, and ends the stream (SEP-1699).
        asked.event(&format!("id: e{n}\nretry: 1\ndata:\n\n")).await;
        asked.end().await;
        asked = fake.next().await;
        assert_eq!(asked.header("last-event-id"), Some(format!("e{n}").as_str()));
    }
    asked.events().await;
    asked.event(&format!("id: end\ndata: {}\n\n", answer(1))).await;
    asked.end().await;
    assert_eq!(event(&mut remote).await, message(&answer(1), Some(1)));
}

#[tokio::test]
async fn what_is_too_long_on_the_stream_of_a_session_is_not_asked_for_again() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let stream = greet(&mut fake, &mut remote).await;
    failed(&event(&mut remote).await);
    stream.events().await;
    stream.event(&format!("retry: 1\nid: 5\ndata: {NOTE}\n\n")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, None));
    // The limit of these remotes is 1000 bytes.
    stream.event(&format!("id: 6\ndata: {}\n\n", "x".repeat(1200))).await;
    let stream = fake.next().await;
    assert_eq!((stream.line(), stream.header("last-event-id")), ("get /mcp", None));
    stream.events().await;
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(event(&mut remote).await, message(changed, None));
    stream.event(&format!("data: {NOTE}\n\n")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, None));
}

#[tokio::test]
async fn a_failed_handshake_takes_leave_of_the_session() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#.to_vec(),
    );
    let headers = "content-type: application/json\r\nmcp-session-id: S1\r\n";
    fake.next().await.reply("200 OK", headers, super::fake::WELCOME).await;
    event(&mut remote).await;
    remote.push(None, br#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#.to_vec());
    fake.next().await.reply("500 Oops", "", "").await;
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    let (gone, ()) = tokio::join!(event(&mut remote), async {
        let asked = fake.next().await;
        assert_eq!(
            (asked.line(), asked.header("mcp-session-id")),
            ("delete /mcp", Some("s1"))
        );
        asked.reply("200 OK", "", "").await;
    });
    assert!(matches!(gone, Event::Gone { unreachable: true, .. }), "{gone:?}");
}
