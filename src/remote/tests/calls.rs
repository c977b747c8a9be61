//! Calls: how they are written, answered, cancelled, lost, and given back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake::{Fake, answer, call, event, failed, legacy, message, modern_call, open};
use crate::config::{self, Place, Transport};
use crate::remote::Event;

#[tokio::test]
async fn a_modern_call_is_mirrored_and_answered() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote_with(Transport::Auto, |r| {
        r.headers.insert("Authorization".to_owned(), "Bearer own".to_owned());
    });
    remote.push(Some(7), modern_call(7));
    let asked = fake.next().await;
    assert_eq!(asked.line(), "post /mcp");
    for (name, value) in [
        ("accept", "application/json, text/event-stream"),
        ("content-type", "application/json"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t"),
        ("mcp-protocol-version", "2026-07-28"),
        ("authorization", "bearer own"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{}", asked.head);
    }
    assert_eq!(asked.header("mcp-session-id"), None);
    assert_eq!(remote.started().collect::<Vec<_>>(), [7]);
    // Pretty-printed: it becomes one line.
    asked.json("{\n\"jsonrpc\":\"2.0\",\r\n\"id\":7,\"result\":{}}").await;
    let one_line = "{ \"jsonrpc\":\"2.0\",  \"id\":7,\"result\":{}}";
    assert_eq!(event(&mut remote).await, message(one_line, Some(7)));
    // Whoever got an answer does not wait for this; whoever got none does.
    assert_eq!(failed(&event(&mut remote).await), (7, false));
}

#[tokio::test]
async fn connections_are_kept() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    for id in 0..200 {
        remote.push(Some(id), modern_call(id));
        fake.next().await.json(&answer(id)).await;
        assert_eq!(event(&mut remote).await, message(&answer(id), Some(id)));
        failed(&event(&mut remote).await);
    }
    let accepted = fake.accepted.load(Ordering::Relaxed);
    assert!(accepted <= 3, "{accepted} connections");
}

