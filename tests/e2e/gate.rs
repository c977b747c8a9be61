//! The gate from outside: its bounds, its deadline, and calls that are taken back while they are held.

use serde_json::json;

use crate::support::{Agent, Router, Switch, count};

/// One backend `work` behind a switch, with these settings of its gate, down.
async fn closed(gate: &str) -> (Router, Switch) {
    let folder = tempfile::tempdir().unwrap();
    let flags = format!("--file {0}/file --order-log {0}/order", folder.path().display());
    let switch = Switch::new(folder.path(), "work", &flags);
    let config = format!(
        "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nstable-after = \"0s\"\n[backends.work.gate]\n{gate}"
    );
    let router = Router::start_in(folder, &config).await;
    router.ready("work").await;
    switch.down(&router).await;
    (router, switch)
}

fn id(id: &str) -> serde_json::Value {
    json!({ "id": id })
}

#[tokio::test]
async fn a_full_gate_says_which_bound_was_met_and_sends_nothing() {
    let (router, switch) = closed("capacity = 4\nagent-capacity = 3\n").await;
    let (a, b) = (
        Agent::legacy(&router.address).await,
        Agent::legacy(&router.address).await,
    );
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(a.start(n, "append", id(&format!("a{n}"))).await);
        router.held("work", n + 1).await;
    }
    let full = a.start(3, "append", id("a3")).await.outcome().await;
    assert_eq!((full.code(), full.status), (7002, 200), "{full:?}");
    assert_eq!(
        (full.data("bound"), full.data("delivery")),
        (json!("agent-count"), json!("not_sent"))
    );
    held.push(b.start(0, "append", id("b0")).await);
    router.held("work", 4).await;
    let full = Agent::modern(&router.address).call("append", id("c0")).await;
    assert_eq!((full.code(), full.data("bound")), (7002, json!("count")), "{full:?}");
    switch.on();
    for call in held {
        let outcome = call.outcome().await;
        assert!(outcome.text().is_some(), "{outcome:?}");
    }
    let mut file = router.lines("file");
    file.sort();
    assert_eq!(file, ["a0", "a1", "a2", "b0"]);
}

#[tokio::test]
async fn a_gate_full_by_bytes_says_so_too() {
    let (router, switch) = closed("bytes = \"4KiB\"\nagent-bytes = \"2KiB\"\n").await;
    let (a, b) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let large = |id: &str, bytes: usize| json!({ "id": id, "pad": "x".repeat(bytes) });
    let mut held = vec![a.start(1, "append", large("a1", 1500)).await];
    router.held("work", 1).await;
    let full = a.start(2, "append", large("a2", 1500)).await.outcome().await;
    assert_eq!(
        (full.code(), full.data("bound")),
        (7002, json!("agent-bytes")),
        "{full:?}"
    );
    held.push(b.start(1, "append", large("b1", 1500)).await);
    router.held("work", 2).await;
    let full = b.start(2, "append", large("b2", 1500)).await.outcome().await;
    assert_eq!((full.code(), full.data("bound")), (7002, json!("bytes")), "{full:?}");
    // What is small still fits.
    held.push(a.start(3, "append", id("a3")).await);
    let backend = router
        .backend_until("work", "three held calls", |b| b["held"] == 3)
        .await;
    assert!(backend["held_bytes"].as_u64().unwrap() > 3000, "{backend}");
    switch.on();
    for call in held {
        assert!(call.outcome().await.text().is_some());
    }
    let mut file = router.lines("file");
    file.sort();
    assert_eq!(file, ["a1", "a3", "b1"]);
    assert_eq!(router.backend("work")["held_bytes"], 0);
}

#[tokio::test]
async fn a_call_that_waited_long_enough_ends_and_is_never_sent() {
    let (router, switch) = closed("wait = \"300ms\"\n").await;
    for agent in [Agent::legacy(&router.address).await, Agent::modern(&router.address)] {
        let late = agent.call("append", id("late")).await;
        assert_eq!(
            (late.code(), late.data("delivery")),
            (7003, json!("not_sent")),
            "{late:?}"
        );
        println!("held for {} ms of 300", late.data("waited_ms"));
        assert!(late.data("waited_ms").as_u64().unwrap() >= 300);
    }
    router.held("work", 0).await;
    switch.on();
    router.ready("work").await;
    assert!(
        Agent::modern(&router.address)
            .call("append", id("next"))
            .await
            .text()
            .is_some()
    );
    assert_eq!(router.lines("order"), ["next"]);
}

