//! Policies that want to know in which folders an agent works: who is asked, when, and how often.

use serde_json::{Value, json};

use super::fake::{able, config};
use crate::support::agent::{Next, Outcome};
use crate::support::{Agent, Router, in_time};

/// A router whose policy answers calls itself, with the roots of their agents, and has so long for that.
async fn router(wall: &str) -> Router {
    let reach = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/target/guests/reach.wasm");
    let plugin = format!(
        "[plugins.reach]\nfile = {reach:?}\nwall = {wall:?}\non-fault = \"closed\"\n\
         [plugins.reach.grants]\nlog = true\nclock = true\nrandom = true\ndirectory = true\nmetrics = true\nkv = true\n\
         http = {{ allow = [\"http://127.0.0.1:9\"] }}\nsecrets.tok = {{ value = \"s\" }}\n\
         [pipeline]\nroute = [\"reach\"]\n"
    );
    let router = Router::start(&format!("{}{plugin}", config(&[("fake", "legacy", "")]))).await;
    router.ready("fake").await;
    router
}

fn params() -> Value {
    json!({ "name": "echo", "arguments": {}, "_meta": { "test": [{ "do": "roots" }] } })
}

/// What the policy saw.
fn seen(outcome: &Outcome) -> &str {
    let result = outcome.body.as_ref().unwrap_or_else(|error| panic!("{error}"));
    result["answers"][0].as_str().expect("an answer of the policy")
}

/// Makes a call and answers what is asked meanwhile: the method asked for, and the end of it.
async fn called(agent: &Agent, id: &str, answer: Option<Value>) -> (Option<String>, Outcome) {
    let mut sent = agent.send(json!(id), "tools/call", params()).await;
    let mut asked = None;
    loop {
        match in_time("the answer", sent.next()).await.expect("it is not dropped") {
            Next::Asked(request) => {
                asked = request["method"].as_str().map(str::to_owned);
                if let Some(answer) = &answer {
                    agent.answer(&request["id"], answer.clone()).await;
                }
            }
            Next::Note(_) => {}
            Next::Done(outcome) => {
                sent.give_back();
                return (asked, outcome);
            }
        }
    }
}

#[tokio::test]
async fn an_agent_is_asked_by_the_first_call_whose_policy_wants_to_know() {
    let router = router("20s").await;
    let agent = Agent::legacy_able(&router.address, "2025-11-25", able()).await;
    let answer = json!({ "roots": [{ "uri": "file:///work/a", "name": "a" }] });
    let (asked, outcome) = called(&agent, "first", Some(answer)).await;
    assert_eq!(asked.as_deref(), Some("roots/list"));
    assert_eq!(
        seen(&outcome),
        r#"Some("[{\"name\":\"a\",\"uri\":\"file:///work/a\"}]")"#
    );
    let (asked, again) = called(&agent, "second", None).await;
    assert_eq!((asked, seen(&again)), (None, seen(&outcome)));
    // Another agent is another agent.
    let other = Agent::legacy_able(&router.address, "2025-06-18", able()).await;
    let (asked, outcome) = called(&other, "first", Some(json!({ "roots": [] }))).await;
    assert_eq!(
        (asked.as_deref(), seen(&outcome)),
        (Some("roots/list"), r#"Some("[]")"#)
    );
    // Until it says that they are others.
    agent.notify("notifications/roots/list_changed", json!({})).await;
    let answer = json!({ "roots": [{ "uri": "file:///b" }] });
    let (asked, outcome) = called(&agent, "third", Some(answer)).await;
    assert_eq!(asked.as_deref(), Some("roots/list"));
    assert_eq!(seen(&outcome), r#"Some("[{\"uri\":\"file:///b\"}]")"#);
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_waited_for_once_and_may_answer_later() {
    let router = router("600ms").await;
    let agent = Agent::legacy_able(&router.address, "2025-11-25", able()).await;
    let mut sent = agent.send(json!("silent"), "tools/call", params()).await;
    let mut question = Value::Null;
    let outcome = loop {
        match in_time("the answer", sent.next()).await.expect("it is not dropped") {
            Next::Asked(request) => question = request["id"].clone(),
            Next::Note(_) => {}
            Next::Done(outcome) => break outcome,
        }
    };
    sent.give_back();
    assert_eq!(seen(&outcome), "None");
    let (asked, outcome) = called(&agent, "second", None).await;
    assert_eq!((asked, seen(&outcome)), (None, "None"));
    agent
        .answer(&question, json!({ "roots": [{ "uri": "file:///late" }] }))
        .await;
    let (asked, outcome) = called(&agent, "third", None).await;
    assert_eq!(asked, None);
    assert_eq!(seen(&outcome), r#"Some("[{\"uri\":\"file:///late\"}]")"#);
    // Nobody is to blame.
    let status = router.status();
    assert_eq!(status["plugins"][0]["faults"], 0, "{status}");
}

#[tokio::test]
async fn agents_that_have_none_to_tell_of_are_not_asked() {
    let router = router("20s").await;
    let without = json!({ "sampling": {}, "elicitation": {} });
    for agent in [
        Agent::legacy_able(&router.address, "2025-11-25", without).await,
        Agent::modern_able(&router.address, able()),
    ] {
        let (asked, outcome) = called(&agent, "only", None).await;
        assert_eq!((asked, seen(&outcome)), (None, "None"));
    }
}

#[tokio::test]
async fn agents_that_never_answer_are_no_fault_of_the_policys() {
    let router = router("4s").await;
    // Three times as many as there are instances.
    let silent: Vec<_> = (0..48)
        .map(|_| {
            let address = router.address.clone();
            tokio::spawn(async move {
                let agent = Agent::legacy_able(&address, "2025-11-25", able()).await;
                called(&agent, "first", None).await
            })
        })
        .collect();
    for one in silent {
        let (asked, outcome) = one.await.unwrap();
        assert_eq!((asked.as_deref(), seen(&outcome)), (Some("roots/list"), "None"));
    }
    let status = router.status();
    let plugin = &status["plugins"][0];
    assert_eq!(
        (&plugin["faults"], &plugin["breaker"]),
        (&json!(0), &json!("closed")),
        "{status}"
    );
}
