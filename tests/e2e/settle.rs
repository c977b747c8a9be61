//! Calls in trouble as policies want them settled, and what policies hear of all that happens.

use serde_json::{Value, json};

use crate::support::{Agent, Router, Switch, until};

fn config(hooks: &str, orders: &str) -> String {
    let guest = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/target/guests/guest-a.wasm");
    format!(
        "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nstable-after = \"0s\"\n\
         [pipeline]\n{hooks}\n[plugins.judge]\nfile = {guest:?}\nwall = \"5s\"\nconfig = {orders}\n"
    )
}

async fn with(hooks: &str, orders: &str) -> (Router, Switch) {
    let folder = tempfile::tempdir().unwrap();
    let flags = format!("--file {0}/file --order-log {0}/order", folder.path().display());
    let switch = Switch::new(folder.path(), "work", &flags);
    let router = Router::start_in(folder, &config(hooks, orders)).await;
    router.ready("work").await;
    (router, switch)
}

const SETTLE: &str = "settle = [\"judge\"]";

/// A call that is in flight when its server is killed.
async fn killed_under(router: &Router) -> crate::support::agent::Outcome {
    let agent = Agent::modern(&router.address);
    let call = agent.start(1, "slow", json!({ "ms": 300, "text": "t" })).await;
    router
        .backend_until("work", "the call in flight", |b| b["in_flight"] == 1)
        .await;
    router.kill("work", 0).await;
    call.outcome().await
}

#[tokio::test]
async fn a_call_whose_target_died_is_written_again_where_a_policy_says_so() {
    let (router, _switch) = with(SETTLE, "{ do = \"replay-died\" }").await;
    let outcome = killed_under(&router).await;
    assert_eq!(outcome.code(), 0, "{outcome:?}");
    assert_eq!(router.backend("work")["targets"][0]["incarnation"], 2);
    // A policy that has nothing to say leaves it as it is: nobody knows whether it ran.
    let (router, _switch) = with(SETTLE, "{ do = \"replay-held\" }").await;
    let outcome = killed_under(&router).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7004, json!("unknown")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_call_whose_target_died_fails_as_a_policy_says_and_may_have_run() {
    let (router, _switch) = with(SETTLE, "{ do = \"fail-died\" }").await;
    let outcome = killed_under(&router).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7008, json!("unknown")),
        "{outcome:?}"
    );
    assert_eq!(outcome.data("policy_code"), "test");
    let message = outcome.body.unwrap_err()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("died|work|") && message.contains("|1|false|0|"),
        "{message}"
    );
}

#[tokio::test]
async fn a_call_written_again_waits_no_longer_than_a_policy_says() {
    let (router, switch) = with(SETTLE, "{ do = \"hold-died\", number = 200 }").await;
    switch.off();
    let outcome = killed_under(&router).await;
    // It was written once, so that nobody may say that it did not run.
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7004, json!("unknown")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_call_that_is_about_to_wait_fails_or_waits_as_a_policy_says() {
    let (router, switch) = with(SETTLE, "{ do = \"fail-held\" }").await;
    switch.down(&router).await;
    let agent = Agent::modern(&router.address);
    let outcome = agent.call("read", json!({})).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7008, json!("rejected")),
        "{outcome:?}"
    );
    let message = outcome.body.unwrap_err()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("held|work|") && message.contains("|0|false|0|"),
        "{message}"
    );

    let (router, switch) = with(SETTLE, "{ do = \"hold-held\", number = 200 }").await;
    switch.down(&router).await;
    let outcome = Agent::modern(&router.address).call("read", json!({})).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7003, json!("not_sent")),
        "{outcome:?}"
    );
    assert!(outcome.data("waited_ms").as_u64().unwrap() >= 200, "{outcome:?}");
    // One for which it is soon enough goes.
    let agent = Agent::modern(&router.address);
    switch.on();
    router.ready("work").await;
    assert_eq!(agent.call("read", json!({})).await.code(), 0);
}

#[tokio::test]
async fn policies_hear_of_calls_targets_and_reloads_and_hold_nobody_up() {
    let (router, switch) = with("observe = [\"judge\"]", "{ do = \"next\" }").await;
    let heard = |kind: &str, what: &[(&str, Value)]| {
        let log = router.log();
        let events = log.lines().filter_map(|line| {
            let (_, event) = line.split_once(&format!("heard 0 {kind} "))?;
            // The line ends with the plugin's name.
            let end = event.rfind('}')?;
            serde_json::from_str::<Value>(&event[..=end]).ok()
        });
        let mut fitting = events.filter(|event| what.iter().all(|(key, value)| event[key] == *value));
        fitting.next()
    };
    let agent = Agent::modern(&router.address);
    assert_eq!(agent.call("read", json!({})).await.code(), 0);
    let call = until("the call", || heard("call", &[("outcome", json!("result"))])).await;
    assert_eq!(
        (&call["method"], &call["subject"]),
        (&json!("tools/call"), &json!("read"))
    );
    assert_eq!((&call["backend"], &call["incarnation"]), (&json!("work"), &json!(1)));
    assert!(call["took_ms"].as_f64().unwrap() > 0.0);
    assert!(agent.call("no such tool", json!({})).await.code() != 0);
    until("the refused one", || {
        heard("call", &[("outcome", json!("error")), ("code", json!(-32602))])
    })
    .await;
    let gone = agent.start(7, "hang", json!({})).await;
    router
        .backend_until("work", "the call in flight", |b| b["in_flight"] == 1)
        .await;
    gone.disconnect();
    until("the cancelled one", || {
        heard("call", &[("outcome", json!("cancelled"))])
    })
    .await;
    switch.down(&router).await;
    until("the death", || {
        heard("target", &[("incarnation", json!(2)), ("state", json!("starting"))])
    })
    .await;
    router.configure(&config("observe = [\"judge\"]", "{ do = \"none\" }"));
    until("the reload", || heard("reload", &[("generation", json!(2))])).await;

    // One that never comes back from an event is in nobody's way, and is switched off after a while.
    router.configure(&config("observe = [\"judge\"]", "{ do = \"loop\" }"));
    until("the change", || (router.status()["generation"] == 3).then_some(())).await;
    switch.on();
    router.ready("work").await;
    for _ in 0..20 {
        assert_eq!(agent.call("read", json!({})).await.code(), 0);
    }
    let judge = |status: Value| {
        status["plugins"]
            .as_array()?
            .iter()
            .find(|p| p["name"] == "judge")
            .cloned()
    };
    until("its faults", || {
        (judge(router.status())?["faults"].as_u64()? > 0).then_some(())
    })
    .await;
}
