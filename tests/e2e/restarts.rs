//! Restarts on purpose and replicas: with somebody left to take the calls, or time to drain, none fails.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::json;

use crate::kills::{Done, load, report};
use crate::support::{Agent, PROGRAM, Router, Switch, count};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_replicas_a_killed_one_is_not_noticed() {
    let config = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\nreplicas = 2\ntrusted = true\n\
                  stable-after = \"1ms\"\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&router, "read", Arc::clone(&stop)).await;
    let kills = count(6, 20);
    for n in 0..kills {
        let answering = |b: &serde_json::Value| {
            b["targets"]
                .as_array()
                .unwrap()
                .iter()
                .all(|t| t["answered"].as_u64() > Some(5))
        };
        router
            .backend_until("work", "two replicas that answer", answering)
            .await;
        router.kill("work", n % 2).await;
    }
    router.ready("work").await;
    stop.store(true, Relaxed);
    let done: BTreeMap<String, Done> = load.join_all().await.into_iter().flatten().collect();
    report("two replicas", kills, &done);
    for (id, call) in &done {
        assert!(call.outcome.text().is_some(), "{id}: {:?}", call.outcome);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_drains_and_fails_nothing() {
    let config = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\", \"--file\", \"@dir/file\"]\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&router, "append", Arc::clone(&stop)).await;
    let restarts = count(3, 10);
    let agent = Agent::legacy(&router.address).await;
    for n in 0..restarts {
        // One that is in flight when the restart is asked for, and needs the drain.
        let slow = agent.start(n, "slow", json!({ "ms": 200, "text": "x" })).await;
        router
            .backend_until("work", "a slow call in flight", |b| b["in_flight"].as_u64() >= Some(1))
            .await;
        let asked = Command::new(PROGRAM)
            .args(["restart", "work", "--socket"])
            .arg(router.path().join("admin.sock"))
            .output()
            .unwrap();
        assert!(asked.status.success(), "{asked:?}");
        let incarnation = n + 2;
        router
            .backend_until("work", "the next incarnation", |b| {
                b["targets"][0]["incarnation"] == incarnation && b["targets"][0]["answered"].as_u64() > Some(5)
            })
            .await;
        assert_eq!(slow.outcome().await.text(), Some("x"));
    }
    stop.store(true, Relaxed);
    let done: BTreeMap<String, Done> = load.join_all().await.into_iter().flatten().collect();
    report("restarts of append", restarts, &done);
    for (id, call) in &done {
        assert!(call.outcome.text().is_some(), "{id}: {:?}", call.outcome);
    }
    let mut file = router.lines("file");
    file.sort();
    let expected: Vec<String> = done.into_keys().collect();
    assert_eq!(file, expected, "each exactly once");
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_and_its_server_is_told() {
    // What goes to the server is kept.
    let config = "[backends.work]\ncommand = \"/bin/sh\"\n\
                  args = [\"-c\", \"tee -a @dir/input | @program demo-server\"]\ncall-timeout = \"300ms\"\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    for agent in [Agent::legacy(&router.address).await, Agent::modern(&router.address)] {
        let before = cancellations(&router).len();
        let hung = agent.call("hang", json!({})).await;
        assert_eq!(
            (hung.code(), hung.data("delivery")),
            (7004, json!("unknown")),
            "{hung:?}"
        );
        crate::support::until("the cancellation", || {
            (cancellations(&router).len() == before + 1).then_some(())
        })
        .await;
        router
            .backend_until("work", "nothing in flight", |b| b["in_flight"] == 0)
            .await;
        assert!(
            agent.call("read", json!({})).await.text().is_some(),
            "the server goes on"
        );
    }
    let calls: Vec<serde_json::Value> = parsed(&router).filter(|m| m["params"]["name"] == "hang").collect();
    for (call, cancelled) in calls.iter().zip(cancellations(&router)) {
        assert_eq!(call["id"], cancelled["params"]["requestId"]);
    }
    assert_eq!(router.backend("work")["targets"][0]["incarnation"], 1);
}

/// An agent that takes back a call in flight: the server is told of that as well, and of no other call.
#[tokio::test]
async fn a_call_in_flight_that_is_taken_back_is_cancelled_at_its_server() {
    let config = "[backends.work]\ncommand = \"/bin/sh\"\n\
                  args = [\"-c\", \"tee -a @dir/input | @program demo-server\"]\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let mut calls = Vec::new();
    for _ in 0..3 {
        let agent = Agent::legacy(&router.address).await;
        calls.push(agent.start(1, "slow", json!({ "ms": 400, "text": "x" })).await);
    }
    let taken_back = legacy.start(1, "hang", json!({})).await;
    let dropped = modern.start(1, "hang", json!({})).await;
    router
        .backend_until("work", "calls in flight", |b| b["in_flight"] == 5)
        .await;
    legacy.cancel(1).await;
    let outcome = taken_back.outcome().await;
    assert_eq!(outcome.code(), 7011, "{outcome:?}");
    assert_eq!(outcome.data("delivery"), "unknown", "{outcome:?}");
    dropped.disconnect();
    crate::support::until("two cancellations", || {
        (cancellations(&router).len() == 2).then_some(())
    })
    .await;
    for call in calls {
        assert_eq!(call.outcome().await.text(), Some("x"));
    }
    assert_eq!(cancellations(&router).len(), 2);
}

fn parsed(router: &Router) -> impl Iterator<Item = serde_json::Value> {
    router
        .lines("input")
        .into_iter()
        .filter_map(|line| serde_json::from_str(&line).ok())
}

fn cancellations(router: &Router) -> Vec<serde_json::Value> {
    parsed(router)
        .filter(|m| m["method"] == "notifications/cancelled")
        .collect()
}

#[tokio::test]
async fn calls_that_meant_a_lost_state_fail_and_new_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(
        folder.path(),
        "work",
        &format!("--file {}/file", folder.path().display()),
    );
    switch.off();
    let config = "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nstate = \"volatile\"\ntrusted = true\n\
                  stable-after = \"0s\"\n[router]\nlist-wait = \"0s\"\n";
    let router = Router::start_in(folder, config).await;
    let agents = [Agent::legacy(&router.address).await, Agent::modern(&router.address)];
    // Before the first start there is no state to lose.
    let mut first = Vec::new();
    for agent in &agents {
        first.push(agent.start(1, "append", json!({ "id": "first" })).await);
    }
    router.held("work", 2).await;
    switch.on();
    for call in first {
        let outcome = call.outcome().await;
        assert!(outcome.text().is_some(), "{outcome:?}");
    }
    let in_flight = agents[0].start(2, "hang", json!({})).await;
    router
        .backend_until("work", "a call in flight", |b| b["in_flight"] == 1)
        .await;
    switch.down(&router).await;
    assert_eq!(in_flight.outcome().await.code(), 7004);
    let mut held = Vec::new();
    for agent in &agents {
        held.push(agent.start(3, "append", json!({ "id": "second" })).await);
    }
    router.held("work", 2).await;
    switch.on();
    for call in held {
        let outcome = call.outcome().await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7006, json!("not_sent")),
            "{outcome:?}"
        );
    }
    router.ready("work").await;
    for agent in &agents {
        assert!(agent.call("append", json!({ "id": "third" })).await.text().is_some());
    }
    assert_eq!(router.lines("file"), ["first", "first", "third", "third"]);
}

