//! Deaths at awkward moments: with half of the calls in the pipe, under a changed configuration, by a call itself.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Agent, Router, Switch, count};

/// A frozen child takes what its pipe holds and no more: what lies behind that was never sent, and goes again.
#[tokio::test]
async fn what_did_not_fit_into_the_pipe_of_the_dead_was_not_sent() {
    let config = "[backends.work]\ncommand = \"@program\"\nstable-after = \"1ms\"\n\
                  args = [\"demo-server\", \"--file\", \"@dir/file\", \"--order-log\", \"@dir/order\"]\n";
    let router = Router::start(config).await;
    let agent = Agent::legacy(&router.address).await;
    for round in 0..count(2, 10) {
        router.ready("work").await;
        router.signal("work", 0, Signal::STOP);
        let mut calls = BTreeMap::new();
        for n in 0..20 {
            let id = format!("{round}-{n:02}");
            let arguments = json!({ "id": id, "pad": "x".repeat(20_000) });
            calls.insert(id, agent.start(n, "append", arguments).await);
            router
                .backend_until("work", "the call in flight", |b| b["in_flight"] == n + 1)
                .await;
        }
        router.kill("work", 0).await;
        let (mut lost, mut done) = (Vec::new(), Vec::new());
        for (id, call) in calls {
            let outcome = call.outcome().await;
            match outcome.code() {
                0 => done.push(id),
                7004 => lost.push(id),
                _ => panic!("{id}: {outcome:?}"),
            }
        }
        println!(
            "{} went into the pipe and were lost, {} went to the next incarnation",
            lost.len(),
            done.len()
        );
        assert!(!done.is_empty());
        // The pipe was filled in order, and what goes again keeps it.
        assert!(lost.last() < done.first(), "{lost:?} {done:?}");
        let written: Vec<String> = router
            .lines("file")
            .into_iter()
            .filter(|id| id.starts_with(&format!("{round}-")))
            .collect();
        assert_eq!(written, done);
    }
}

#[tokio::test]
async fn a_call_that_kills_its_server_is_told_so_and_the_others_go_on() {
    let config =
        "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\nstable-after = \"0s\"\ntrusted = true\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let (a, b) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    for n in 1..=count(3, 20) {
        let slow = b.start(1, "slow", json!({ "ms": 5_000 })).await;
        router
            .backend_until("work", "a call in flight", |b| b["in_flight"] == 1)
            .await;
        let crashed = a.call("crash", json!({})).await;
        assert_eq!(
            (crashed.code(), crashed.data("incarnation")),
            (7004, json!(n)),
            "{crashed:?}"
        );
        let slow = slow.outcome().await;
        assert_eq!(slow.code(), 7004, "slow says nothing about repeating it: {slow:?}");
        assert!(a.call("read", json!({})).await.text().is_some());
    }
}

/// One agent with many held calls does not keep another one waiting for all of them.
#[tokio::test]
async fn an_agent_with_one_held_call_need_not_wait_for_one_with_many() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(
        folder.path(),
        "work",
        &format!("--order-log {}/order", folder.path().display()),
    );
    let config = "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nmax-in-flight = 1\n";
    let router = Router::start_in(folder, config).await;
    router.ready("work").await;
    switch.down(&router).await;
    let (greedy, modest) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let mut calls = Vec::new();
    for n in 0..30 {
        calls.push(greedy.start(n, "read", json!({ "id": format!("g{n:02}") })).await);
        router.held("work", calls.len()).await;
    }
    calls.push(modest.start(1, "read", json!({ "id": "modest" })).await);
    router.held("work", 31).await;
    switch.on();
    for call in calls {
        assert!(call.outcome().await.text().is_some());
    }
    let order = router.lines("order");
    let at = order.iter().position(|id| id == "modest");
    println!("the modest agent's call went as number {at:?} of {}", order.len());
    assert!(at < Some(3), "{order:?}");
    let greedys: Vec<&String> = order.iter().filter(|id| *id != "modest").collect();
    assert!(greedys.is_sorted() && greedys.len() == 30, "{order:?}");
}

