//! Servers over HTTP killed under load, and started again at their ports without their sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::json;

use super::Demo;
use crate::kills::{Done, load, report};
use crate::support::{Agent, Router, count, in_time};

/// `stable-after`, so that many restarts in a row are no crash loop.
fn config(url: &str, more: &str) -> String {
    format!(
        "[backends.work]\nurl = \"{url}\"\nstable-after = \"1ms\"\n{more}\n[backends.work.gate]\nprogress = \"100ms\"\n"
    )
}

/// Kills and restarts the server under the calls of eight agents.
async fn under_load(router: &Router, demo: &mut Demo, tool: &'static str, kills: usize) -> BTreeMap<String, Done> {
    router.ready("work").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(router, tool, Arc::clone(&stop)).await;
    for _ in 0..kills {
        answered(router).await;
        demo.kill();
        let held = |b: &serde_json::Value| b["held"].as_u64() >= Some(4);
        router.backend_until("work", "calls that wait", held).await;
        demo.again().await;
    }
    answered(router).await;
    stop.store(true, Relaxed);
    let done: BTreeMap<String, Done> = load.join_all().await.into_iter().flatten().collect();
    report(tool, kills, &done);
    done
}

async fn answered(router: &Router) {
    let answered = |b: &serde_json::Value| b["state"] == "ready" && b["targets"][0]["answered"].as_u64() >= Some(20);
    router.backend_until("work", "calls that are answered", answered).await;
}

