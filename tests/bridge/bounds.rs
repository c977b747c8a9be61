//! Bounds of what waits for agents and of what is started for them; and the router's own tools.

use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::fake::{agent, asked, config, retry, router};
use crate::support::agent::Next;
use crate::support::http::Event;
use crate::support::{Agent, Router, in_time, until};

/// The processes of the fake server.
fn children(router: &Router) -> usize {
    crate::support::children(router.pid()).len()
}

#[tokio::test]
async fn an_agent_that_does_not_answer_in_time_is_given_up() {
    let sessions = "[sessions]\nanswer-wait = \"300ms\"\n";
    let fakes = config(&[("fake", "legacy", "server-requests = \"serialize\"")]);
    let router = Router::start(&(fakes + sessions)).await;
    router.ready("fake").await;
    let legacy = agent(&router, "legacy").await;
    let params = json!({ "name": "ask", "arguments": { "text": "t" } });
    let mut sent = legacy.send(json!(1), "tools/call", params.clone()).await;
    let mut cancelled = false;
    let outcome = loop {
        match in_time("the end", sent.next()).await.unwrap() {
            Next::Note(note) => cancelled |= note["method"] == "notifications/cancelled",
            Next::Asked(_) => {}
            Next::Done(outcome) => break outcome,
        }
    };
    assert!(cancelled, "the agent is told that its answer is no longer wanted");
    let said = outcome.body.unwrap()["content"][0]["text"].to_string();
    assert!(said.contains("in time"), "{said}");

    // A modern agent that comes back too late: the call is gone, and the server takes others.
    let modern = agent(&router, "modern").await;
    let first = modern.request("tools/call", params.clone()).await;
    let (_, again) = retry(&first, params, &json!({ "action": "decline" }));
    let outcome = modern.call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(
        outcome.text(),
        Some("touched"),
        "it was held until the other was given up"
    );
    let outcome = modern.request("tools/call", again).await;
    assert!(
        [7006, -32602].contains(&outcome.code()),
        "gone, or its state has expired: {outcome:?}"
    );
}

#[tokio::test]
async fn calls_that_wait_for_input_are_bounded_and_whoever_has_most_gives_way() {
    let servers = ["one", "two", "three", "four"];
    let fakes = config(&servers.map(|name| (name, "legacy", "server-requests = \"serialize\"")));
    let router = Router::start(&(fakes + "[sessions]\nparked = 2\n")).await;
    for name in servers {
        router.ready(name).await;
    }
    // Without principals an agent is a connection.
    let (greedy, modest) = (agent(&router, "modern").await, agent(&router, "modern").await);
    let park = async |agent: &Agent, name: &str| {
        let params = json!({ "name": format!("{name}__ask"), "arguments": { "text": "t" } });
        let first = agent.request("tools/call", params.clone()).await;
        retry(&first, params, &json!({ "action": "accept" })).1
    };
    let mut waiting = vec![park(&greedy, "one").await, park(&greedy, "two").await];
    let other = park(&modest, "three").await;
    // The oldest of whoever has most made room: its server is told, and takes other calls.
    let freed = modest.call("one__touch", json!({ "uri": "x://" })).await;
    assert_eq!(freed.text(), Some("touched"));
    let (second, first) = (waiting.pop().unwrap(), waiting.pop().unwrap());
    assert_eq!(greedy.request("tools/call", first).await.code(), 7006);
    // Who comes counts with what it brings.
    let third = park(&modest, "four").await;
    assert_eq!(
        modest.request("tools/call", other).await.code(),
        7006,
        "its own made room"
    );
    assert_eq!(greedy.request("tools/call", second).await.code(), 0);
    assert_eq!(modest.request("tools/call", third).await.code(), 0);
}