/// The calls of a batch arrive in its order, are held in it and go in it; one of them can be taken back.
#[tokio::test]
async fn a_batch_keeps_its_order_while_it_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(
        folder.path(),
        "work",
        &format!("--file {}/file", folder.path().display()),
    );
    let config = "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\n";
    let router = Router::start_in(folder, config).await;
    router.ready("work").await;
    switch.down(&router).await;
    let agent = Agent::legacy_of(&router.address, "2025-03-26").await;
    let call = |n: usize| {
        json!({ "jsonrpc": "2.0", "id": n, "method": "tools/call",
                "params": { "name": "append", "arguments": { "id": format!("{n:02}") } } })
    };
    let messages: Vec<_> = (0..30).map(call).collect();
    let batch = tokio::spawn({
        let agent = agent.clone();
        async move { agent.batch(&messages).await }
    });
    router.held("work", 30).await;
    agent.cancel(7).await;
    router.held("work", 29).await;
    switch.on();
    let responses = batch.await.unwrap();
    assert_eq!(responses.len(), 30);
    for response in &responses {
        let taken_back = response["id"] == 7;
        assert_eq!(response["error"]["code"] == 7011, taken_back, "{response}");
        assert_eq!(response.get("result").is_none(), taken_back, "{response}");
    }
    let expected: Vec<String> = (0..30).filter(|n| *n != 7).map(|n| format!("{n:02}")).collect();
    assert_eq!(router.lines("file"), expected);
}

#[tokio::test]
async fn a_changed_command_drains_and_a_removed_backend_says_so() {
    let config = "[backends.other]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n[endpoints.default]\nnames = \"plain\"\nbackends = [\"work\"]\n\
                  [backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\", \"--name\", \"one\", \"--start-delay\", \"200\"]\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let (agent, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    // In flight at the old one, held for the new one.
    let slow = agent.start(1, "slow", json!({ "ms": 300, "text": "x" })).await;
    router
        .backend_until("work", "a call in flight", |b| b["in_flight"] == 1)
        .await;
    let other = config.replace("\"one\"", "\"two\"");
    router.configure(&other);
    router
        .backend_until("work", "the restart", |b| b["targets"][0]["state"] != "ready")
        .await;
    let held = modern.start(1, "read", json!({})).await;
    assert_eq!(slow.outcome().await.text(), Some("x"));
    assert!(held.outcome().await.text().is_some());
    assert_eq!(router.ready("work").await["targets"][0]["incarnation"], 2);

    // Held when its backend goes away, and in flight.
    let in_flight = agent.start(2, "slow", json!({ "ms": 300, "text": "last" })).await;
    router
        .backend_until("work", "a call in flight", |b| b["in_flight"] == 1)
        .await;
    let before = router.status()["applied"].as_u64();
    router.configure(
        other
            .replace("backends = [\"work\"]\n", "backends = [\"other\"]\n")
            .split("[backends.work]")
            .next()
            .unwrap(),
    );
    crate::support::until("the new configuration", || {
        (router.status()["applied"].as_u64() > before).then_some(())
    })
    .await;
    assert_eq!(
        in_flight.outcome().await.text(),
        Some("last"),
        "a removed backend drains"
    );
    assert!(
        agent.call("read", json!({})).await.text().is_some(),
        "the session goes on with the other one"
    );
    assert_eq!(router.status()["backends"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_held_for_a_backend_that_is_removed_is_told_that_it_was_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(folder.path(), "work", "");
    let other = "[backends.other]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n";
    let config = format!("{other}[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\n");
    let router = Router::start_in(folder, &config).await;
    router.ready("work").await;
    switch.down(&router).await;
    let (agent, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let calls = [
        agent.start_told(1, "work__read", json!({})).await,
        modern.start(1, "work__read", json!({})).await,
    ];
    router.held("work", 2).await;
    router.configure(other);
    for call in calls {
        let outcome = call.outcome().await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7001, json!("not_sent")),
            "{outcome:?}"
        );
    }
    // Alone now, the other one shows its names as they are.
    crate::support::until_async("the other names", async || {
        agent.tools().await.contains(&"read".to_owned()).then_some(())
    })
    .await;
    assert!(agent.call("read", json!({})).await.text().is_some());
}
