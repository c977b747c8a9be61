//! Guests that misbehave: each ends as `on-fault` says, within its bounds, and harms nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman::config::Plugin;
use pointsman::policy::{FaultKind, Policy, RouteChoice, Selection};
use pointsman::wire::RawJson;
use serde_json::{Value, json};

use super::support::*;

/// Orders that end as a fault, and as which.
fn misdeeds() -> Vec<(Value, FaultKind, &'static str)> {
    vec![
        (json!({ "do": "loop" }), FaultKind::Cpu, "CPU"),
        (json!({ "do": "panic" }), FaultKind::Trap, "unreachable"),
        (json!({ "do": "alloc" }), FaultKind::Trap, "memory"),
        (json!({ "do": "recurse" }), FaultKind::Trap, "stack"),
        (json!({ "do": "beyond" }), FaultKind::Trap, "position 2"),
        (json!({ "do": "error" }), FaultKind::Error, "guest a gave up"),
        (
            json!({ "do": "big", "number": 100_000_000 }),
            FaultKind::Output,
            "output limit",
        ),
        (
            json!({ "do": "narrow", "number": 2 }),
            FaultKind::Output,
            "position 2 of 2",
        ),
        (json!({ "do": "narrow-to-none" }), FaultKind::Output, "no candidate"),
        (
            json!({ "do": "answer", "text": "[]" }),
            FaultKind::Output,
            "no JSON object",
        ),
        (
            json!({ "do": "answer", "text": "{" }),
            FaultKind::Output,
            "no JSON object",
        ),
        (
            json!({ "do": "answer", "text": "{\"a\":1,\"a\":2}" }),
            FaultKind::Output,
            "duplicate",
        ),
    ]
}

/// Memory for the guest that returns 100 MB; the others need less.
fn roomy(plugin: Plugin) -> Plugin {
    Plugin {
        memory: 120 << 20,
        cpu: Duration::from_millis(200),
        ..plugin
    }
}

