//! Servers that keep dying: calls learn of it soon, the others go on, nothing spins, and a cure is taken up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::support::{Agent, Router, Switch, children, count};

/// `work` beside `other`; three young deaths are a crash loop.
const CONFIG: &str = r#"
[endpoints.default]
names = "auto"

[backends.other]
command = "@program"
args = ["demo-server"]

[backends.work]
command = "/bin/sh"
args = ["@dir/work.sh"]
stable-after = "10s"
[backends.work.backoff]
min = "20ms"
base = "50ms"
max = "200ms"
[backends.work.crash-loop]
deaths = 3
probe = "300ms"
probe-max = "600ms"
"#;

const DAY: u64 = 24 * 3600;

fn time_of_day(since_some_midnight: Duration) -> Duration {
    since_some_midnight - Duration::from_secs(since_some_midnight.as_secs() / DAY * DAY)
}

/// The time of day at which the router logged the first line that holds `words`.
fn logged(log: &str, words: &str) -> Duration {
    let line = log.lines().find(|line| line.contains(words)).expect(words);
    let clock = line
        .split_once('T')
        .and_then(|(_, rest)| rest.split_once('Z'))
        .unwrap()
        .0;
    let seconds = clock
        .split(':')
        .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap());
    Duration::from_secs_f64(seconds)
}

#[tokio::test]
async fn a_crash_loop_is_told_at_once_bounded_and_cured() {
    let folder = tempfile::tempdir().unwrap();
    let switch = Switch::new(folder.path(), "work", "");
    let router = Router::start_in(folder, CONFIG).await;
    router.ready("work").await;
    router.ready("other").await;
    let agent = Agent::legacy(&router.address).await;
    switch.flags("--die-at-start");
    switch.off();
    router.kill("work", 0).await;
    let mut held = Vec::new();
    for n in 0..5 {
        held.push(agent.start(n, "work__read", json!({ "id": n.to_string() })).await);
    }
    router.held("work", 5).await;
    let started = Instant::now();
    switch.on();
    for call in held {
        let outcome = call.outcome().await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7005, json!("not_sent")),
            "{outcome:?}"
        );
        assert_eq!(outcome.data("backend"), "work");
        assert!(outcome.data("retry_after_ms").is_u64(), "{outcome:?}");
    }
    let told = time_of_day(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    println!("held calls were told of the crash loop after {:?}", started.elapsed());
    println!(
        "of those after the decision: {:?}",
        told.saturating_sub(logged(&router.log(), "-> crash-loop"))
    );
    let now = Instant::now();
    let refused = agent.call("work__read", json!({})).await;
    assert_eq!(refused.code(), 7005, "{refused:?}");
    println!("the next one after {:?}", now.elapsed());

    // Probes go on, each one refused call away from nobody's notice; `other` does not notice at all.
    let (first, began) = (
        router.backend("work")["targets"][0]["incarnation"].as_u64().unwrap(),
        Instant::now(),
    );
    let mut others = 0;
    while began.elapsed() < Duration::from_secs(count(2, 10) as u64) {
        let other = agent.call("other__echo", json!({ "text": "x" })).await;
        assert_eq!(other.text(), Some("x"), "{other:?}");
        let refused = agent.call("work__read", json!({})).await;
        assert_eq!(refused.code(), 7005, "{refused:?}");
        others += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let spawns = router.backend("work")["targets"][0]["incarnation"].as_u64().unwrap() - first;
    let most = began.elapsed().as_millis() / 300 + 1;
    println!(
        "{spawns} spawns in {:?}, and {others} calls to the other backend",
        began.elapsed()
    );
    assert!(
        (1..=most).contains(&u128::from(spawns)),
        "{spawns} spawns, at most {most} expected"
    );
    let other = router.backend("other");
    assert_eq!(
        (&other["targets"][0]["incarnation"], &other["state"]),
        (&json!(1), &json!("ready"))
    );

    // A probe that lives opens the gate by itself.
    switch.flags("");
    router.ready("work").await;
    assert!(agent.call("work__read", json!({})).await.text().is_some());
    println!(
        "cured by itself, {} starts",
        router.backend("work")["targets"][0]["incarnation"]
    );
}

#[tokio::test]
async fn a_config_edit_cures_a_crash_loop_before_its_probe() {
    let broken = CONFIG
        .replace("/bin/sh", "@program")
        .replace("\"@dir/work.sh\"", "\"demo-server\", \"--die-at-start\"")
        .replace(
            "probe = \"300ms\"\nprobe-max = \"600ms\"",
            "probe = \"10m\"\nprobe-max = \"10m\"",
        );
    let router = Router::start(&broken).await;
    let is_looping = |b: &serde_json::Value| b["state"] == "crash-loop";
    let status = router.backend_until("work", "a crash loop", is_looping).await;
    println!("{}", status["targets"][0]["why"]);
    let agent = Agent::modern(&router.address);
    router.ready("other").await;
    assert_eq!(
        agent.call("other__echo", json!({ "text": "x" })).await.text(),
        Some("x")
    );
    // It never showed a list; its calls are refused all the same, and by their own reason.
    let to_work = agent.call("work__read", json!({})).await;
    println!("a call to a backend that never came up: {:?}", to_work.body);
    assert_eq!(to_work.code(), 7005);
    let again = crate::support::until_async("a date that comes nearer", async || {
        let again = agent
            .call("work__read", json!({}))
            .await
            .data("retry_after_ms")
            .as_u64();
        (again < to_work.data("retry_after_ms").as_u64()).then_some(again)
    })
    .await;
    assert!(again > Some(60_000), "{again:?}");
    router.configure(&broken.replace(", \"--die-at-start\"", ""));
    router.ready("work").await;
    assert!(agent.call("work__read", json!({})).await.text().is_some());
}

#[tokio::test]
async fn a_server_killed_after_it_was_stable_never_loops() {
    let config = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\nstable-after = \"20ms\"\n\
                  [backends.work.crash-loop]\ndeaths = 2\nwithin = \"10m\"\n";
    let router = Router::start(config).await;
    let agent = Agent::legacy(&router.address).await;
    router.ready("work").await;
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", router.pid().as_raw_nonzero()))
            .unwrap()
            .count()
    };
    let (kills, before) = (count(8, 60), files());
    for n in 0..kills {
        let before = router.ready("work").await;
        assert_eq!(before["targets"][0]["incarnation"], n + 1);
        tokio::time::sleep(Duration::from_millis(30)).await;
        router.kill("work", 0).await;
        assert!(agent.call("read", json!({})).await.text().is_some(), "after kill {n}");
    }
    router.ready("work").await;
    println!(
        "{kills} kills, and never a crash loop; {before} open files before, {} after",
        files()
    );
    assert!(files() <= before + 4, "it loses files");
    assert_eq!(children(router.pid()).len(), 1, "a zombie is left");
}

