//! The fake server as a backend of a router, and agents that can be asked.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::{Next, Outcome, Sent};
use crate::support::{Agent, Router, in_time};

pub const ERAS: [&str; 2] = ["legacy", "modern"];

/// What an agent says that can be asked anything.
pub fn able() -> Value {
    let tasks = json!({ "io.modelcontextprotocol/tasks": {} });
    json!({ "sampling": {}, "elicitation": {}, "roots": {}, "extensions": tasks })
}

/// A router with one fake server of that era; `keys` go into its table.
pub async fn router(era: &str, keys: &str) -> Router {
    let router = Router::start(&config(&[("fake", era, keys)])).await;
    router.ready("fake").await;
    router
}

/// The configuration with these servers: name, era, further keys.
pub fn config(servers: &[(&str, &str, &str)]) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bridge/fakes/server.py");
    let one = |(name, era, keys): &(&str, &str, &str)| {
        format!(
            "[backends.{name}]\ncommand = \"python3\"\nargs = [{program:?}, \"{era}\", \"@dir/{name}.lines\"]\n{keys}\n"
        )
    };
    servers.iter().map(one).collect()
}

/// An agent of that era that can be asked.
pub async fn agent(router: &Router, era: &str) -> Agent {
    match era {
        "legacy" => Agent::legacy_able(&router.address, "2025-11-25", able()).await,
        _ => Agent::modern_able(&router.address, able()),
    }
}

/// Calls `ask` and answers what is asked with `answer`, as the agent's era has it. Returns what was asked, as a
/// request's method and params, and the end of it.
pub async fn asked(agent: &Agent, era: &str, arguments: Value, answer: &Value) -> (Value, Outcome) {
    let params = json!({ "name": "ask", "arguments": arguments });
    if era == "legacy" {
        let sent = agent
            .send(json!(format!("ask {arguments}")), "tools/call", params)
            .await;
        return answering(agent, sent, answer).await;
    }
    let first = agent.request("tools/call", params.clone()).await;
    let (question, again) = retry(&first, params, answer);
    (question, agent.request("tools/call", again).await)
}

async fn answering(agent: &Agent, mut sent: Sent, answer: &Value) -> (Value, Outcome) {
    let mut question = Value::Null;
    loop {
        match in_time("what is asked", sent.next()).await.expect("it is not dropped") {
            Next::Note(_) => {}
            Next::Asked(request) => {
                agent.answer(&request["id"], answer.clone()).await;
                question = request;
            }
            Next::Done(outcome) => {
                sent.give_back();
                return (question, outcome);
            }
        }
    }
}

/// What a result asks, and the params of the call that brings `answer`.
pub fn retry(first: &Outcome, mut params: Value, answer: &Value) -> (Value, Value) {
    let result = first.body.as_ref().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(result["resultType"], "input_required", "{result}");
    let requests = result["inputRequests"].as_object().expect("questions");
    assert_eq!(requests.len(), 1);
    let (key, question) = requests.iter().next().expect("one");
    params["inputResponses"] = json!({ key.clone(): answer });
    params["requestState"] = result["requestState"].clone();
    (question.clone(), params)
}