#[tokio::test]
async fn a_held_call_is_taken_back_by_a_notification_or_by_a_modern_disconnect() {
    let (router, switch) = closed("").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let first = legacy.start(1, "append", id("first")).await;
    router.held("work", 1).await;
    let second = legacy.start("two", "append", id("second")).await;
    router.held("work", 2).await;
    let third = legacy.start(3, "append", id("third")).await;
    router.held("work", 3).await;
    let (gone, stays) = (
        modern.start(1, "append", id("gone")).await,
        modern.start(1, "append", id("stays")).await,
    );
    router.held("work", 5).await;

    legacy.cancel("two").await;
    let cancelled = second.outcome().await;
    assert_eq!(
        (cancelled.code(), cancelled.data("delivery")),
        (7011, json!("not_sent")),
        "{cancelled:?}"
    );
    router.held("work", 4).await;
    gone.disconnect();
    router.held("work", 3).await;
    let mut streaming = modern.start_told(1, "append", id("streaming")).await;
    assert!(streaming.first_note().await.is_none(), "it is held");
    router.held("work", 4).await;
    streaming.disconnect();
    router.held("work", 3).await;
    // The id is free again.
    let again = legacy.start("two", "append", id("again")).await;
    router.held("work", 4).await;

    switch.on();
    for call in [first, third, stays, again] {
        let outcome = call.outcome().await;
        assert!(outcome.text().is_some(), "{outcome:?}");
    }
    let order = router.lines("order");
    let of_legacy: Vec<&String> = order.iter().filter(|l| *l != "stays").collect();
    assert_eq!(of_legacy, ["first", "third", "again"]);
    assert_eq!(order.len(), 4);
}

#[tokio::test]
async fn each_agent_cancels_only_its_own_call_of_the_same_id() {
    let agents = count(20, 100);
    let (router, switch) = closed("").await;
    let mut calls = Vec::new();
    for n in 0..agents {
        let agent = Agent::legacy(&router.address).await;
        let call = agent.start(7, "append", id(&format!("{n}"))).await;
        calls.push((n, agent, call));
    }
    router.held("work", agents).await;
    // Ids that are alike, and ids that are only written alike.
    for (n, agent, _) in &calls {
        agent.cancel(if n % 2 == 0 { json!(7) } else { json!("7") }).await;
    }
    router.held("work", agents / 2).await;
    let (taken_back, others): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(n, ..)| n % 2 == 0);
    for (_, _, call) in taken_back {
        assert_eq!(call.outcome().await.code(), 7011);
    }
    assert_eq!(router.backend("work")["held"], agents / 2);
    switch.on();
    let mut expected = Vec::new();
    for (n, _, call) in others {
        assert_eq!(call.outcome().await.text(), Some(format!("appended {n}").as_str()));
        expected.push(n.to_string());
    }
    let mut file = router.lines("file");
    file.sort();
    expected.sort();
    assert_eq!(file, expected);
}

#[tokio::test]
async fn a_legacy_disconnect_takes_nothing_back() {
    let (router, switch) = closed("").await;
    let agent = Agent::legacy(&router.address).await;
    let early = agent.start(1, "append", id("early")).await;
    router.held("work", 1).await;
    let late = agent.start(2, "append", id("late")).await;
    router.held("work", 2).await;
    // One before its reply began, one on its event stream.
    early.disconnect();
    let mut told = agent.start_told(3, "append", id("told")).await;
    assert!(told.first_note().await.is_none(), "it is held");
    told.disconnect();
    // The router had time to see it.
    assert_eq!(
        agent.start(1, "append", id("x")).await.outcome().await.code(),
        -32602,
        "1 is still running"
    );
    assert_eq!(router.backend("work")["held"], 3);
    switch.on();
    assert!(late.outcome().await.text().is_some());
    router
        .backend_until("work", "an idle backend", |b| b["held"] == 0 && b["in_flight"] == 0)
        .await;
    assert_eq!(router.lines("order"), ["early", "late", "told"]);
    assert_eq!(router.lines("file").len(), 3);
}