/// Servers that live but never get through the handshake are given up as well, and leave nothing behind.
#[tokio::test]
async fn handshakes_that_fail_end_in_a_crash_loop_too() {
    for (flag, why) in [("--refuse-handshake", "handshake"), ("--silent-handshake", "not ready")] {
        let folder = tempfile::tempdir().unwrap();
        let switch = Switch::new(folder.path(), "work", flag);
        let config = CONFIG.replace("stable-after = \"10s\"", "start-timeout = \"200ms\"");
        let router = Router::start_in(folder, &config).await;
        let started = Instant::now();
        let agent = Agent::legacy(&router.address).await;
        let outcome = agent.call("work__read", json!({})).await;
        assert_eq!(
            (outcome.code(), outcome.data("delivery")),
            (7005, json!("not_sent")),
            "{outcome:?}"
        );
        println!(
            "{flag}: {:?}, {}",
            started.elapsed(),
            outcome.body.unwrap_err()["message"]
        );
        let status = router
            .backend_until("work", "a crash loop", |b| {
                b["targets"][0]["why"].as_str().is_some_and(|w| w.contains(why))
            })
            .await;
        assert_eq!(status["state"], "crash-loop", "{status}");
        switch.flags("--junk-at-start");
        router.ready("work").await;
        assert!(agent.call("work__read", json!({})).await.text().is_some());
        assert_eq!(children(router.pid()).len(), 2, "the other one and this one");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_at_once_and_cured_by_an_edit() {
    let config = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n";
    let router = Router::start(&config.replace("@program", "@dir/nothing")).await;
    let agent = Agent::modern(&router.address);
    let outcome = agent.call("read", json!({})).await;
    assert_eq!(
        (outcome.code(), outcome.data("delivery")),
        (7001, json!("not_sent")),
        "{outcome:?}"
    );
    println!("{}", outcome.body.unwrap_err()["message"]);
    router.configure(config);
    router.ready("work").await;
    assert!(agent.call("read", json!({})).await.text().is_some());
}