#[tokio::test]
async fn sessions_have_children_of_their_own_within_bounds() {
    let keys = "scope = \"session\"\nsession-targets = 2\nsession-idle = \"400ms\"";
    let router = router("legacy", keys).await;
    assert_eq!(children(&router), 1, "one for whoever has no session");
    let mut agents = Vec::new();
    for n in 0..2 {
        let agent = agent(&router, "legacy").await;
        let (_, outcome) = asked(
            &agent,
            "legacy",
            json!({ "text": n.to_string() }),
            &json!({ "action": "accept" }),
        )
        .await;
        assert_eq!(outcome.code(), 0);
        agents.push(agent);
    }
    // Both are busy: there is no room for a third.
    let mut busy = Vec::new();
    for agent in &agents {
        busy.push(agent.start(9, "wait", json!({})).await);
    }
    until("both are busy", || {
        (router
            .lines("fake.lines")
            .iter()
            .filter(|l| l.contains("\"wait\""))
            .count()
            == 2)
            .then_some(())
    })
    .await;
    let third = agent(&router, "legacy").await;
    let outcome = third.call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(
        (outcome.code(), outcome.data("bound")),
        (7002, json!("session-targets")),
        "{outcome:?}"
    );
    // One is free again: the longest unused makes room.
    agents[0].cancel(9).await;
    assert_eq!(busy.remove(0).outcome().await.code(), 7011);
    let outcome = third.call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(outcome.text(), Some("touched"), "{outcome:?}");
    agents[1].cancel(9).await;
    busy.remove(0).outcome().await;
    // And those that are unused are stopped.
    until("only the common one is left", || (children(&router) == 1).then_some(())).await;
    let outcome = third.call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(outcome.text(), Some("touched"), "the next call starts another");
}

#[tokio::test]
async fn a_backend_without_room_for_a_session_fails_its_own_calls_alone() {
    let router = Router::start(&config(&[
        ("full", "legacy", "scope = \"session\"\nsession-targets = 1"),
        ("other", "legacy", ""),
    ]))
    .await;
    router.ready("full").await;
    router.ready("other").await;
    let (first, second) = (agent(&router, "legacy").await, agent(&router, "legacy").await);
    let busy = first.start(9, "full__wait", json!({})).await;
    until("it is busy", || {
        let lines = router.lines("full.lines");
        lines.iter().any(|line| line.contains("\"wait\"")).then_some(())
    })
    .await;
    let touch = json!({ "uri": "x://" });
    assert_eq!(second.request("ping", json!({})).await.code(), 0);
    let shown = second.tools().await;
    assert_eq!(shown, first.tools().await);
    assert_eq!(second.call("other__touch", touch.clone()).await.text(), Some("touched"));
    for _ in 0..2 {
        let outcome = second.call("full__touch", touch.clone()).await;
        let told = (outcome.code(), outcome.data("bound"), outcome.data("backend"));
        assert_eq!(told, (7002, json!("session-targets"), json!("full")), "{outcome:?}");
    }
    let mut stream = second.listen().await;
    first.cancel(9).await;
    busy.outcome().await;
    assert_eq!(second.call("full__touch", touch).await.text(), Some("touched"));
    assert_eq!(second.tools().await, shown);
    // What was shown of it was true, so there is nothing to tell.
    assert!(
        stream
            .event()
            .now_or_never()
            .is_none_or(|event| !matches!(event, Ok(Some(Event::Message(_)))))
    );
}

#[tokio::test]
async fn what_an_agent_subscribed_to_outlives_the_child_that_was_stopped_for_it() {
    let router = router("legacy", "scope = \"session\"\nsession-idle = \"300ms\"").await;
    let agent = agent(&router, "legacy").await;
    let mut stream = crate::talk::subscribed(&agent, "legacy").await;
    until("the unused child is stopped", || (children(&router) == 1).then_some(())).await;
    let outcome = agent.call("touch", json!({ "uri": "test://r1" })).await;
    assert_eq!(outcome.text(), Some("touched"));
    crate::talk::updated(&mut stream).await;
}

