//! What was given to one agent, or for one thing, is of no use to another: states, cursors, tasks, sessions.

use serde_json::json;

use crate::fake::{agent, config, retry, router};
use crate::support::http::Http;
use crate::support::{Agent, Router, in_time};

#[tokio::test]
async fn a_request_state_is_good_for_its_call_alone() {
    let servers = config(&[
        ("one", "legacy", "server-requests = \"serialize\""),
        ("two", "modern", ""),
    ]);
    let router = Router::start(&servers).await;
    router.ready("one").await;
    router.ready("two").await;
    let agent = Agent::modern_able(&router.address, crate::fake::able());
    for tool in ["one__ask", "two__ask"] {
        let params = json!({ "name": tool, "arguments": { "text": "t" } });
        let first = agent.request("tools/call", params.clone()).await;
        let (_, again) = retry(&first, params, &json!({ "action": "decline" }));
        let mut wrong = vec![again.clone(), again.clone(), again.clone(), again.clone()];
        wrong[0]["arguments"]["text"] = "another".into();
        wrong[1]["name"] = "two__touch".into();
        let state = again["requestState"].as_str().expect("a state").to_owned();
        // Another last character in any case: one state in a few ends with the first that comes to mind.
        let last = if state.ends_with('A') { 'Q' } else { 'A' };
        wrong[2]["requestState"] = format!("{}{last}", &state[..state.len() - 1]).into();
        wrong[3]["requestState"] = "state-1-t".into();
        for params in wrong {
            let outcome = agent.request("tools/call", params.clone()).await;
            assert_eq!(outcome.code(), -32602, "{params}: {outcome:?}");
        }
        let mut changed = again.clone();
        changed["requestState"] = format!("{}{}", &state[..9], state[10..].to_owned() + "B").into();
        assert_eq!(agent.request("tools/call", changed).await.code(), -32602);
        let elsewhere = Agent::modern_at(&router.address, &format!("/mcp/{}", &tool[..3]));
        assert_eq!(
            elsewhere.request("tools/call", again.clone()).await.code(),
            -32602,
            "another endpoint"
        );
        let outcome = agent.request("tools/call", again).await;
        assert_eq!(outcome.code(), 0, "none of that has used it up: {outcome:?}");
    }
}

#[tokio::test]
async fn a_state_of_an_earlier_router_is_told_apart_from_one_that_is_none() {
    let mut router = router("modern", "").await;
    let params = json!({ "name": "ask", "arguments": { "text": "t" } });
    let first = agent(&router, "modern")
        .await
        .request("tools/call", params.clone())
        .await;
    let (_, again) = retry(&first, params, &json!({ "action": "decline" }));
    router.terminate();
    router.ended().await;
    // The key is kept; the process that had given the state is gone.
    let router = Router::start_in(router.take_folder(), &config(&[("fake", "modern", "")])).await;
    router.ready("fake").await;
    let outcome = agent(&router, "modern").await.request("tools/call", again).await;
    assert_eq!(outcome.code(), 7006, "{outcome:?}");
}

#[tokio::test]
async fn a_cursor_and_a_task_are_of_one_session() {
    let pages = "[endpoints.default]\npage-size = 2\n";
    let router = Router::start(&(config(&[("fake", "legacy", "")]) + pages)).await;
    router.ready("fake").await;
    let (a, b) = (agent(&router, "legacy").await, agent(&router, "legacy").await);
    let mut uris = Vec::new();
    let mut cursor = json!({});
    loop {
        let page = a.request("resources/list", cursor.clone()).await.body.expect("a page");
        let items = page["resources"].as_array().expect("a list");
        assert!(items.len() <= 2);
        uris.extend(items.iter().map(|r| r["uri"].clone()));
        match page.get("nextCursor") {
            Some(next) => cursor = json!({ "cursor": next }),
            None => break,
        }
    }
    let all: Vec<_> = (0..5).map(|n| json!(format!("test://r{n}"))).collect();
    assert_eq!(uris, all);
    assert_eq!(
        b.request("resources/list", cursor.clone()).await.code(),
        -32602,
        "another session's"
    );
    assert_eq!(
        a.request("prompts/list", cursor.clone()).await.code(),
        -32602,
        "another list's"
    );
    assert_eq!(
        a.request("resources/list", json!({ "cursor": "2" })).await.code(),
        -32602
    );
    assert_eq!(a.request("resources/list", cursor).await.code(), 0);

    let begun = a.request("tools/call", json!({ "name": "work", "task": {} })).await;
    let id = begun.body.expect("a task")["task"]["taskId"].clone();
    assert_eq!(a.request("tasks/get", json!({ "taskId": id })).await.code(), 0);
    for (who, what) in [(&b, id.clone()), (&b, json!("task-0")), (&a, json!("task-0"))] {
        let outcome = who.request("tasks/get", json!({ "taskId": what })).await;
        assert_eq!(outcome.code(), -32602, "{outcome:?}");
    }
    assert_eq!(
        a.request("tasks/list", json!({})).await.code(),
        -32601,
        "nobody sees the tasks of others"
    );
}

#[tokio::test]
async fn a_session_that_is_not_known_and_a_page_of_another_site_are_refused() {
    let router = router("legacy", "").await;
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    for (headers, status) in [
        (vec![("mcp-session-id", "0123456789abcdef0123456789abcdef")], 404),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "http://127.0.0.1.evil.example")], 403),
    ] {
        let mut http = Http::connect(&router.address).await;
        http.send("POST", "/mcp", &headers, &ping).await;
        in_time("a refusal", http.head()).await.expect("an answer");
        assert_eq!(http.status, status, "{headers:?}");
    }
}
