//! The router is killed, between calls and during them, and started again by the shim or by somebody else.

use std::collections::BTreeMap;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::place::{CONFIG, Place};
use crate::shim::{Shim, text};
use crate::support::{count, until};

/// Who starts the next router.
#[derive(Clone, Copy, PartialEq)]
enum Starter {
    Shim,
    Test,
}

async fn killed_again_and_again(modern: bool, starter: Starter) {
    let mut place = Place::new(CONFIG);
    let arguments: &[&str] = if starter == Starter::Test { &["--no-start"] } else { &[] };
    if starter == Starter::Test {
        place.run().await;
    }
    let mut shim = Shim::open(&place, modern, arguments).await;
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    let rounds = count(5, 50);
    for round in 0..rounds {
        // Between calls: nobody notices, and what changes something does it once.
        place.kill().await;
        if starter == Starter::Test && round % 2 == 0 {
            place.run().await;
        }
        let id = format!("between-{round}");
        let append = shim.call("append", json!({ "id": id })).await;
        let list = shim.send("tools/list", json!({})).await;
        if starter == Starter::Test && round % 2 == 1 {
            place.run().await;
        }
        assert_eq!(text(&shim.answer(append).await), format!("appended {id}"));
        assert!(shim.answer(list).await["result"]["tools"].as_array().unwrap().len() > 9);

        // During calls, one of which is known to be at the server.
        let params =
            json!({ "name": "progress", "arguments": { "steps": 100, "ms": 20 }, "_meta": { "progressToken": round } });
        let told = shim.send("tools/call", params).await;
        let id = format!("during-{round}");
        let append = shim.call("append", json!({ "id": id })).await;
        let list = shim.send("tools/list", json!({})).await;
        let mut answers: BTreeMap<i64, Value> = BTreeMap::new();
        let mut killed = false;
        while answers.len() < 3 {
            let heard = shim.heard().await;
            match heard["method"].as_str() {
                Some("notifications/progress") if !killed => {
                    killed = true;
                    place.kill().await;
                    if starter == Starter::Test {
                        place.run().await;
                    }
                }
                Some("notifications/progress" | "notifications/tools/list_changed") => {}
                Some(other) => panic!("{other} was not asked for"),
                None => assert!(answers.insert(heard["id"].as_i64().unwrap(), heard).is_none()),
            }
        }
        assert!(
            answers[&list]["result"]["tools"].is_array(),
            "a read is answered: {}",
            answers[&list]
        );
        assert_eq!(answers[&told]["error"]["code"], 7004, "{}", answers[&told]);
        let times = place.lines().into_iter().filter(|line| *line == id).count();
        let end = &answers[&append];
        let words = match end["error"]["code"].as_i64() {
            None => {
                assert_eq!((text(end), times), (format!("appended {id}").as_str(), 1));
                "appended"
            }
            Some(7004) => {
                assert_eq!(end["error"]["data"]["delivery"], "unknown");
                assert!(times <= 1, "{id} was done {times} times");
                "unknown"
            }
            Some(_) => panic!("{end}"),
        };
        *ends.entry(words).or_default() += 1;
    }
    for round in 0..rounds {
        in_the_middle(&mut shim, &mut place, starter, round, &mut ends).await;
    }
    println!("{rounds} rounds of three kills each, modern: {modern}: {ends:?}");
    let between = place.lines().iter().filter(|l| l.starts_with("between")).count();
    assert_eq!(between, rounds, "each was done once");
    let allowed = |note: &Value| !modern && note["method"] == "notifications/tools/list_changed";
    assert!(shim.notes.iter().all(allowed), "{:?}", shim.notes);
    let (rest, status) = shim.close().await;
    assert!(rest.iter().all(allowed) && status.success(), "{rest:?} {status}");
}

/// Calls that are sent without waiting, and a kill at a moment of its own: each is answered, and the answer is true.
async fn in_the_middle(
    shim: &mut Shim,
    place: &mut Place,
    starter: Starter,
    round: usize,
    ends: &mut BTreeMap<&str, usize>,
) {
    let mut calls = Vec::new();
    for n in 0..20 {
        let id = format!("middle-{round}-{n}");
        calls.push((shim.call("append", json!({ "id": id })).await, id));
        if n == round % 20 {
            place.kill().await;
        }
    }
    if starter == Starter::Test {
        place.run().await;
    }
    for (call, id) in calls {
        let end = shim.answer(call).await;
        let times = place.lines().into_iter().filter(|line| *line == id).count();
        let words = match end["error"]["code"].as_i64() {
            None => {
                assert_eq!((text(&end), times), (format!("appended {id}").as_str(), 1));
                "appended in the middle"
            }
            Some(7004) => {
                assert_eq!(end["error"]["data"]["delivery"], "unknown");
                assert!(times <= 1, "{id} was done {times} times");
                "unknown in the middle"
            }
            Some(_) => panic!("{end}"),
        };
        *ends.entry(words).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_client_whose_shim_starts_routers() {
    killed_again_and_again(false, Starter::Shim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_client_whose_shim_starts_routers() {
    killed_again_and_again(true, Starter::Shim).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_client_of_a_router_that_others_start() {
    killed_again_and_again(false, Starter::Test).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_client_of_a_router_that_others_start() {
    killed_again_and_again(true, Starter::Test).await;
}

#[tokio::test]
async fn a_router_that_is_told_to_end_answers_and_the_next_one_takes_over() {
    let place = Place::new(CONFIG);
    for modern in [false, true] {
        let mut shim = Shim::open(&place, modern, &[]).await;
        let listen = match modern {
            true => Some(shim.send("subscriptions/listen", json!({ "notifications": {} })).await),
            false => None,
        };
        let params =
            json!({ "name": "progress", "arguments": { "steps": 20, "ms": 20 }, "_meta": { "progressToken": 1 } });
        let call = shim.send("tools/call", params).await;
        while shim.heard().await["method"] != "notifications/progress" {}
        let old = place.routers();
        assert_eq!(old.len(), 1);
        kill_process(old[0], Signal::TERM).unwrap();
        // While the old one drains, another one is started for what comes.
        assert_eq!(
            text(&shim.ask_tool("append", json!({ "id": "next" })).await),
            "appended next"
        );
        assert_eq!(text(&shim.answer(call).await), "done after 20 steps");
        assert!(
            shim.notes
                .iter()
                .all(|n| n["method"] != "notifications/subscriptions/acknowledged")
        );
        until("the end of the old one", || {
            (!place.routers().contains(&old[0])).then_some(())
        })
        .await;
        // The signal may have been slower than the call.
        assert_eq!(text(&shim.ask_tool("echo", json!({ "text": "x" })).await), "x");
        let status = place.status().await;
        assert_ne!(
            status["pid"],
            json!(old[0].as_raw_nonzero().get()),
            "the new one has the admin socket"
        );
        let (rest, status) = shim.close().await;
        assert!(status.success());
        assert!(
            listen.is_none() || rest.iter().all(|m| m["id"] != json!(listen)),
            "{rest:?}"
        );
    }
}

#[tokio::test]
async fn nobody_starts_a_router_for_a_client_that_wants_nothing() {
    let mut place = Place::new(CONFIG);
    let mut shim = Shim::open(&place, false, &[]).await;
    place.kill().await;
    // Started by hand, it is found, and the client hears only that lists may have changed.
    place.run().await;
    assert_eq!(shim.heard().await["method"], "notifications/tools/list_changed");
    assert_eq!(
        place.log().matches("policies active").count(),
        1,
        "the shim started one router, at first"
    );
    let (rest, status) = shim.close().await;
    assert!(rest.is_empty() && status.success());
}