#[tokio::test]
async fn a_session_with_children_of_its_own_hears_of_a_reload_while_it_only_listens() {
    let own = ("fake", "legacy", "scope = \"session\"");
    let router = Router::start(&config(&[own])).await;
    router.ready("fake").await;
    let agent = agent(&router, "legacy").await;
    agent.tools().await;
    let mut stream = agent.listen().await;
    let before = children(&router);
    let news = async |stream: &mut crate::support::http::Http| {
        in_time("news", async {
            loop {
                match stream.event().await.unwrap().expect("the stream goes on") {
                    Event::Message(message) if message["method"] == "notifications/tools/list_changed" => return,
                    _ => {}
                }
            }
        })
        .await;
    };
    let mut servers = vec![own, ("more", "legacy", "")];
    router.configure(&config(&servers));
    news(&mut stream).await;
    assert!(agent.tools().await.contains(&"more__touch".to_owned()));
    // One that is to be the session's own is told of, and started when it is needed.
    servers.push(("lazy", "legacy", "scope = \"session\""));
    router.configure(&config(&servers));
    router_has(&router, "lazy").await;
    news(&mut stream).await;
    assert_eq!(children(&router), before + 2, "the common ones");
    let touched = agent.call("lazy__touch", json!({ "uri": "x://" })).await;
    assert_eq!(touched.text(), Some("touched"), "{touched:?}");
    assert_eq!(children(&router), before + 3);
    // It follows the end of its endpoint too.
    servers.remove(0);
    router.configure(&config(&servers));
    news(&mut stream).await;
    agent.end().await;
    until("its children are gone", || (children(&router) == 2).then_some(())).await;
}

#[tokio::test]
async fn the_end_of_an_endpoint_ends_what_a_session_has_in_its_place() {
    let fakes = config(&[("fake", "legacy", "scope = \"session\"")]);
    let router = Router::start(&format!("{fakes}[endpoints.x]\n")).await;
    router.ready("fake").await;
    let agent = Agent::legacy_at(&router.address, "/mcp/x").await;
    assert_eq!(
        agent.call("touch", json!({ "uri": "x://" })).await.text(),
        Some("touched")
    );
    let mut stream = agent.listen().await;
    router.configure(&fakes);
    in_time("the end of the stream", async {
        while stream.event().await.unwrap().is_some() {}
    })
    .await;
}

/// Waits until a backend is there and ready.
async fn router_has(router: &Router, name: &str) {
    until("the backend", || {
        let status = router.status();
        status["backends"]
            .as_array()?
            .iter()
            .find(|b| b["name"] == name)
            .map(drop)
    })
    .await;
    router.ready(name).await;
}