async fn reads_survive(era: &str) {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path(), &["--era", era]).await;
    let router = Router::start(&config(&demo.url(), "trusted = true")).await;
    let done = under_load(&router, &mut demo, "read", count(4, 20)).await;
    for (id, call) in &done {
        let text = call.outcome.text();
        let text = text.unwrap_or_else(|| panic!("{id}: {:?}", call.outcome));
        assert!(text.starts_with(&format!("read {id} ")), "{text} is no answer to {id}");
    }
    assert!(done.values().any(|d| !d.outcome.notes.is_empty()), "nothing was held");
    assert_eq!(router.status()["sessions"], 6, "no agent had to initialize again");
    assert_eq!(router.backend("work")["targets"][0]["era"], era);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_every_kill_of_a_legacy_server() {
    reads_survive("legacy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_every_kill_of_a_modern_server() {
    reads_survive("modern").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_done_once_or_the_error_says_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path(), &["--era", "legacy", "--file", "file"]).await;
    let router = Router::start(&config(&demo.url(), "")).await;
    let done = under_load(&router, &mut demo, "append", count(4, 20)).await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let file = std::fs::read_to_string(folder.path().join("file")).unwrap();
    file.lines()
        .for_each(|id| *times.entry(id.to_owned()).or_default() += 1);
    for (id, call) in &done {
        let times = times.remove(id).unwrap_or(0);
        match call.outcome.code() {
            0 => assert_eq!(times, 1, "{id} was answered as done"),
            7004 => assert!(times <= 1, "{id} was done {times} times"),
            code => panic!("{id} failed with {code}: {:?}", call.outcome),
        }
    }
    assert!(times.is_empty(), "done, but never asked for: {times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_at_the_kill_is_told_so_and_held_ones_wait() {
    for era in ["legacy", "modern"] {
        let folder = tempfile::tempdir().unwrap();
        let mut demo = Demo::start(folder.path(), &["--era", era]).await;
        let router = Router::start(&config(&demo.url(), "")).await;
        router.ready("work").await;
        let agent = Agent::modern(&router.address);
        let steps = json!({ "steps": 10_000, "ms": 20 });
        let mut hanging = agent.start_told(1, "progress", steps).await;
        assert!(hanging.first_note().await.is_none(), "the server has it");
        demo.kill();
        let outcome = hanging.outcome().await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7004, "unknown".into()),
            "{outcome:?}"
        );
        let waiting = agent.start(2, "echo", json!({ "text": "held" })).await;
        router.held("work", 1).await;
        let target = router.backend("work")["targets"][0].clone();
        assert!(target["url"] == demo.url() && target["pid"].is_null(), "{target}");
        demo.again().await;
        assert_eq!(waiting.outcome().await.text(), Some("held"), "{era}");
        println!("{era}: {}", router.backend("work"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_long_is_no_crash_loop() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path(), &[]).await;
    demo.kill();
    let more = "crash-loop = { deaths = 1 }\nbackoff = { min = \"1ms\", base = \"1ms\", max = \"5ms\" }";
    let router = Router::start(&config(&demo.url(), more)).await;
    let agent = Agent::modern(&router.address);
    let tries = |b: &serde_json::Value| b["targets"][0]["incarnation"].as_u64() >= Some(20);
    let backend = router.backend_until("work", "twenty tries", tries).await;
    assert_ne!(backend["state"], "crash-loop", "{backend}");
    demo.again().await;
    router.ready("work").await;
    let outcome = agent.call("echo", json!({ "text": "back" })).await;
    assert_eq!(outcome.text(), Some("back"), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_urls_the_one_that_is_there_has_all_calls() {
    let folder = tempfile::tempdir().unwrap();
    let one = Demo::start(folder.path(), &[]).await;
    let mut other = Demo::start(folder.path(), &[]).await;
    let config = format!(
        "[backends.work]\nurls = [\"{}\", \"{}\"]\ntrusted = true\n",
        one.url(),
        other.url()
    );
    let router = Router::start(&config).await;
    router.ready("work").await;
    let agent = Agent::legacy(&router.address).await;
    let read = async |n: u64| {
        let outcome = agent.call("read", json!({ "id": n.to_string() })).await;
        let text = outcome.text().unwrap_or_else(|| panic!("{outcome:?}")).to_owned();
        text.rsplit(' ')
            .next()
            .unwrap()
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<u32>()
            .unwrap()
    };
    other.kill();
    for n in 0..40 {
        assert_eq!(read(n).await, one.pid());
    }
    let backend = router.backend("work");
    assert_eq!(backend["targets"][0]["state"], "ready");
    assert_ne!(backend["targets"][1]["state"], "ready");
    other.again().await;
    router.ready("work").await;
    let used = in_time("the other one to be used", async {
        let mut n = 100;
        loop {
            n += 1;
            // Two at a time: the one with fewer calls takes the second.
            let (a, b) = tokio::join!(read(2 * n), read(2 * n + 1));
            if [a, b].contains(&other.pid()) {
                break n - 100;
            }
        }
    })
    .await;
    println!("the other one was used again at try {used}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn urls_come_and_go_and_the_end_is_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let one = Demo::start(folder.path(), &["--era", "legacy"]).await;
    let other = Demo::start(folder.path(), &["--era", "modern"]).await;
    let mut router = Router::start(&config(&one.url(), "")).await;
    let first = router.ready("work").await;
    router.ask(&json!({ "command": "restart", "backend": "work" }));
    let again = |b: &serde_json::Value| b["state"] == "ready" && b["targets"][0]["incarnation"] == 2;
    router.backend_until("work", "a second session", again).await;
    assert_eq!(first["targets"][0]["url"], one.url());
    router.configure(&format!(
        "[backends.work]\nurls = [\"{}\", \"{}\"]\n",
        other.url(),
        one.url()
    ));
    let both = |b: &serde_json::Value| {
        b["targets"].as_array().is_some_and(|t| t.len() == 2) && b["targets"][0]["url"] == other.url()
    };
    router.backend_until("work", "two targets", both).await;
    let backend = router.ready("work").await;
    let era = |n: usize| backend["targets"][n]["era"].clone();
    assert_eq!((era(0), era(1)), (json!("modern"), json!("legacy")), "{backend}");
    let outcome = Agent::modern(&router.address)
        .call("echo", json!({ "text": "x" }))
        .await;
    assert_eq!(outcome.text(), Some("x"));
    router.terminate();
    let status = router.ended().await;
    assert!(status.success(), "{status}");
    assert!(router.log().contains("stopped"), "{}", router.log());
}
