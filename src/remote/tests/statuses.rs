//! What follows from a status: who was asked for nothing, who may have done something, and what it says of the server.

use std::time::Duration;

use super::fake::{Fake, answer, call, event, failed, legacy, message, modern_call};
use crate::remote::Event;

const DISCOVER: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

#[tokio::test]
async fn a_503_is_no_proof_that_nothing_was_done() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    for (id, headers) in [(1, ""), (2, "retry-after: 1\r\n")] {
        remote.push(Some(id), modern_call(id));
        // What a proxy says whose connection broke after it had passed the request on.
        let why = "upstream connect error or disconnect/reset before headers";
        fake.next().await.reply("503 Service Unavailable", headers, why).await;
        fake.probed().await;
        assert_eq!(failed(&event(&mut remote).await), (id, true));
    }
}

#[tokio::test]
async fn whoever_asks_for_a_pause_did_nothing_and_names_it() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let week = Duration::from_secs(7 * 24 * 3600);
    for (id, headers, named) in [
        (1, "", None),
        (2, "retry-after: 60\r\n", Some(Duration::from_secs(60))),
        (3, "retry-after: 18446744073709551615\r\n", Some(week)),
        (4, "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", None),
    ] {
        remote.push(Some(id), modern_call(id));
        fake.next().await.reply("429 Too Many Requests", headers, "").await;
        let Event::Later {
            id: told, after, seen, ..
        } = event(&mut remote).await
        else {
            panic!()
        };
        assert_eq!((told, after, seen), (id, named, true));
    }
}

#[tokio::test]
async fn a_server_that_fails_on_the_first_question_is_not_out_of_reach() {
    for status in [None, Some("500 Oops"), Some("502 Bad Gateway")] {
        let mut fake = Fake::new().await;
        let mut remote = fake.remote();
        remote.push(None, DISCOVER.to_vec());
        let asked = fake.next().await;
        match status {
            None => asked.hang_up().await,
            Some(status) => asked.reply(status, "", "").await,
        }
        let Event::Unanswered { hung_up, .. } = event(&mut remote).await else {
            panic!("{status:?}")
        };
        assert_eq!(hung_up, status.is_none());
        // It is still there to be asked something else.
        remote.push(
            None,
            br#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}"#.to_vec(),
        );
        assert!(fake.next().await.body.contains("initialize"));
    }
}

#[tokio::test]
async fn a_server_that_has_no_time_for_the_first_question_is_out_of_reach() {
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let mut fake = Fake::new().await;
        let mut remote = fake.remote();
        remote.push(None, DISCOVER.to_vec());
        fake.next().await.reply(status, "", "").await;
        assert!(matches!(event(&mut remote).await, Event::Down { .. }), "{status}");
        let gone = event(&mut remote).await;
        assert!(matches!(gone, Event::Gone { unreachable: true, .. }), "{gone:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_calls_own_loses_no_session() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    let error = |id: &str, code: i32, words: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{words}"}}}}"#)
    };
    let json = "content-type: application/json\r\n";
    let missing = error("1", -32002, "Resource not found");
    remote.push(Some(1), call(1));
    fake.next().await.reply("404 Not Found", json, &missing).await;
    assert_eq!(event(&mut remote).await, message(&missing, Some(1)));
    failed(&event(&mut remote).await);
    remote.push(Some(2), call(2));
    let lost = error("2", -32001, "Session not found");
    fake.next().await.reply("404 Not Found", json, &lost).await;
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    assert!(matches!(event(&mut remote).await, Event::Forgotten { id: 2, .. }));
}

#[tokio::test]
async fn a_call_that_lost_a_session_before_is_believed_only_if_a_ping_says_so_too() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    remote.doubt(1);
    remote.push(Some(1), call(1));
    fake.next().await.reply("404 Not Found", "", "").await;
    fake.probed().await;
    assert!(matches!(event(&mut remote).await, Event::Refused { id: 1, .. }));
    // The session is as good as it was.
    remote.push(Some(2), call(2));
    fake.next().await.json(&answer(2)).await;
    assert_eq!(event(&mut remote).await, message(&answer(2), Some(2)));
    failed(&event(&mut remote).await);
    remote.doubt(3);
    remote.push(Some(3), call(3));
    for _ in 0..2 {
        fake.next().await.reply("404 Not Found", "", "").await;
    }
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    assert!(matches!(event(&mut remote).await, Event::Forgotten { id: 3, .. }));
}

#[tokio::test]
async fn a_list_that_cannot_be_had_says_nothing_of_the_server() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    let list = br#"{"jsonrpc":"2.0","id":"list-9","method":"prompts/list"}"#;
    remote.push(None, list.to_vec());
    fake.next().await.reply("500 Oops", "", "").await;
    let error = r#"{"jsonrpc":"2.0","id":"list-9","error":{"code":-32600,"message":"it answered with HTTP 500 Internal Server Error"}}"#;
    assert_eq!(event(&mut remote).await, message(error, None));
}