fn count(choice: &RouteChoice) -> u64 {
    match choice {
        RouteChoice::Answer(json) => serde_json::from_str::<Value>(json.as_str()).unwrap()["count"]
            .as_u64()
            .unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_misdeed_ends_as_on_fault_says_and_the_next_call_gets_a_fresh_store() {
    let host = host();
    let open = generation(&host, &[("open", open(roomy(guest(json!({})))))])
        .await
        .unwrap();
    let closed = generation(&host, &[("closed", closed(roomy(guest(json!({})))))])
        .await
        .unwrap();
    for (orders, kind, word) in misdeeds() {
        let began = Instant::now();
        let fault = closed
            .route(&order(orders.clone()), candidates(&["a", "b"]))
            .await
            .unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(4), "{orders}");
        assert_eq!(fault.kind, kind, "{orders}: {fault}");
        assert!(fault.message.contains(word), "{orders}: {fault}");
        assert_eq!(&*fault.plugin, "closed");
        let choice = open
            .route(&order(orders.clone()), candidates(&["a", "b"]))
            .await
            .unwrap();
        assert_eq!(choice, RouteChoice::Among(vec![0, 1]), "{orders}");

        let counting = order(json!({ "do": "count" }));
        for generation in [&open, &closed] {
            let first = generation.route(&counting, candidates(&[])).await.unwrap();
            let second = generation.route(&counting, candidates(&[])).await.unwrap();
            assert_eq!(
                (count(&first), count(&second)),
                (1, 2),
                "{orders}: a store saw a fault and was used again"
            );
        }
    }
    let status = closed.status();
    assert_eq!(status[0].faults, misdeeds().len() as u64);
    assert!(status[0].last_error.as_ref().unwrap().contains("duplicate"));
}

#[tokio::test]
async fn faults_of_the_other_hooks_end_the_same_way() {
    let host = host();
    let strict = generation(
        &host,
        &[("strict", closed(guest(json!({})))), ("s2", closed(guest(json!({}))))],
    )
    .await
    .unwrap();
    let forgiving = generation(&host, &[("forgiving", open(guest(json!({}))))])
        .await
        .unwrap();
    let body = || RawJson::from(r#"{"a":1}"#.to_owned());
    for orders in [json!({ "do": "panic" }), json!({ "do": "error" })] {
        let call = order(orders);
        assert!(strict.select(&call, targets(&[1])).await.is_err());
        assert!(strict.transform_request(&call, "work").await.is_err());
        assert!(strict.transform_response(&call, "work", body(), false).await.is_err());
        assert_eq!(forgiving.select(&call, targets(&[1])).await.unwrap(), Selection::Any);
        assert_eq!(forgiving.transform_request(&call, "work").await.unwrap(), None);
        assert_eq!(
            forgiving
                .transform_response(&call, "work", body(), false)
                .await
                .unwrap(),
            None
        );
    }
    let beyond = order(json!({ "do": "pick", "number": 1 }));
    assert_eq!(
        strict.select(&beyond, targets(&[1])).await.unwrap_err().kind,
        FaultKind::Output
    );
}

#[tokio::test]
async fn by_default_select_fails_open_and_all_else_closed() {
    let generation = alone(guest(json!({}))).await;
    let call = order(json!({ "do": "panic" }));
    let body = RawJson::from("{}".to_owned());
    assert_eq!(generation.select(&call, targets(&[1])).await.unwrap(), Selection::Any);
    assert!(generation.route(&call, candidates(&["a"])).await.is_err());
    assert!(generation.transform_request(&call, "work").await.is_err());
    assert!(generation.transform_response(&call, "work", body, false).await.is_err());
}

#[tokio::test]
async fn edits_that_may_not_be_are_output_faults() {
    let generation = alone(closed(guest(json!({})))).await;
    for (word, text) in [
        ("set", "/name"),
        ("set", "/_meta/x"),
        ("remove", "/_meta"),
        ("set", "/na~me 1"),
        ("set", " {}"),
        ("set", "/nowhere/at/all"),
        ("set", "/arguments {"),
        ("remove", "/nothing"),
    ] {
        let orders = json!({ "do": word, "text": text });
        let call = call(&json!({ "name": "n", "arguments": {}, "_meta": { "test": orders } }).to_string());
        let outcome = generation.transform_request(&call, "work").await;
        if text.starts_with("/na~me") {
            // No such member, so it is added; it only looks like the name.
            assert!(outcome.unwrap().unwrap().as_str().contains(r#""na~me":1"#));
            continue;
        }
        assert_eq!(outcome.unwrap_err().kind, FaultKind::Output, "{word} {text}");
    }
    let whole = order(json!({ "do": "set", "text": " 7" }));
    let body = RawJson::from(r#"{"a":1}"#.to_owned());
    let fault = generation
        .transform_response(&whole, "work", body, false)
        .await
        .unwrap_err();
    assert!(fault.message.contains("no JSON object"), "{fault}");
}

#[tokio::test]
async fn a_looping_guest_does_not_pin_the_runtime() {
    let plugin = Plugin {
        cpu: Duration::from_millis(150),
        ..closed(guest(json!({})))
    };
    let generation = alone(plugin).await;
    let ticks = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let theirs = Arc::clone(&ticks);
    let other = tokio::spawn(async move {
        loop {
            theirs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let fault = generation
        .route(&order(json!({ "do": "loop" })), candidates(&[]))
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Cpu);
    // One thread, and yet the other task had about a turn per tick.
    let turns = ticks.load(std::sync::atomic::Ordering::Relaxed);
    assert!(turns >= 50, "{turns}");
    other.abort();
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_the_store_with_it() {
    let plugin = Plugin {
        instances: 1,
        cpu: Duration::from_secs(60),
        ..closed(guest(json!({})))
    };
    let generation = alone(plugin).await;
    let counting = order(json!({ "do": "count" }));
    assert_eq!(count(&generation.route(&counting, candidates(&[])).await.unwrap()), 1);
    let looping = order(json!({ "do": "loop" }));
    let gone = tokio::time::timeout(Duration::from_millis(20), generation.route(&looping, candidates(&[]))).await;
    assert!(gone.is_err());
    assert_eq!(count(&generation.route(&counting, candidates(&[])).await.unwrap()), 1);
    assert_eq!(generation.status()[0].faults, 0);
}

#[tokio::test]
async fn keys_that_stand_twice_matter_only_to_those_who_read() {
    let host = host();
    let generation = generation(&host, &[("g", open(guest(json!({}))))]).await.unwrap();
    let twice = |orders: Value| {
        call(&format!(
            r#"{{"_meta":{{"test":{orders}}},"arguments":{{"k":1,"k":2}}}}"#
        ))
    };
    let among = || candidates(&["a"]);
    let choice = generation
        .route(&twice(json!({ "do": "next" })), among())
        .await
        .unwrap();
    assert_eq!(choice, RouteChoice::Among(vec![0]));
    for word in ["read", "read-strict"] {
        let reading = twice(json!({ "do": word, "text": "/arguments/k" }));
        let fault = generation.route(&reading, among()).await.unwrap_err();
        assert_eq!(
            fault.kind,
            FaultKind::Params,
            "{word}: even a guest that ignores it, even where faults are forgiven"
        );
    }
    let meta = call(r#"{"_meta":{"test":{},"test":{}}}"#);
    assert_eq!(
        generation.route(&meta, among()).await.unwrap_err().kind,
        FaultKind::Params
    );
    assert_eq!(
        generation.status()[0].faults,
        0,
        "an agent's mistake is not the plugin's"
    );
}

#[tokio::test]
async fn events_that_a_fault_swallowed_count_as_missed() {
    let lines = Lines::default();
    let _guard = lines.catch();
    let generation = alone(guest(json!({ "do": "panic-at", "text": "\"bad\"" }))).await;
    let happens = |state| generation.tell(pointsman::policy::Event::target("work", 0, 1, state), None);
    happens("bad");
    while generation.status()[0].faults == 0 {
        tokio::task::yield_now().await;
    }
    happens("good");
    while !lines.text().contains("heard") {
        tokio::task::yield_now().await;
    }
    let text = lines.text();
    assert!(text.contains("heard 1 target") && text.contains("good"), "{text}");
}
