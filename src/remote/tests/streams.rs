//! Event streams: of calls, of sessions, of changes; taken up again where they break.

use super::fake::{Fake, answer, call, event, greet, legacy, message, modern_call};
use crate::remote::Event;

const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#;

#[tokio::test]
async fn what_comes_on_the_stream_of_a_call_is_the_calls() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    let asked = fake.next().await;
    asked.events().await;
    asked.event(&format!(": hello\n\ndata: {NOTE}\n\nda")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, Some(1)));
    asked.event(&format!("ta: {}\r\n\r\n", answer(1))).await;
    asked.end().await;
    assert_eq!(event(&mut remote).await, message(&answer(1), Some(1)));
}

#[tokio::test]
async fn a_stream_without_an_answer_and_garbage_are_failures_of_that_call_alone() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    let asked = fake.next().await;
    asked.events().await;
    asked
        .event("data: nonsense\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}\n\n")
        .await;
    asked.end().await;
    fake.probed().await;
    assert_eq!(event(&mut remote).await, message("nonsense", Some(1)));
    assert!(matches!(event(&mut remote).await, Event::Message { call: Some(1), .. }));
    let Event::Failed {
        id: 1,
        why,
        again: true,
    } = event(&mut remote).await
    else {
        panic!()
    };
    assert_eq!(why, "its event stream ended without an answer");

    // The limit of these remotes is 1000 bytes.
    for (id, json) in [(2, false), (3, true)] {
        remote.push(Some(id), modern_call(id));
        let asked = fake.next().await;
        let long = "x".repeat(600);
        if json {
            asked
                .write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
        } else {
            asked.events().await;
            asked.event("data: ").await;
        }
        asked.event(&long).await;
        asked.event(&long).await;
        let Event::Failed { id: told, why, again } = event(&mut remote).await else {
            panic!()
        };
        assert_eq!((told, again), (id, false));
        assert_eq!(why, "it sent a message over the limit of 1000 bytes");
        asked.left().await;
    }
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_by_its_last_event() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    event(&mut remote).await;
    remote.push(Some(1), call(1));
    let asked = fake.next().await;
    asked.events().await;
    asked.event("id: e1\nretry: 1\ndata:\n\n").await;
    asked.event(&format!("id: e2\ndata: {NOTE}\n\n")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, Some(1)));
    asked.hang_up().await;
    let asked = fake.next().await;
    assert_eq!((asked.line(), asked.header("last-event-id")), ("get /mcp", Some("e2")));
    asked.events().await;
    // The server closes it in order and wants to be asked again (SEP-1699).
    asked.end().await;
    let asked = fake.next().await;
    assert_eq!(asked.header("last-event-id"), Some("e2"));
    asked.events().await;
    asked.event(&format!("id: e3\ndata: {}\n\n", answer(1))).await;
    asked.end().await;
    assert_eq!(event(&mut remote).await, message(&answer(1), Some(1)));
}

#[tokio::test]
async fn a_stream_is_not_taken_up_for_ever() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    event(&mut remote).await;
    remote.push(Some(1), call(1));
    let asked = fake.next().await;
    asked.events().await;
    asked.event("id: e1\nretry: 1\n\n").await;
    asked.hang_up().await;
    for _ in 0..5 {
        let asked = fake.next().await;
        assert_eq!(asked.header("last-event-id"), Some("e1"));
        asked.events().await;
        asked.end().await;
    }
    fake.probed().await;
    assert!(matches!(
        event(&mut remote).await,
        Event::Failed { id: 1, again: true, .. }
    ));
    assert!(fake.is_quiet());
}

#[tokio::test]
async fn the_stream_of_a_session_is_kept_open() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let stream = greet(&mut fake, &mut remote).await;
    event(&mut remote).await;
    stream.events().await;
    stream.event(&format!("retry: 1\nid: 5\ndata: {NOTE}\n\n")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, None));
    stream.end().await;
    let stream = fake.next().await;
    assert_eq!((stream.line(), stream.header("last-event-id")), ("get /mcp", Some("5")));
    // Its server was replaced by one that does not know the session.
    stream.hang_up().await;
    let stream = fake.next().await;
    stream.reply("404 Not Found", "", "").await;
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    assert!(matches!(
        event(&mut remote).await,
        Event::Gone { unreachable: false, .. }
    ));
}

#[tokio::test]
async fn the_death_of_a_server_is_noticed_without_calls() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let stream = greet(&mut fake, &mut remote).await;
    event(&mut remote).await;
    stream.events().await;
    stream.event(&format!("retry: 1\ndata: {NOTE}\n\n")).await;
    event(&mut remote).await;
    fake.die().await;
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    assert!(matches!(
        event(&mut remote).await,
        Event::Gone { unreachable: true, .. }
    ));
}

#[tokio::test]
async fn after_a_gap_in_the_changes_the_lists_are_asked_for_anew() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let listen = r#"{"jsonrpc":"2.0","id":"listen","method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourcesListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    remote.push(None, listen.as_bytes().to_vec());
    let asked = fake.next().await;
    asked.events().await;
    asked.event(&format!("data: {NOTE}\n\n")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, None));
    asked.hang_up().await;
    let asked = fake.next().await;
    asked.events().await;
    asked.event(&format!("data: {NOTE}\n\n")).await;
    for list in ["tools", "resources"] {
        let changed = format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#);
        assert_eq!(event(&mut remote).await, message(&changed, None));
    }
    assert_eq!(event(&mut remote).await, message(NOTE, None));
}

#[tokio::test]
async fn a_stream_of_changes_that_is_replaced_is_closed() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let listen = r#"{"jsonrpc":"2.0","id":"listen-1","method":"subscriptions/listen","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    remote.push(None, listen.as_bytes().to_vec());
    remote.push(None, listen.replace("listen-1", "listen-2").into_bytes());
    let (one, two) = (fake.next().await, fake.next().await);
    let (one, two) = if one.body.contains("listen-1") {
        (one, two)
    } else {
        (two, one)
    };
    one.events().await;
    two.events().await;
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"listen-1"}}"#;
    remote.push(None, cancelled.as_bytes().to_vec());
    one.left().await;
    two.event(&format!("data: {NOTE}\n\n")).await;
    assert_eq!(event(&mut remote).await, message(NOTE, None));
    assert!(fake.is_quiet(), "nothing was posted about it");
}

#[tokio::test]
async fn the_same_goes_for_the_stream_of_a_session_without_ids() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let stream = greet(&mut fake, &mut remote).await;
    event(&mut remote).await;
    stream.events().await;
    stream.event("retry: 1\n\n").await;
    stream.end().await;
    fake.next().await.events().await;
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(event(&mut remote).await, message(changed, None));
}
