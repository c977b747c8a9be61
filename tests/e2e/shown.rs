//! What agents see of lists as policies show them, and what they can call by it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::{Event, Http};
use crate::support::{Agent, Router, Switch, in_time, until, until_async};

/// One demo server, and these guests before the default names, each with its orders.
fn config(guests: &[&str]) -> String {
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/target/guests/guest-a.wasm");
    assert!(
        std::path::Path::new(guest).exists(),
        "{guest} is missing: run `make test` (or plugins/build.sh --test-guests)"
    );
    let mut text =
        "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nstable-after = \"0s\"\n".to_owned();
    let names: Vec<String> = (0..guests.len()).map(|n| format!("\"g{n}\", ")).collect();
    text += &format!("[pipeline]\ntransform-list = [{}\"default-names\"]\n", names.concat());
    for (n, orders) in guests.iter().enumerate() {
        text += &format!("[plugins.g{n}]\nfile = \"{guest}\"\nwall = \"5s\"\nconfig = {orders}\n");
    }
    text
}

async fn start(guests: &[&str], more: &str) -> (Router, Switch) {
    let folder = tempfile::tempdir().unwrap();
    let flags = format!("--file {0}/file --order-log {0}/order", folder.path().display());
    let switch = Switch::new(folder.path(), "work", &flags);
    let router = Router::start_in(folder, &(config(guests) + more)).await;
    router.ready("work").await;
    (router, switch)
}

async fn reconfigure(router: &Router, config: &str) {
    let before = router.status()["generation"].as_u64();
    router.configure(config);
    until("the next generation", || {
        (router.status()["generation"].as_u64() > before).then_some(())
    })
    .await;
}

async fn both(router: &Router) -> [Agent; 2] {
    [Agent::legacy(&router.address).await, Agent::modern(&router.address)]
}

