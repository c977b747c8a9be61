//! What happens around a call while it is held: policies change, and its agent is told how it goes.

use serde_json::json;

use crate::support::agent::Next;
use crate::support::{Agent, Router, Switch, in_time};

fn config(guard: &str) -> String {
    let guests = concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/target/guests");
    assert!(
        std::path::Path::new(guests).exists(),
        "{guests} is missing: run `make test` (or plugins/build.sh --test-guests)"
    );
    format!(
        "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\nstable-after = \"0s\"\n\
         [backends.work.gate]\nprogress = \"100ms\"\n\
         [pipeline]\nroute = [\"guard\"]\nselect = []\n\
         [plugins.guard]\nfile = \"@dir/guard.wasm\"\nwall = \"5s\"\nconfig = {guard}\n"
    )
}

fn put_guest(to: &std::path::Path, label: &str) {
    let guest = format!(
        "{}/plugins/target/guests/guest-{label}.wasm",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::copy(guest, to.join("guard.wasm.new")).unwrap();
    std::fs::rename(to.join("guard.wasm.new"), to.join("guard.wasm")).unwrap();
}

async fn down(guard: &str) -> (Router, Switch) {
    let folder = tempfile::tempdir().unwrap();
    let flags = format!("--file {0}/file --order-log {0}/order", folder.path().display());
    let switch = Switch::new(folder.path(), "work", &flags);
    put_guest(folder.path(), "a");
    let router = Router::start_in(folder, &config(guard)).await;
    router.ready("work").await;
    switch.down(&router).await;
    (router, switch)
}

#[tokio::test]
async fn a_policy_that_changes_while_a_call_is_held_denies_it() {
    let (router, switch) = down("{ do = \"next\" }").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    let calls = [
        legacy.start_told(1, "append", json!({ "id": "legacy" })).await,
        modern.start(1, "append", json!({ "id": "modern" })).await,
    ];
    router.held("work", 2).await;
    router.configure(&config("{ do = \"deny\", text = \"closed for repairs\" }"));
    for call in calls {
        let denied = call.outcome().await;
        assert_eq!(
            (denied.code(), denied.data("delivery")),
            (7008, json!("rejected")),
            "{denied:?}"
        );
        assert_eq!(denied.data("policy_code"), "test");
        let message = denied.body.unwrap_err()["message"].to_string();
        assert!(message.contains("closed for repairs"), "{message}");
    }
    router.held("work", 0).await;
    // And what is allowed again is held again, and goes.
    router.configure(&config("{ do = \"next\" }"));
    crate::support::until("the third generation", || {
        (router.status()["generation"] == 3).then_some(())
    })
    .await;
    let call = legacy.start(1, "append", json!({ "id": "later" })).await;
    router.held("work", 1).await;
    switch.on();
    assert!(call.outcome().await.text().is_some());
    assert_eq!(router.lines("order"), ["later"]);
}

#[tokio::test]
async fn a_plugin_file_that_changes_while_a_call_is_held_leaves_it_its_place() {
    let (router, switch) = down("{ do = \"next\" }").await;
    let agent = Agent::legacy(&router.address).await;
    let mut calls = Vec::new();
    for n in 0..4 {
        calls.push(agent.start(n, "append", json!({ "id": n.to_string() })).await);
        router.held("work", usize::try_from(n).unwrap() + 1).await;
        put_guest(router.path(), if n % 2 == 0 { "b" } else { "a" });
        let generation = n + 2;
        crate::support::until("a new generation", || {
            (router.status()["generation"] == generation).then_some(())
        })
        .await;
        assert_eq!(router.backend("work")["held"], n + 1);
    }
    switch.on();
    for call in calls {
        assert!(call.outcome().await.text().is_some());
    }
    assert_eq!(router.lines("order"), ["0", "1", "2", "3"]);
}

/// The router's words while a call is held and the server's own afterwards, on one stream.
#[tokio::test]
async fn progress_rises_from_the_first_word_of_the_router_to_the_last_of_the_server() {
    let (router, switch) = down("{ do = \"next\" }").await;
    for agent in [Agent::legacy(&router.address).await, Agent::modern(&router.address)] {
        let mut call = agent
            .start_told("tok\u{e9}n", "progress", json!({ "steps": 4, "ms": 20 }))
            .await;
        let mut words = Vec::new();
        let outcome = loop {
            match in_time("a word", call.next()).await.unwrap() {
                Next::Note(note) => words.push(note),
                Next::Asked(asked) => panic!("nobody asks: {asked}"),
                Next::Done(outcome) => break outcome,
            }
            if words.len() == 3 {
                switch.on();
            }
        };
        assert_eq!(outcome.text(), Some("done after 4 steps"));
        let (mut last, mut of_server) = (f64::NEG_INFINITY, 0);
        for word in &words {
            assert_eq!(word["method"], "notifications/progress");
            assert_eq!(word["params"]["progressToken"], "tok\u{e9}n");
            let progress = word["params"]["progress"].as_f64().unwrap();
            assert!(progress > last, "{progress} after {last}");
            last = progress;
            let message = word["params"]["message"].as_str().unwrap_or_default();
            of_server += usize::from(message.starts_with("step "));
            let told = message.starts_with("waiting for work (") && word["params"].get("total").is_none();
            assert!(told || message.starts_with("step "), "{word}");
        }
        assert_eq!(of_server, 4, "{words:?}");
        assert_eq!(last, 4.0, "the server's own numbers come through where they can");
        switch.down(&router).await;
    }
}

/// A server that was replaced by a newer one, or an older one, while calls wait for it.
#[tokio::test]
async fn a_server_that_comes_back_in_another_era_takes_what_was_held() {
    let (router, switch) = down("{ do = \"next\" }").await;
    let (legacy, modern) = (Agent::legacy(&router.address).await, Agent::modern(&router.address));
    for era in ["modern", "legacy", "modern", "both", "legacy"] {
        switch.flags(&format!("--era {era}"));
        let calls = [
            legacy.start_told(1, "progress", json!({ "steps": 2, "ms": 20 })).await,
            modern.start_told(1, "progress", json!({ "steps": 2, "ms": 20 })).await,
        ];
        router.held("work", 2).await;
        let started = std::time::Instant::now();
        switch.on();
        for call in calls {
            let outcome = call.outcome().await;
            assert_eq!(outcome.text(), Some("done after 2 steps"), "now {era}: {outcome:?}");
            let steps = outcome.notes.iter().filter(|n| n.to_string().contains("step ")).count();
            assert_eq!(steps, 2, "now {era}: {outcome:?}");
        }
        let status = router.ready("work").await;
        println!(
            "{era}: {:?}, {} in incarnation {}",
            started.elapsed(),
            status["targets"][0]["era"],
            status["targets"][0]["incarnation"]
        );
        assert!(era == "both" || status["targets"][0]["era"] == era);
        switch.down(&router).await;
    }
}