#[tokio::test]
async fn the_end_of_a_session_is_the_end_of_its_child() {
    let router = router("legacy", "scope = \"session\"").await;
    let agent = agent(&router, "legacy").await;
    agent.call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(children(&router), 2);
    agent.end().await;
    until("its child is gone", || (children(&router) == 1).then_some(())).await;
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends_by_itself_and_its_child_with_it() {
    let fakes = config(&[("fake", "legacy", "scope = \"session\"")]);
    let router = Router::start(&(fakes + "[sessions]\nidle = \"300ms\"\n")).await;
    router.ready("fake").await;
    let agent = agent(&router, "legacy").await;
    agent.call("touch", json!({ "uri": "x://" })).await;
    until("nobody's child is left", || {
        (children(&router) == 1 && router.status()["sessions"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_agents_say_of_themselves_is_bounded_for_all_sessions_together() {
    let fakes = config(&[("fake", "legacy", "")]);
    let router = Router::start(&(fakes + "[sessions]\nbytes = \"128KiB\"\n")).await;
    router.ready("fake").await;
    let words = json!({ "elicitation": {}, "experimental": { "x": "y".repeat(10 * 1024) } });
    let open = async |words: &Value| Agent::legacy_able(&router.address, "2025-11-25", words.clone()).await;
    let mut agents = Vec::new();
    for _ in 0..20 {
        agents.push(open(&words).await);
    }
    assert_eq!(router.status()["sessions"], 5, "of 21 KiB and more each");
    let used = agents.last().unwrap().call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(used.text(), Some("touched"));
    let gone = agents[0].start(1, "touch", json!({ "uri": "x://" })).await;
    let mut gone = gone.into_http();
    in_time("a refusal", gone.head()).await.unwrap();
    assert_eq!(gone.status, 404);

    // Headers count like all else that is kept.
    let mut http = crate::support::http::Http::connect(&router.address).await;
    let said = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": { "name": "t", "version": "z".repeat(63 * 1024) } } });
    let header = "h".repeat(2 * 1024);
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("x-more", header.as_str()),
    ];
    http.send("POST", "/mcp", &headers, &said.to_string()).await;
    in_time("a refusal", http.head()).await.unwrap();
    let body = http.body().await.unwrap();
    assert!(body.contains("-32602") && body.contains("longer than 64 KiB"), "{body}");
}

#[tokio::test]
async fn the_routers_own_tools_are_there_where_an_endpoint_shows_them() {
    let servers = config(&[("one", "legacy", ""), ("two", "modern", "")]);
    let endpoints = "[endpoints.default]\nown-tools = \"read\"\nnames = \"plain\"\n[endpoints.ops]\nown-tools = \"manage\"\n[endpoints.bare]\n";
    let router = Router::start(&(servers + endpoints)).await;
    router.ready("one").await;
    router.ready("two").await;
    let own =
        |tools: Vec<String>| -> Vec<String> { tools.into_iter().filter(|t| t.starts_with("pointsman__")).collect() };
    let legacy = Agent::legacy(&router.address).await;
    assert_eq!(
        own(legacy.tools().await),
        ["pointsman__status", "pointsman__use_backend"]
    );
    let modern = Agent::modern(&router.address);
    assert_eq!(own(modern.tools().await), ["pointsman__status"]);
    assert!(own(Agent::modern_at(&router.address, "/mcp/bare").tools().await).is_empty());
    let ops = Agent::modern_at(&router.address, "/mcp/ops");
    assert_eq!(
        own(ops.tools().await),
        ["pointsman__status", "pointsman__restart_backend"]
    );

    for agent in [&legacy, &modern] {
        let status: Value =
            serde_json::from_str(agent.call("pointsman__status", json!({})).await.text().unwrap()).unwrap();
        assert_eq!(
            (&status["backends"][0]["name"], &status["backends"][0]["state"]),
            (&json!("one"), &json!("ready"))
        );
        let refused = agent
            .call("pointsman__restart_backend", json!({ "backend": "one" }))
            .await;
        assert_eq!(refused.code(), -32602, "not granted here: {refused:?}");
    }
    // Both servers have the tool under one name: the session says which it means.
    assert_eq!(legacy.call("touch", json!({ "uri": "x://" })).await.code(), 7009);
    let wrong = legacy
        .call("pointsman__use_backend", json!({ "backend": "three" }))
        .await;
    assert!(wrong.code() == -32602 && wrong.body.unwrap_err()["message"].to_string().contains("one, two"));
    for era in ["two", "one"] {
        legacy
            .call("pointsman__use_backend", json!({ "backend": era }))
            .await
            .text()
            .unwrap();
        let before = router.lines(&format!("{era}.lines")).len();
        assert_eq!(
            legacy.call("touch", json!({ "uri": "x://" })).await.text(),
            Some("touched")
        );
        assert!(router.lines(&format!("{era}.lines")).len() > before);
    }
    legacy.call("pointsman__use_backend", json!({})).await.text().unwrap();
    assert_eq!(legacy.call("touch", json!({ "uri": "x://" })).await.code(), 7009);

    let before = router.backend("one")["targets"][0]["incarnation"].as_u64();
    ops.call("pointsman__restart_backend", json!({ "backend": "one" }))
        .await
        .text()
        .unwrap();
    let later = |status: &Value| status["targets"][0]["incarnation"].as_u64() > before;
    router.backend_until("one", "its restart", later).await;
}