/// A call that never ends holds a restart up for as long as the drain may take, and no longer.
#[tokio::test]
async fn a_restart_waits_for_a_call_that_hangs_only_so_long() {
    let config = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\", \"--ignore-eof\", \"--ignore-term\"]\n\
                  [backends.work.stop]\ndrain = \"300ms\"\neof = \"50ms\"\nterm = \"50ms\"\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let hung = legacy.start(1, "hang", json!({})).await;
    router
        .backend_until("work", "a call in flight", |b| b["in_flight"] == 1)
        .await;
    // Asked for several times: one restart all the same.
    for _ in 0..3 {
        router.ask(&json!({ "command": "restart", "backend": "work" }));
    }
    router
        .backend_until("work", "a drain", |b| b["targets"][0]["state"] == "stopping")
        .await;
    let held = modern.start(1, "read", json!({})).await;
    router.held("work", 1).await;
    let outcome = hung.outcome().await;
    assert_eq!(
        (outcome.code(), outcome.data("incarnation")),
        (7004, json!(1)),
        "{outcome:?}"
    );
    println!("{}", outcome.body.unwrap_err()["message"]);
    assert!(held.outcome().await.text().is_some());
    let target = router.ready("work").await["targets"][0].clone();
    assert_eq!(
        (&target["incarnation"], &target["restarts"]),
        (&json!(2), &json!(1)),
        "{target}"
    );
}
