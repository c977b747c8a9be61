//! Tool lists: those of a backend that is down, and who hears of a change.

use std::time::Duration;

use serde_json::json;

use crate::support::http::{Event, Http};
use crate::support::{Agent, Router, Switch, in_time, until_async};

/// Waits for a change to be told.
async fn told(stream: &mut Http) {
    loop {
        match in_time("list_changed", stream.event()).await.unwrap() {
            Some(Event::Message(message)) => {
                assert_eq!(message["method"], "notifications/tools/list_changed");
                return;
            }
            Some(Event::Comment(_)) => {}
            None => panic!("the stream ended"),
        }
    }
}

/// Nothing may come; what would is on its way within this time on any machine that is not asleep.
async fn quiet(stream: &mut Http) {
    let event = tokio::time::timeout(Duration::from_millis(250), stream.event()).await;
    assert!(event.is_err(), "{event:?}");
}

async fn lists_and_changes(era: &str) {
    let folder = tempfile::tempdir().unwrap();
    let plain = format!("--era {era}");
    let switch = Switch::new(folder.path(), "work", &plain);
    let config = "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nstable-after = \"0s\"\n";
    let router = Router::start_in(folder, config).await;
    router.ready("work").await;
    assert_eq!(router.backend("work")["targets"][0]["era"], era);
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let tools = legacy.tools().await;
    assert!(tools.iter().any(|t| t == "read"));
    assert_eq!(modern.tools().await, tools);
    let mut streams = [legacy.listen().await, modern.listen().await];

    // Down: the list of the last incarnation is served, and nobody is told anything.
    switch.down(&router).await;
    assert_eq!(
        (legacy.tools().await, modern.tools().await),
        (tools.clone(), tools.clone())
    );
    // Up with the same list.
    switch.on();
    router.ready("work").await;
    for stream in &mut streams {
        quiet(stream).await;
    }
    // Up with another one.
    switch.down(&router).await;
    switch.flags(&format!("{plain} --extra-tool spare"));
    switch.on();
    for stream in &mut streams {
        told(stream).await;
    }
    let more = legacy.tools().await;
    assert_eq!(
        (more.last().map(String::as_str), more.len()),
        (Some("spare"), tools.len() + 1)
    );
    assert_eq!(modern.tools().await, more);
    // While it runs.
    let added = modern.call("add_tool", json!({ "name": "late" })).await;
    assert_eq!(added.text(), Some("added late"), "{added:?}");
    for stream in &mut streams {
        told(stream).await;
    }
    assert_eq!(legacy.tools().await.last().map(String::as_str), Some("late"));
    assert_eq!(legacy.call("late", json!({ "text": "x" })).await.text(), Some("x"));
    // The next incarnation does not have it any more.
    router.kill("work", 0).await;
    for stream in &mut streams {
        told(stream).await;
        quiet(stream).await;
    }
    assert_eq!((legacy.tools().await, modern.tools().await), (more.clone(), more));
    // Every change was told once; a new stream of a session that has seen all begins quietly.
    quiet(&mut legacy.listen().await).await;
}

#[tokio::test]
async fn a_legacy_servers_list_outlives_it_and_its_changes_are_told() {
    lists_and_changes("legacy").await;
}

#[tokio::test]
async fn a_modern_servers_list_outlives_it_and_its_changes_are_told() {
    lists_and_changes("modern").await;
}

#[tokio::test]
async fn a_change_while_no_stream_was_open_is_told_on_the_next_one() {
    let config = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n";
    let router = Router::start(config).await;
    router.ready("work").await;
    let (legacy, other) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let before = legacy.tools().await;
    drop(legacy.listen().await);
    assert!(
        other
            .call("add_tool", json!({ "name": "spare" }))
            .await
            .text()
            .is_some()
    );
    router
        .backend_until("work", "the new list", |b| b["tools"] == before.len() + 1)
        .await;
    let mut stream = legacy.listen().await;
    told(&mut stream).await;
    quiet(&mut stream).await;
}

#[tokio::test]
async fn prefixed_names_stay_when_a_second_backend_comes() {
    let backend = |name| format!("[backends.{name}]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n");
    let one = format!("[endpoints.default]\nnames = \"prefixed\"\n{}", backend("work"));
    let router = Router::start(&one).await;
    router.ready("work").await;
    let agent = Agent::modern(&router.address);
    let before = agent.tools().await;
    assert!(before.iter().all(|tool| tool.starts_with("work__")), "{before:?}");
    let read = agent.call("work__read", json!({ "id": "x" })).await;
    assert!(read.text().is_some(), "{read:?}");
    let at_its_path = Agent::modern_at(&router.address, "/mcp/work").tools().await;
    assert!(at_its_path.iter().any(|tool| tool == "read"), "{at_its_path:?}");
    router.configure(&(one + &backend("more")));
    let tools = until_async("the second backend's tools", async || {
        let tools = agent.tools().await;
        (tools.len() == 2 * before.len()).then_some(tools)
    })
    .await;
    assert!(before.iter().all(|tool| tools.contains(tool)), "{tools:?}");
}
