//! Many agents of both eras at one server at once: everything that comes back is one's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::fake::{agent, asked, router};
use crate::support::count;
use crate::talk::{subscribed, updated};

const AGENTS: usize = 50;

async fn exchanges(server: &'static str, keys: &str, all: usize) {
    let router = Arc::new(router(server, keys).await);
    let (done, started) = (Arc::new(AtomicUsize::new(0)), std::time::Instant::now());
    let mut tasks = Vec::new();
    for n in 0..AGENTS {
        let (router, done) = (Arc::clone(&router), Arc::clone(&done));
        tasks.push(tokio::spawn(async move {
            let era = if n % 2 == 0 { "legacy" } else { "modern" };
            let agent = agent(&router, era).await;
            // A few of them hear of a resource that all touch.
            let mut stream = match n < 6 {
                true => Some(subscribed(&agent, era).await),
                false => None,
            };
            for round in 0..all / AGENTS {
                let mine = format!("agent {n} round {round}");
                match (round % 4, &mut stream) {
                    (0, Some(stream)) => {
                        let outcome = agent.call("touch", json!({ "uri": "test://r1" })).await;
                        assert_eq!(outcome.text(), Some("touched"), "{mine}: {outcome:?}");
                        assert_eq!(updated(stream).await["params"]["uri"], "test://r1");
                    }
                    (1, _) => {
                        let params = json!({ "text": mine, "uri": "none://" });
                        let outcome = agent.start_told(mine.clone(), "touch", params).await.outcome().await;
                        assert_eq!(outcome.text(), Some("touched"), "{mine}: {outcome:?}");
                        for note in &outcome.notes {
                            assert_eq!(note["params"]["progressToken"], mine);
                            let said = note["params"]["message"].as_str().unwrap_or_default();
                            assert!(said == mine || said.starts_with("waiting for"), "{mine} heard {said}");
                        }
                        assert!(!outcome.notes.is_empty());
                    }
                    (kind, _) => {
                        let kind = if kind == 2 { "elicit" } else { "sample" };
                        let answer = json!({ "action": "accept", "role": "assistant", "content": mine });
                        let arguments = json!({ "kind": kind, "text": mine });
                        let (question, outcome) = asked(&agent, era, arguments, &answer).await;
                        assert!(
                            question["params"].to_string().contains(&mine),
                            "{mine} was asked {question}"
                        );
                        let said = outcome.text().unwrap_or_else(|| panic!("{mine}: {outcome:?}"));
                        let said: Value = serde_json::from_str(said).expect("JSON");
                        assert_eq!((&said["text"], &said["answer"]), (&json!(mine), &answer));
                    }
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for task in tasks {
        task.await.expect("nothing crossed");
    }
    let done = done.load(Ordering::Relaxed);
    assert_eq!(done, all);
    println!(
        "{AGENTS} agents, a {server} server ({}): {done} exchanges, 0 crossed, {:.0}/s",
        keys.lines().next().unwrap_or_default(),
        done as f64 / started.elapsed().as_secs_f64()
    );
}

const GATE: &str = "gate = { wait = \"60s\", capacity = 1000 }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_shared_child_one_call_at_a_time() {
    exchanges(
        "legacy",
        &format!("server-requests = \"serialize\"\n{GATE}"),
        count(1_000, 50_000),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_children_of_their_own() {
    exchanges(
        "legacy",
        &format!("scope = \"session\"\nserver-requests = \"serialize\"\n{GATE}"),
        count(500, 50_000),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_shared_modern_child() {
    exchanges("modern", GATE, count(500, 50_000)).await;
}
