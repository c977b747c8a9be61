//! The end of the router: what runs is answered, what waits is told, and no process stays behind.

use std::time::Instant;

use rustix::process::Pid;
use serde_json::json;

use crate::support::http::Event;
use crate::support::{Agent, Router, Switch, children, lives, until};

/// The processes below the router: its children and theirs.
fn family(router: &Router) -> Vec<Pid> {
    let mut all = children(router.pid());
    for at in 0.. {
        let Some(pid) = all.get(at).copied() else { break };
        all.extend(children(pid));
    }
    all
}

async fn assert_gone(family: &[Pid]) {
    assert!(!family.is_empty());
    for pid in family {
        until(&format!("the end of process {pid:?}"), || (!lives(*pid)).then_some(())).await;
    }
}

/// A backend with a grandchild.
fn config(flags: &str, stop: &str) -> String {
    format!(
        "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\", \"--spawn-grandchild\"{flags}]\n\
         [backends.work.stop]\n{stop}\n"
    )
}

#[tokio::test]
async fn sigterm_drains_and_leaves_no_process() {
    let mut router = Router::start(&config("", "")).await;
    router.ready("work").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let (mut of_legacy, mut of_modern) = (legacy.listen().await, modern.listen().await);
    let calls = [
        legacy.start(1, "slow", json!({ "ms": 700, "text": "one" })).await,
        legacy.start_told(2, "progress", json!({ "steps": 10, "ms": 70 })).await,
        modern.start(1, "slow", json!({ "ms": 700, "text": "three" })).await,
    ];
    router
        .backend_until("work", "calls in flight", |b| b["in_flight"] == 3)
        .await;
    let family = family(&router);
    assert!(family.len() >= 2, "{family:?}");
    router.terminate();
    let started = Instant::now();
    for (call, text) in calls.into_iter().zip(["one", "done after 10 steps", "three"]) {
        let outcome = call.outcome().await;
        assert_eq!(outcome.text(), Some(text), "{outcome:?}");
    }
    let status = router.ended().await;
    println!("drained and ended {:?} after the signal", started.elapsed());
    assert_eq!(status.code(), Some(0), "{}", router.log());
    assert_gone(&family).await;
    // The long streams ended properly, the modern one with its response.
    let last = of_modern.event().await.unwrap();
    assert!(
        matches!(&last, Some(Event::Message(m)) if m["id"] == "listen" && m["result"]["resultType"] == "complete"),
        "{last:?}"
    );
    assert_eq!(
        (of_modern.event().await.unwrap(), of_legacy.event().await.unwrap()),
        (None, None)
    );
}

/// What a server started goes with it, also where it was killed and could not see to it.
#[tokio::test]
async fn the_children_of_a_killed_server_go_with_it() {
    let router = Router::start(&config("", "")).await;
    for _ in 0..3 {
        router.ready("work").await;
        let old = family(&router);
        assert_eq!(old.len(), 2, "{old:?}");
        router.kill("work", 0).await;
        assert_gone(&old).await;
    }
}

#[tokio::test]
async fn a_signal_while_a_server_starts_ends_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(folder.path(), "work", "");
    switch.off();
    // A shell that does not read its input ends at SIGTERM.
    let config =
        "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\n[backends.work.stop]\neof = \"100ms\"\n";
    let mut router = Router::start_in(folder, config).await;
    let agent = Agent::legacy(&router.address).await;
    let call = agent.start(1, "read", json!({})).await;
    router.held("work", 1).await;
    let family = family(&router);
    router.terminate();
    until("the drain", || router.log().contains("draining").then_some(())).await;
    router.terminate();
    let outcome = call.outcome().await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7001, json!("not_sent")),
        "{outcome:?}"
    );
    assert_eq!(router.ended().await.code(), Some(0));
    assert_gone(&family).await;
}

#[tokio::test]
async fn a_second_signal_cuts_the_grace_and_calls_are_told() {
    let config = config("", "drain = \"10m\"\neof = \"10m\"\nterm = \"10m\"") + "[router]\ngrace = \"10m\"\n";
    let mut router = Router::start(&config).await;
    router.ready("work").await;
    let agent = Agent::legacy(&router.address).await;
    let call = agent.start(1, "hang", json!({})).await;
    router
        .backend_until("work", "a call in flight", |b| b["in_flight"] == 1)
        .await;
    let family = family(&router);
    router.terminate();
    until("the drain", || router.log().contains("draining").then_some(())).await;
    let started = Instant::now();
    router.terminate();
    let outcome = call.outcome().await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7004, json!("unknown")),
        "{outcome:?}"
    );
    let status = router.ended().await;
    println!("ended {:?} after the second signal", started.elapsed());
    assert_eq!(status.code(), Some(0));
    assert_gone(&family).await;
}

/// The grace is all the time that calls have; the time to drain is for restarts.
#[tokio::test]
async fn calls_in_flight_at_the_end_of_the_grace_are_told() {
    let config = config("", "drain = \"10m\"\neof = \"100ms\"\nterm = \"100ms\"") + "[router]\ngrace = \"500ms\"\n";
    let mut router = Router::start(&config).await;
    router.ready("work").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let calls = [
        legacy.start(1, "hang", json!({})).await,
        legacy.start_told(2, "hang", json!({})).await,
        modern.start(1, "hang", json!({})).await,
    ];
    router
        .backend_until("work", "calls in flight", |b| b["in_flight"] == 3)
        .await;
    let family = family(&router);
    router.terminate();
    let started = Instant::now();
    for call in calls {
        let outcome = call.outcome().await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7004, json!("unknown")),
            "{outcome:?}"
        );
    }
    assert_eq!(router.ended().await.code(), Some(0));
    println!("ended {:?} after the signal", started.elapsed());
    assert_gone(&family).await;
}

#[tokio::test]
async fn a_child_that_ignores_everything_is_gone_at_the_end_of_the_ladder() {
    let config = config(
        ", \"--ignore-eof\", \"--ignore-term\"",
        "drain = \"100ms\"\neof = \"100ms\"\nterm = \"100ms\"",
    );
    let mut router = Router::start(&config).await;
    router.ready("work").await;
    let family = family(&router);
    assert!(family.len() >= 2, "{family:?}");
    router.terminate();
    let started = Instant::now();
    let status = router.ended().await;
    println!("ended {:?} after the signal", started.elapsed());
    assert_eq!(status.code(), Some(0));
    assert_gone(&family).await;
}

#[tokio::test]
async fn a_call_that_is_still_held_at_the_end_of_the_grace_is_told_that_it_was_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(folder.path(), "work", "");
    let config = "[router]\ngrace = \"1s\"\n[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\n\
                  [backends.work.stop]\neof = \"100ms\"\nterm = \"100ms\"\n";
    let mut router = Router::start_in(folder, config).await;
    router.ready("work").await;
    switch.down(&router).await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let calls = [
        legacy.start(1, "read", json!({})).await,
        legacy.start_told(2, "read", json!({})).await,
        modern.start(1, "read", json!({})).await,
    ];
    router.held("work", 3).await;
    router
        .backend_until("work", "the next start", |b| b["targets"][0]["state"] == "starting")
        .await;
    let family = family(&router);
    router.terminate();
    for call in calls {
        let outcome = call.outcome().await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7001, json!("not_sent")),
            "{outcome:?}"
        );
    }
    assert_eq!(router.ended().await.code(), Some(0));
    assert_gone(&family).await;
}
