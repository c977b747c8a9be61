//! Each kind of request of a server, in all four combinations of eras; subscriptions and updates likewise.

use serde_json::{Value, json};

use crate::fake::{ERAS, agent, asked, config, router};
use crate::support::http::{Event, Http};
use crate::support::{Agent, Router, in_time};

const SERIALIZE: &str = "server-requests = \"serialize\"";

#[tokio::test]
async fn what_a_server_asks_reaches_the_agent_and_its_answer_the_server() {
    for server in ERAS {
        for keys in [SERIALIZE, "scope = \"session\"\nserver-requests = \"serialize\""] {
            let router = router(server, keys).await;
            for era in ERAS {
                let agent = agent(&router, era).await;
                for (kind, method, answer) in [
                    (
                        "elicit",
                        "elicitation/create",
                        json!({ "action": "accept", "content": { "x": "y" } }),
                    ),
                    (
                        "sample",
                        "sampling/createMessage",
                        json!({ "role": "assistant", "model": "m" }),
                    ),
                    ("roots", "roots/list", json!({ "roots": [{ "uri": "file:///r" }] })),
                ] {
                    let arguments = json!({ "kind": kind, "text": format!("{era} {kind}") });
                    let (question, outcome) = asked(&agent, era, arguments, &answer).await;
                    let at = format!("{era} agent, {server} server, {keys}, {kind}");
                    assert_eq!(question["method"], method, "{at}");
                    if kind == "elicit" {
                        assert_eq!(question["params"]["message"], format!("{era} {kind}"), "{at}");
                    }
                    let said: Value = serde_json::from_str(outcome.text().expect(&at)).expect(&at);
                    assert_eq!(said["answer"], answer, "{at}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_agents_share_freely_is_told_that_nobody_can_be_asked() {
    let router = router("legacy", "").await;
    let agent = agent(&router, "legacy").await;
    let arguments = json!({ "kind": "roots", "text": "?" });
    let outcome = agent.call("ask", arguments).await;
    assert!(
        outcome.body.expect("a result")["content"][0]["text"]
            .to_string()
            .contains("Method not found")
    );
    let lines = router.lines("fake.lines");
    let hello = lines.iter().find(|l| l.contains("initialize")).expect("a greeting");
    assert!(hello.contains(r#""capabilities":{}"#), "{hello}");
}

#[tokio::test]
async fn an_agent_that_cannot_be_asked_is_not() {
    let router = router("legacy", SERIALIZE).await;
    for agent in [Agent::legacy(&router.address).await, Agent::modern(&router.address)] {
        let outcome = agent.call("ask", json!({ "kind": "sample", "text": "?" })).await;
        let said = outcome.body.expect("the server goes on")["content"][0]["text"].to_string();
        assert!(said.contains("sampling") || said.contains("cannot be asked"), "{said}");
    }
}

/// The next update that is told on a stream.
pub async fn updated(stream: &mut Http) -> Value {
    loop {
        match in_time("an update", stream.event()).await.expect("the stream goes on") {
            Some(Event::Message(message)) if message["method"] == "notifications/resources/updated" => return message,
            Some(_) => {}
            None => panic!("the stream ended"),
        }
    }
}

/// Subscribes an agent of that era to `test://r1` and returns the stream on which it is told.
pub async fn subscribed(agent: &Agent, era: &str) -> Http {
    if era == "legacy" {
        let stream = agent.listen().await;
        let outcome = agent
            .request("resources/subscribe", json!({ "uri": "test://r1" }))
            .await;
        assert_eq!(outcome.code(), 0, "{outcome:?}");
        return stream;
    }
    let params = json!({ "notifications": { "resourceSubscriptions": ["test://r1"] } });
    let mut stream = agent.send("l".into(), "subscriptions/listen", params).await.into_http();
    in_time("a stream", stream.head()).await.expect("an answer");
    match in_time("the first word", stream.event()).await.expect("a word") {
        Some(Event::Message(first)) => {
            assert_eq!(
                first["params"]["notifications"]["resourceSubscriptions"],
                json!(["test://r1"])
            );
        }
        other => panic!("{other:?}"),
    }
    stream
}

#[tokio::test]
async fn updates_reach_those_who_subscribed_and_nobody_else() {
    for server in ERAS {
        let router = router(server, "").await;
        let (legacy, modern) = (agent(&router, "legacy").await, agent(&router, "modern").await);
        let mut streams = [subscribed(&legacy, "legacy").await, subscribed(&modern, "modern").await];
        let mut stranger = Agent::legacy(&router.address).await.listen().await;
        for _ in 0..3 {
            legacy.call("touch", json!({ "uri": "test://r1" })).await;
            for stream in &mut streams {
                assert_eq!(updated(stream).await["params"]["uri"], "test://r1", "{server}");
            }
        }
        // One that left is heard of no more, and the other still is.
        let gone = legacy
            .request("resources/unsubscribe", json!({ "uri": "test://r1" }))
            .await;
        assert_eq!(gone.code(), 0);
        legacy.call("touch", json!({ "uri": "test://r1" })).await;
        updated(&mut streams[1]).await;
        for quiet in [&mut streams[0], &mut stranger] {
            let event = tokio::time::timeout(std::time::Duration::from_millis(200), quiet.event()).await;
            assert!(event.is_err(), "{server}: {event:?}");
        }
    }
}

#[tokio::test]
async fn everything_has_an_owner_among_several_servers() {
    let servers = config(&[("one", "legacy", ""), ("two", "modern", "")]);
    let router = Router::start(&servers).await;
    router.ready("one").await;
    router.ready("two").await;
    for era in ERAS {
        let agent = agent(&router, era).await;
        let prompts = agent.request("prompts/list", json!({})).await.body.expect("prompts");
        assert_eq!(prompts["prompts"][1]["name"], "two__greet", "{era}");
        let prompt = agent.request("prompts/get", json!({ "name": "two__greet" })).await;
        assert_eq!(
            prompt.body.expect("a prompt")["messages"][0]["content"]["text"],
            "greet",
            "{era}"
        );
        let params =
            json!({ "ref": { "type": "ref/prompt", "name": "one__greet" }, "argument": { "name": "a", "value": "" } });
        let completion = agent.request("completion/complete", params).await;
        assert_eq!(
            completion.body.expect("values")["completion"]["values"][0],
            "greet",
            "{era}"
        );
        let resources = agent
            .request("resources/list", json!({}))
            .await
            .body
            .expect("resources");
        assert_eq!(
            resources["resources"].as_array().expect("a list").len(),
            5,
            "those of both are the same: {era}"
        );
        // Both have it, so that nobody can say whose it is.
        let read = agent.request("resources/read", json!({ "uri": "test://r0" })).await;
        assert_eq!(read.code(), 7009, "{era}: {read:?}");
        let read = agent.request("resources/read", json!({ "uri": "nowhere://x" })).await;
        assert_eq!(read.code(), -32602, "{era}: {read:?}");
        let unknown = agent.request("vendor/thing", json!({})).await;
        assert_eq!(unknown.code(), -32601, "{era}: {unknown:?}");
        assert_eq!(unknown.status, if era == "modern" { 404 } else { 200 });
    }
    let agent = Agent::modern_at(&router.address, "/mcp/two");
    let read = agent.request("resources/read", json!({ "uri": "made://x" })).await;
    assert_eq!(read.body.expect("contents")["contents"][0]["uri"], "made://x");
    let thing = agent.request("vendor/thing", json!({ "a": 1 })).await;
    assert_eq!(
        thing.body.expect("a result")["params"]["a"],
        1,
        "what the router does not know it passes on"
    );
}
