//! Agents that try to speak to a server past the router, to be asked for others, or to hold on after their end.

use serde_json::{Value, json};

use crate::fake::{able, agent, router};
use crate::support::agent::Next;
use crate::support::http::Http;
use crate::support::{Agent, in_time, until};

/// Posts text as it is, in a session, and returns the status.
async fn posted(agent: &Agent, address: &str, body: &str) -> (u16, String) {
    let mut http = Http::connect(address).await;
    let headers = [("accept", "application/json"), ("mcp-session-id", agent.session())];
    http.send("POST", "/mcp", &headers, body).await;
    in_time("an answer", http.head()).await.unwrap();
    (http.status, http.body().await.unwrap_or_default())
}

#[tokio::test]
async fn no_line_of_an_agents_own_reaches_a_server() {
    let router = router("legacy", "server-requests = \"serialize\"").await;
    let agent = agent(&router, "legacy").await;
    let params = json!({ "name": "ask", "arguments": { "text": "t" } });
    let mut sent = agent.send(json!(1), "tools/call", params).await;
    let asked = loop {
        match in_time("a question", sent.next()).await.unwrap() {
            Next::Asked(asked) => break asked,
            Next::Note(_) => {}
            Next::Done(outcome) => panic!("{outcome:?}"),
        }
    };
    let evil =
        r#"{"jsonrpc":"2.0","id":777,"method":"tools/call","params":{"name":"touch","arguments":{"uri":"evil"}}}"#;
    let id = &asked["id"];
    let progress = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{id},\"progress\":1,\"x\":[\n{evil}\n]}}}}"
    );
    assert_eq!(posted(&agent, &router.address, &progress).await.0, 202);
    let answer =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"action\":\"decline\",\"x\":[\r\n{evil}\r\n]}}}}");
    assert_eq!(posted(&agent, &router.address, &answer).await.0, 202);
    assert_eq!(sent.outcome().await.code(), 0);
    for line in router.lines("fake.lines") {
        assert!(!line.starts_with(evil), "{line}");
    }
}

#[tokio::test]
async fn handshakes_and_notifications_with_ids_are_not_forwarded() {
    let router = router("legacy", "").await;
    let agent = Agent::legacy_able(&router.address, "2025-03-26", able()).await;
    for method in ["server/discover", "subscriptions/listen", "notifications/cancelled"] {
        let outcome = agent.request(method, json!({ "requestId": 101 })).await;
        assert_eq!(outcome.code(), -32601, "{method}: {outcome:?}");
    }
    let initialize = json!({ "jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": { "sampling": {} }, "clientInfo": { "name": "evil", "version": "1" } } });
    let responses = agent.batch(&[initialize]).await;
    assert_eq!(responses[0]["error"]["code"], -32601, "{responses:?}");
    let lines = router.lines("fake.lines");
    let greetings = lines.iter().filter(|l| l.contains("\"initialize\"")).count();
    assert_eq!(greetings, 1, "the router's own: {lines:?}");
    let modern = Agent::modern(&router.address);
    let outcome = modern
        .request("notifications/cancelled", json!({ "requestId": 101 }))
        .await;
    assert_eq!((outcome.code(), outcome.status), (-32601, 404));
}

#[tokio::test]
async fn a_session_that_ends_takes_its_calls_with_it() {
    let keys = "scope = \"session\"\nsession-targets = 1";
    let router = router("legacy", keys).await;
    let first = agent(&router, "legacy").await;
    let hanging = first.start(1, "wait", json!({})).await;
    until("it runs", || {
        router
            .lines("fake.lines")
            .iter()
            .any(|l| l.contains("\"wait\""))
            .then_some(())
    })
    .await;
    first.end().await;
    assert_eq!(hanging.outcome().await.code(), 7011);
    let second = agent(&router, "legacy").await;
    let outcome = second.call("touch", json!({ "uri": "x://" })).await;
    assert_eq!(outcome.text(), Some("touched"), "the room is free again: {outcome:?}");
}

#[tokio::test]
async fn input_is_asked_for_where_results_may_ask_and_only_there() {
    let router = router("legacy", "server-requests = \"serialize\"").await;
    let agent = agent(&router, "modern").await;
    let params = json!({ "ref": { "type": "ref/prompt", "name": "greet" }, "argument": { "name": "a", "value": "" }, "requestState": "x" });
    let outcome = agent.request("completion/complete", params).await;
    assert_eq!(
        outcome.code(),
        0,
        "what the router has no business with it does not read: {outcome:?}"
    );
    let odd: Value = json!({ "name": "ask", "arguments": { "text": "t" } });
    let first = agent.request("tools/call", odd).await;
    assert_eq!(first.body.unwrap()["resultType"], "input_required");
}

#[tokio::test]
async fn subscriptions_are_bounded() {
    let router = router("modern", "").await;
    let agent = agent(&router, "legacy").await;
    let long = format!("test://{}", "x".repeat(3000));
    let outcome = agent.request("resources/subscribe", json!({ "uri": long })).await;
    assert_eq!(outcome.code(), -32602, "{outcome:?}");
    for n in 0..1000 {
        let outcome = agent
            .request("resources/subscribe", json!({ "uri": format!("test://{n}") }))
            .await;
        assert_eq!(outcome.code(), 0, "{n}");
    }
    let outcome = agent
        .request("resources/subscribe", json!({ "uri": "test://more" }))
        .await;
    assert!(outcome.code() == -32602 && outcome.body.unwrap_err()["message"].to_string().contains("1000"));
    let again = agent.request("resources/subscribe", json!({ "uri": "test://7" })).await;
    assert_eq!(again.code(), 0, "one that it has");
}
