//! What a server says beside its answers: of tasks and of users elsewhere when the call is over, and in words of its own.

use serde_json::{Value, json};

use crate::fake::{able, asked, retry, router};
use crate::support::http::{Event, Http};
use crate::support::{Agent, Router, in_time};

const RELATED: &str = "io.modelcontextprotocol/related-task";

/// The next message of a stream.
async fn told(stream: &mut Http) -> Value {
    loop {
        match in_time("a message", stream.event()).await.unwrap() {
            // The lists may have come after the session.
            Some(Event::Message(m)) if m["method"].as_str().is_some_and(|m| m.ends_with("list_changed")) => {}
            Some(Event::Message(message)) => return message,
            Some(Event::Comment(_)) => {}
            None => panic!("the stream ended"),
        }
    }
}

/// Lets the server say something, by a call of another agent.
async fn tell(router: &Router, method: &str, params: Value) {
    let message = json!({ "method": method, "params": params });
    let other = Agent::modern(&router.address);
    let outcome = other.call("tell", json!({ "message": message })).await;
    assert_eq!(outcome.text(), Some("told"), "{outcome:?}");
}

fn legacy_able() -> Value {
    json!({ "sampling": {}, "elicitation": { "form": {}, "url": {} } })
}

#[tokio::test]
async fn what_is_said_of_a_task_later_reaches_whose_it_is_under_its_name() {
    let router = router("legacy", "server-requests = \"serialize\"").await;
    let agent = Agent::legacy_able(&router.address, "2025-11-25", legacy_able()).await;
    let mut stream = agent.listen().await;
    let mut strange = Agent::legacy(&router.address).await.listen().await;
    let params = json!({ "name": "work", "arguments": {}, "task": {} });
    let begun = agent.request("tools/call", params).await.body.unwrap();
    let sealed = begun["task"]["taskId"].as_str().unwrap().to_owned();
    assert_ne!(sealed, "task-0");
    tell(
        &router,
        "notifications/tasks/status",
        json!({ "taskId": "task-0", "status": "completed" }),
    )
    .await;
    let status = told(&mut stream).await;
    assert_eq!(status["method"], "notifications/tasks/status");
    assert_eq!(status["params"], json!({ "taskId": sealed, "status": "completed" }));
    // Of what nobody has, nobody hears.
    tell(
        &router,
        "notifications/tasks/status",
        json!({ "taskId": "task-9", "status": "completed" }),
    )
    .await;

    // What belongs to the task is asked, and answered, under the name that the reader knows.
    let task = |id: &str| json!({ RELATED: { "taskId": id } });
    let arguments = json!({ "text": "t", "more": { "_meta": task("task-0") } });
    let answer = json!({ "action": "decline", "_meta": task(&sealed) });
    let (question, outcome) = asked(&agent, "legacy", arguments, &answer).await;
    assert_eq!(question["params"]["_meta"][RELATED]["taskId"], json!(sealed));
    let echoed: Value = serde_json::from_str(outcome.text().unwrap()).unwrap();
    assert_eq!(echoed["answer"]["_meta"], task("task-0"));

    agent
        .request("resources/subscribe", json!({ "uri": "test://r1" }))
        .await;
    agent.call("touch", json!({ "uri": "test://r1" })).await;
    assert_eq!(
        told(&mut stream).await["method"],
        "notifications/resources/updated",
        "and nothing before it"
    );
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(100), strange.event()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn that_a_user_is_done_elsewhere_is_told_when_the_call_is_long_over() {
    let router = router("legacy", "server-requests = \"serialize\"").await;
    let agent = Agent::legacy_able(&router.address, "2025-11-25", legacy_able()).await;
    let mut stream = agent.listen().await;
    let accept = json!({ "action": "accept" });
    let (question, _) = asked(&agent, "legacy", json!({ "kind": "url", "text": "e-1" }), &accept).await;
    assert_eq!(question["params"]["elicitationId"], "e-1");
    let refused = agent.call("gate", json!({ "text": "e-2" })).await;
    assert_eq!(refused.code(), -32042, "{refused:?}");
    for id in ["e-1", "e-2"] {
        tell(
            &router,
            "notifications/elicitation/complete",
            json!({ "elicitationId": id }),
        )
        .await;
        let done = told(&mut stream).await;
        assert_eq!(done["method"], "notifications/elicitation/complete");
        assert_eq!(done["params"], json!({ "elicitationId": id }));
    }
    assert_eq!(agent.call("gate", json!({ "text": "e-2" })).await.text(), Some("open"));
}

#[tokio::test]
async fn a_modern_agent_is_led_elsewhere_by_a_result_and_the_call_made_anew() {
    let router = router("legacy", "").await;
    let able = json!({ "elicitation": { "url": {} } });
    let agent = Agent::modern_able(&router.address, able);
    let params = |text: &str| json!({ "name": "gate", "arguments": { "text": text } });
    let first = agent.request("tools/call", params("a")).await;
    let (question, again) = retry(&first, params("a"), &json!({ "action": "accept" }));
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["url"], "https://example.com/");
    let outcome = agent.request("tools/call", again.clone()).await;
    assert_eq!(outcome.text(), Some("open"), "{outcome:?}");
    let lines = router.lines("fake.lines");
    assert!(
        !lines
            .iter()
            .any(|l| l.contains("inputResponses") || l.contains("requestState")),
        "{lines:?}"
    );
    // Who says no is not sent there again.
    let first = agent.request("tools/call", params("b")).await;
    let (_, again) = retry(&first, params("b"), &json!({ "action": "decline" }));
    let outcome = agent.request("tools/call", again).await;
    assert_eq!(outcome.code(), -32603, "{outcome:?}");
    // Who cannot be led is told by the error.
    let refused = Agent::modern(&router.address)
        .call("gate", json!({ "text": "c" }))
        .await;
    assert_eq!(refused.code(), -32603, "{refused:?}");
    assert_eq!(refused.data("elicitations")[0]["elicitationId"], "c");
}

