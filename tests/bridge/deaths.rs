//! Servers killed while they wait for input, while they are subscribed to, while they work on a task.

use serde_json::json;

use crate::fake::{ERAS, agent, retry, router};
use crate::support::agent::Next;
use crate::support::{Router, in_time};
use crate::talk::{subscribed, updated};

const SERIALIZE: &str = "server-requests = \"serialize\"\nstable-after = \"0s\"";

async fn killed(router: &Router) {
    router.kill("fake", 0).await;
    router.ready("fake").await;
}

#[tokio::test]
async fn a_call_that_waits_for_input_is_told_that_its_server_died() {
    for server in ERAS {
        let router = router(server, SERIALIZE).await;
        let params = json!({ "name": "ask", "arguments": { "text": "t" } });
        let answer = json!({ "action": "decline" });

        // A modern agent comes back with the answer and is told so.
        let modern = agent(&router, "modern").await;
        let first = modern.request("tools/call", params.clone()).await;
        let (_, again) = retry(&first, params.clone(), &answer);
        killed(&router).await;
        let outcome = modern.request("tools/call", again.clone()).await;
        assert_eq!(outcome.code(), 7006, "{server}: {outcome:?}");
        let outcome = modern.request("tools/call", again).await;
        assert_eq!(outcome.code(), 7006, "{server}, and once more: {outcome:?}");

        // A legacy one is told at once, and that its answer is no longer wanted; or its answer meets the dead server.
        let legacy = agent(&router, "legacy").await;
        let mut sent = legacy.send(json!("x"), "tools/call", params.clone()).await;
        let asked = loop {
            match in_time("a question", sent.next()).await.expect("it is not dropped") {
                Next::Asked(asked) => break asked,
                Next::Note(_) => {}
                Next::Done(outcome) => panic!("{outcome:?}"),
            }
        };
        killed(&router).await;
        if server == "modern" {
            legacy.answer(&asked["id"], answer.clone()).await;
        }
        let outcome = sent.outcome().await;
        if server == "legacy" {
            assert_eq!((outcome.code(), outcome.data("delivery")), (7004, json!("unknown")));
        } else {
            assert_eq!(outcome.code(), 7006, "{outcome:?}");
        }
        // And the next call goes as if nothing had been.
        let outcome = legacy.call("touch", json!({ "uri": "test://r0" })).await;
        assert_eq!(outcome.text(), Some("touched"));
    }
}

#[tokio::test]
async fn subscriptions_are_made_again_after_every_death() {
    for server in ERAS {
        let router = router(server, SERIALIZE).await;
        let (legacy, modern) = (agent(&router, "legacy").await, agent(&router, "modern").await);
        let mut streams = [subscribed(&legacy, "legacy").await, subscribed(&modern, "modern").await];
        for round in 0..3 {
            killed(&router).await;
            // What changed while it was down nobody has said: all are to look again.
            for stream in &mut streams {
                updated(stream).await;
            }
            let outcome = modern.call("touch", json!({ "uri": "test://r1" })).await;
            assert_eq!(outcome.text(), Some("touched"), "{server} {round}");
            for stream in &mut streams {
                updated(stream).await;
            }
        }
    }
}

#[tokio::test]
async fn a_task_ends_with_the_server_that_had_it() {
    for era in ERAS {
        // Tasks have another shape in each era, and are not bridged.
        let router = router(era, SERIALIZE).await;
        let agent = agent(&router, era).await;
        let begun = agent
            .request("tools/call", json!({ "name": "work", "arguments": {}, "task": {} }))
            .await;
        let begun = begun.body.expect("a task");
        let id = match era {
            "legacy" => begun["task"]["taskId"].clone(),
            _ => begun["taskId"].clone(),
        };
        assert_ne!(id, "task-0", "the id is the router's: {begun}");
        let got = agent
            .request("tasks/get", json!({ "taskId": id }))
            .await
            .body
            .expect("a status");
        assert_eq!(
            (&got["status"], &got["taskId"]),
            (&json!("working"), &id),
            "always the same id"
        );
        killed(&router).await;
        let outcome = agent.request("tasks/get", json!({ "taskId": id })).await;
        assert_eq!(outcome.code(), 7006, "{era}: {outcome:?}");
    }
}