#[tokio::test]
async fn a_server_that_is_not_there_has_seen_nothing() {
    let fake = Fake::new().await;
    let settings = config::Remote::from(Place::Urls(vec![fake.url("/mcp")]));
    fake.die().await;
    let mut remote = open(&settings, 1000);
    remote.push(Some(1), modern_call(1));
    assert!(matches!(event(&mut remote).await, Event::Down { .. }));
    assert!(matches!(event(&mut remote).await, Event::Unsent { id: 1, .. }));
    assert!(matches!(
        event(&mut remote).await,
        Event::Gone { unreachable: true, .. }
    ));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_is_not_made_in_time_counts_as_none() {
    // The backlog of this listener is full: further connections get no answer.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(100), tokio::net::TcpStream::connect(address)).await
    {
        fillers.push(stream.unwrap());
    }
    let mut settings = config::Remote::from(Place::Urls(vec![format!("http://{address}/mcp")]));
    settings.connect_timeout = Duration::from_millis(50);
    let mut remote = open(&settings, 1000);
    remote.push(Some(1), modern_call(1));
    let Event::Down { why } = event(&mut remote).await else {
        panic!()
    };
    assert_eq!(why, "no connection within 0.1 s");
    assert!(matches!(event(&mut remote).await, Event::Unsent { id: 1, .. }));
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_told_so() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    fake.next().await.hang_up().await;
    fake.probed().await;
    assert_eq!(failed(&event(&mut remote).await), (1, true));
    for (id, status, again) in [
        (2, "500 Oops", true),
        (3, "502 Bad Gateway", true),
        (4, "202 Accepted", false),
    ] {
        remote.push(Some(id), modern_call(id));
        fake.next().await.reply(status, "", "").await;
        if again {
            fake.probed().await;
        }
        assert_eq!(failed(&event(&mut remote).await), (id, again), "{status}");
    }
    // The server lives, all the same.
    remote.push(Some(9), modern_call(9));
    fake.next().await.json(&answer(9)).await;
    assert_eq!(event(&mut remote).await, message(&answer(9), Some(9)));
}

#[tokio::test]
async fn after_a_break_the_server_is_probed_over_a_new_connection() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    remote.push(Some(2), modern_call(2));
    let (one, other) = (fake.next().await, fake.next().await);
    let id = if one.body.contains("\"id\":1") { 1 } else { 2 };
    one.json(&answer(id)).await;
    assert_eq!(event(&mut remote).await, message(&answer(id), Some(id)));
    failed(&event(&mut remote).await);
    // There is an unused connection now.
    other.hang_up().await;
    // A probe that breaks too says nothing yet.
    fake.next().await.hang_up().await;
    fake.probed().await;
    assert_eq!(failed(&event(&mut remote).await), (3 - id, true));
    assert_eq!(fake.accepted.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_probe_that_says_no_comes_before_the_end_of_the_call() {
    for (status, unreachable) in [("404 Not Found", false), ("502 Bad Gateway", true)] {
        let mut fake = Fake::new().await;
        let mut remote = legacy(&mut fake).await;
        failed(&event(&mut remote).await);
        remote.push(Some(1), call(1));
        fake.next().await.hang_up().await;
        let probe = fake.next().await;
        assert!(probe.body.contains("ping"), "{}", probe.body);
        probe.reply(status, "", "").await;
        assert!(matches!(event(&mut remote).await, Event::Down { .. }));
        assert_eq!(failed(&event(&mut remote).await), (1, true));
        let Event::Gone { unreachable: told, .. } = event(&mut remote).await else {
            panic!()
        };
        assert_eq!(told, unreachable, "{status}");
    }
}

#[tokio::test]
async fn a_server_that_breaks_every_connection_is_as_good_as_none() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    for _ in 0..5 {
        fake.next().await.hang_up().await;
    }
    let Event::Down { why } = event(&mut remote).await else {
        panic!()
    };
    assert_eq!(why, "it breaks every connection");
    assert_eq!(failed(&event(&mut remote).await), (1, true));
}

#[tokio::test]
async fn an_error_of_the_protocol_is_the_answer_whatever_the_status() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    for (id, status, said) in [
        (1, "404 Not Found", "1"),
        (2, "400 Bad Request", "null"),
        (3, "500 Oops", "3"),
    ] {
        remote.push(Some(id), modern_call(id));
        let error = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"x"}}}}"#);
        let asked = fake.next().await;
        asked
            .reply(status, "content-type: application/json\r\n", &error(said))
            .await;
        assert_eq!(event(&mut remote).await, message(&error(&id.to_string()), Some(id)));
        failed(&event(&mut remote).await);
    }
}

#[tokio::test]
async fn refused_credentials_are_told_without_the_servers_words() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    for (id, status) in [(1, "401 Unauthorized"), (2, "403 Forbidden")] {
        remote.push(Some(id), modern_call(id));
        let secret = answer(id)
            .replace("result", "error")
            .replace("{}", r#"{"code":1,"message":"secret"}"#);
        let headers = "www-authenticate: Bearer resource_metadata=\"secret\"\r\ncontent-type: application/json\r\n";
        fake.next().await.reply(status, headers, &secret).await;
        let told = event(&mut remote).await;
        let Event::Refused { why, .. } = &told else {
            panic!("{told:?}")
        };
        assert_eq!(
            *why,
            format!("it does not accept the router's credentials (HTTP {status})")
        );
    }
}