#[tokio::test]
async fn words_of_a_servers_own_reach_the_agent_whose_call_runs_alone() {
    for (keys, relayed) in [("server-requests = \"serialize\"", true), ("", false)] {
        let router = router("legacy", keys).await;
        let agent = Agent::legacy_able(&router.address, "2025-11-25", legacy_able()).await;
        let message = json!({ "method": "notifications/vendor/thing", "params": { "n": 1 } });
        let params = json!({ "name": "tell", "arguments": { "message": message } });
        let outcome = agent.request("tools/call", params).await;
        let heard: Vec<&Value> = outcome.notes.iter().map(|note| &note["method"]).collect();
        match relayed {
            true => assert_eq!(heard, ["notifications/vendor/thing"]),
            false => assert!(heard.is_empty(), "{heard:?}"),
        }
        // A thing of nobody's is not guessed to be of the call that runs.
        let message = json!({ "method": "notifications/tasks/status", "params": { "taskId": "x" } });
        let outcome = agent.call("tell", json!({ "message": message })).await;
        assert!(outcome.notes.is_empty(), "{outcome:?}");
        // What only clients say is for nobody.
        let message = json!({ "method": "notifications/roots/list_changed" });
        let outcome = agent.call("tell", json!({ "message": message })).await;
        assert!(outcome.notes.is_empty(), "{outcome:?}");
    }
}

#[tokio::test]
async fn the_first_word_of_a_resource_may_come_with_the_answer() {
    let router = router("legacy", "").await;
    for _ in 0..20 {
        let agent = Agent::legacy(&router.address).await;
        let mut stream = agent.listen().await;
        let outcome = agent
            .request("resources/subscribe", json!({ "uri": "test://eager" }))
            .await;
        assert_eq!(outcome.code(), 0, "{outcome:?}");
        assert_eq!(told(&mut stream).await["method"], "notifications/resources/updated");
        agent
            .request("resources/unsubscribe", json!({ "uri": "test://eager" }))
            .await;
    }
}

#[tokio::test]
async fn tools_for_a_model_are_put_to_those_who_have_them_alone() {
    let router = router("legacy", "server-requests = \"serialize\"").await;
    let arguments = json!({ "kind": "sample", "more": { "tools": [] } });
    for (capabilities, put) in [(able(), false), (json!({ "sampling": { "tools": {} } }), true)] {
        let agent = Agent::legacy_able(&router.address, "2025-11-25", capabilities).await;
        let (question, outcome) = asked(&agent, "legacy", arguments.clone(), &json!({ "role": "assistant" })).await;
        assert_eq!(question.is_object(), put, "{outcome:?}");
        let refused = format!("{outcome:?}").contains("did not declare the capability sampling.tools");
        assert_eq!(refused, !put, "{outcome:?}");
    }
}