async fn told(stream: &mut Http) {
    loop {
        match in_time("list_changed", stream.event()).await.unwrap() {
            Some(Event::Message(message)) if message["method"] == "notifications/tools/list_changed" => return,
            Some(Event::Comment(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn quiet(stream: &mut Http) {
    let event = tokio::time::timeout(Duration::from_millis(250), stream.event()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test]
async fn what_is_hidden_cannot_be_called_and_what_is_renamed_has_its_new_name_alone() {
    let guests = [
        "{ do = \"hide\", text = \"append\" }",
        "{ do = \"rename\", text = \"echo say\" }",
        "{ do = \"reverse\" }",
    ];
    let (router, _switch) = start(&[], "").await;
    let all = Agent::modern(&router.address).tools().await;
    reconfigure(&router, &config(&guests)).await;
    for agent in both(&router).await {
        let mut wanted: Vec<String> = all.iter().filter(|t| *t != "append").cloned().collect();
        wanted
            .iter_mut()
            .filter(|t| *t == "echo")
            .for_each(|t| *t = "say".into());
        wanted.reverse();
        assert_eq!(agent.tools().await, wanted);
        assert_eq!(agent.call("say", json!({ "text": "x" })).await.text(), Some("x"));
        for gone in ["append", "echo"] {
            let refused = agent.call(gone, json!({ "id": "1", "text": "x" })).await;
            assert_eq!(refused.code(), -32602, "{gone}: {refused:?}");
        }
    }
    // At the path of the backend too, which names it and leaves no choice.
    let at_its_path = Agent::modern_at(&router.address, "/mcp/work");
    assert!(!at_its_path.tools().await.contains(&"append".to_owned()));
    assert_eq!(at_its_path.call("append", json!({ "id": "2" })).await.code(), -32602);
    assert_eq!(router.lines("order"), [""; 0], "nothing of it reached the server");
}

#[tokio::test]
async fn each_endpoint_is_shown_what_its_policy_says() {
    let guests = ["{ do = \"hide-at\", text = \"few append\" }"];
    let (router, _switch) = start(&guests, "[endpoints.few]\nbackends = [\"work\"]\n").await;
    let (few, all) = (
        Agent::modern_at(&router.address, "/mcp/few"),
        Agent::modern(&router.address),
    );
    assert_eq!(few.tools().await.len() + 1, all.tools().await.len());
    assert_eq!(few.call("append", json!({ "id": "few" })).await.code(), -32602);
    assert!(all.call("append", json!({ "id": "all" })).await.text().is_some());
    assert_eq!(router.lines("order"), ["all"]);
}

#[tokio::test]
async fn a_swap_is_told_where_it_shows_and_nobody_sees_half_of_one() {
    let orders = [
        "{ do = \"hide\", text = \"append\" }",
        "{ do = \"mark\" }",
        "{ do = \"next\" }",
    ];
    let (router, _switch) = start(&orders[..1], "").await;
    let agents = both(&router).await;
    let mut whole = vec![agents[0].tools().await];
    let mut streams = [agents[0].listen().await, agents[1].listen().await];
    // Other orders, and the same to see.
    reconfigure(&router, &config(&["{ do = \"hide\", text = \"append\", number = 1 }"])).await;
    for stream in &mut streams {
        quiet(stream).await;
    }
    for orders in &orders[1..] {
        reconfigure(&router, &config(&[orders])).await;
        for (agent, stream) in agents.iter().zip(&mut streams) {
            told(stream).await;
            let tools = agent.tools().await;
            match whole.contains(&tools) {
                true => assert_eq!(whole.last(), Some(&tools), "both see the same"),
                false => whole.push(tools),
            }
        }
    }
    assert_eq!(whole.len(), 3);
    assert!(whole[1].iter().all(|tool| tool.ends_with("+a")), "{:?}", whole[1]);

    let done = std::sync::atomic::AtomicBool::new(false);
    let asking = agents.iter().map(|agent| async {
        let mut lists = 0;
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            let tools = agent.tools().await;
            assert!(whole.contains(&tools), "{tools:?}");
            lists += 1;
        }
        lists
    });
    let swapping = async {
        for round in 0..crate::support::count(6, 60) {
            reconfigure(&router, &config(&[orders[round % 3]])).await;
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (lists, ()) = tokio::join!(futures_util::future::join_all(asking), swapping);
    println!("{lists:?} lists while policies were swapped");
    assert!(lists.iter().all(|lists| *lists > 3));
}

#[tokio::test]
async fn a_fault_leaves_what_agents_see_as_it_was_until_the_plugin_answers_again() {
    let guests = ["{ do = \"fail-at\", text = \"late\" }"];
    let (router, _switch) = start(&guests, "").await;
    let [legacy, modern] = both(&router).await;
    let before = legacy.tools().await;
    let mut stream = legacy.listen().await;
    let added = modern.call("add_tool", json!({ "name": "late" })).await;
    assert!(added.text().is_some(), "{added:?}");
    router
        .backend_until("work", "the new tool", |b| b["tools"] == before.len() + 1)
        .await;
    for agent in [&legacy, &modern] {
        assert_eq!(agent.tools().await, before);
        assert_eq!(agent.call("echo", json!({ "text": "x" })).await.text(), Some("x"));
        assert_eq!(
            agent.call("late", json!({ "text": "x" })).await.code(),
            -32602,
            "nobody allowed it"
        );
    }
    until("the fault in the log", || {
        router.log().contains("stays as it was").then_some(())
    })
    .await;
    // A policy that cannot answer at all changes nothing either.
    reconfigure(&router, &config(&["{ do = \"loop\" }"])).await;
    assert_eq!(modern.tools().await, before);
    assert_eq!(Agent::legacy(&router.address).await.tools().await, before);
    reconfigure(&router, &config(&["{ do = \"next\" }"])).await;
    let more = until_async("all tools", async || {
        let tools = legacy.tools().await;
        (tools.len() > before.len()).then_some(tools)
    })
    .await;
    assert_eq!(more.last().map(String::as_str), Some("late"));
    // The server's own word that its list changed may have come before.
    told(&mut stream).await;
}

#[tokio::test]
async fn a_policy_that_never_answered_is_an_error_and_no_empty_list_and_holds_up_nobody() {
    let (router, _switch) = start(&["{ do = \"panic\" }"], "").await;
    let began = Instant::now();
    let [legacy, modern] = both(&router).await;
    assert!(began.elapsed() < Duration::from_secs(10), "the session opened");
    for agent in [&legacy, &modern] {
        let list = agent.send(json!("list"), "tools/list", json!({})).await.outcome().await;
        assert_eq!(list.code(), 7010, "{list:?}");
        let message = list.body.unwrap_err()["message"].to_string();
        assert!(message.contains("g0 in transform-list"), "{message}");
        assert_eq!(agent.call("echo", json!({ "text": "x" })).await.code(), 7010);
    }
    let open = config(&["{ do = \"panic\" }"]) + "on-fault = \"open\"\n";
    reconfigure(&router, &open).await;
    assert_eq!(modern.call("echo", json!({ "text": "x" })).await.text(), Some("x"));
}

#[tokio::test]
async fn a_call_for_a_server_that_was_never_up_is_held_and_looked_up_when_it_has_said_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let flags = format!("--file {0}/file --order-log {0}/order", folder.path().display());
    let switch = Switch::new(folder.path(), "work", &flags);
    switch.off();
    let guests = [
        "{ do = \"hide\", text = \"append\" }",
        "{ do = \"rename\", text = \"read look\" }",
    ];
    let more = "[backends.other]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n";
    let router = Router::start_in(folder, &(config(&guests) + more)).await;
    router.ready("other").await;
    for (n, agent) in both(&router).await.iter().enumerate() {
        switch.off();
        if n > 0 {
            router.kill("work", 0).await;
        }
        let tool = |name: &str| format!("work__{name}");
        let hidden = agent.start(1, &tool("append"), json!({ "id": "hidden" })).await;
        let renamed = agent.start(2, &tool("look"), json!({ "id": "x" })).await;
        let own = agent.start(3, &tool("read"), json!({ "id": "x" })).await;
        if n == 0 {
            router.held("work", 3).await;
        }
        let unknown = agent.call("nobody__read", json!({})).await;
        assert_eq!(unknown.code(), -32602, "{unknown:?}");
        switch.on();
        for refused in [hidden, own] {
            let refused = refused.outcome().await;
            assert_eq!(refused.code(), -32602, "{refused:?}");
        }
        let renamed = renamed.outcome().await;
        assert!(renamed.text().is_some(), "{renamed:?}");
    }
    assert!(!router.lines("order").contains(&"hidden".to_owned()));
}