#[tokio::test]
async fn a_lost_session_ends_the_incarnation_and_the_call_was_not_sent() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    remote.push(Some(1), call(1));
    remote.push(Some(2), call(2));
    let (one, two) = (fake.next().await, fake.next().await);
    let (one, two) = if one.body.contains("\"id\":1") {
        (one, two)
    } else {
        (two, one)
    };
    one.reply("404 Not Found", "content-type: text/plain\r\n", "Not Found")
        .await;
    let Event::Down { why } = event(&mut remote).await else {
        panic!()
    };
    assert_eq!(why, "it no longer knows its session (HTTP 404 Not Found)");
    assert!(matches!(event(&mut remote).await, Event::Forgotten { id: 1, .. }));
    // What it already has may still be answered.
    two.json(&answer(2)).await;
    assert_eq!(event(&mut remote).await, message(&answer(2), Some(2)));
    failed(&event(&mut remote).await);
    assert!(matches!(
        event(&mut remote).await,
        Event::Gone { unreachable: false, .. }
    ));
}

#[tokio::test]
async fn a_modern_call_is_cancelled_by_leaving_and_a_legacy_one_by_a_word() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    let asked = fake.next().await;
    assert!(remote.take_back(1));
    asked.left().await;
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#.to_vec(),
    );
    remote.push(Some(2), modern_call(2));
    assert!(
        fake.next().await.body.contains("tools/call"),
        "nothing was posted about the other one"
    );

    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    remote.push(Some(1), call(1));
    let asked = fake.next().await;
    assert!(!remote.take_back(1), "it has to be told");
    asked.left().await;
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#.to_vec(),
    );
    assert!(fake.next().await.body.contains("cancelled"));
}

#[tokio::test]
async fn leaving_ends_the_session() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    remote.close();
    let (told, ()) = tokio::join!(event(&mut remote), async {
        let asked = fake.next().await;
        assert_eq!(
            (asked.line(), asked.header("mcp-session-id")),
            ("delete /mcp", Some("s1"))
        );
        asked.reply("200 OK", "", "").await;
    });
    assert!(matches!(told, Event::Gone { unreachable: false, .. }), "{told:?}");
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_origin_only() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    fake.next()
        .await
        .reply("307 Temporary Redirect", "location: /mcp/\r\n", "")
        .await;
    let asked = fake.next().await;
    assert_eq!(asked.line(), "post /mcp/");
    asked.json(&answer(1)).await;
    assert_eq!(event(&mut remote).await, message(&answer(1), Some(1)));
    failed(&event(&mut remote).await);
    let mut other = Fake::new().await;
    remote.push(Some(2), modern_call(2));
    let location = format!("location: {}\r\n", other.url("/mcp"));
    fake.next().await.reply("308 Permanent Redirect", &location, "").await;
    assert!(matches!(event(&mut remote).await, Event::Refused { id: 2, .. }));
    assert!(other.is_quiet() && other.accepted.load(Ordering::Relaxed) == 0);
    remote.push(Some(3), modern_call(3));
    for _ in 0..4 {
        fake.next()
            .await
            .reply("307 Temporary Redirect", "location: /mcp\r\n", "")
            .await;
    }
    assert!(matches!(event(&mut remote).await, Event::Refused { id: 3, .. }));
}

#[tokio::test]
async fn too_much_of_the_routers_own_stops_the_intake() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    for _ in 0..65 {
        remote.push(None, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec());
    }
    assert_eq!(remote.backlog(), usize::MAX);
}

#[tokio::test]
async fn a_handshake_that_is_broken_off_says_nothing_about_the_servers_health() {
    for status in [None, Some("503 Service Unavailable"), Some("502 Bad Gateway")] {
        let mut fake = Fake::new().await;
        let mut remote = fake.remote();
        remote.push(
            None,
            br#"{"jsonrpc":"2.0","id":"list-3","method":"tools/list"}"#.to_vec(),
        );
        let asked = fake.next().await;
        match status {
            None => asked.hang_up().await,
            Some(status) => asked.reply(status, "", "").await,
        }
        assert!(matches!(event(&mut remote).await, Event::Down { .. }), "{status:?}");
        let gone = event(&mut remote).await;
        assert!(matches!(gone, Event::Gone { unreachable: true, .. }), "{gone:?}");
    }
}
