//! Everything at once, in an order that a seed decides: kills, restarts, edits and new policies under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::kills::{Done, load, report};
use crate::support::{Agent, Router, children, count, until};

/// The seed, which is printed: POINTSMAN_SEED repeats a run.
fn dice() -> Dice {
    let given = std::env::var("POINTSMAN_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("POINTSMAN_SEED={seed}");
    Dice(seed)
}

fn config(replicas: u64, name: u64, drain: &str) -> String {
    format!(
        "[backends.work]\ncommand = \"@program\"\nreplicas = {replicas}\nstable-after = \"0s\"\n\
         args = [\"demo-server\", \"--name\", \"n{name}\", \"--file\", \"@dir/file\", \"--start-delay\", \"30\"]\n\
         [backends.work.stop]\ndrain = \"{drain}\"\n[backends.work.gate]\nprogress = \"100ms\"\n"
    )
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The process of some target that has one.
fn hit(router: &Router, dice: &mut Dice, signal: Signal) {
    let family = children(router.pid());
    if !family.is_empty() {
        let at = usize::try_from(dice.roll(family.len() as u64)).unwrap();
        // It may have ended meanwhile.
        let _ = rustix::process::kill_process(family[at], signal);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_answers_are_true() {
    let mut dice = dice();
    let router = Router::start(&config(1, 0, "1s")).await;
    router.ready("work").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&router, "append", Arc::clone(&stop)).await;
    let events = count(25, 300);
    let (mut done, mut last) = (BTreeMap::<&str, usize>::new(), (1, 0));
    for n in 0..events {
        let what = match dice.roll(8) {
            0 | 1 => {
                hit(&router, &mut dice, Signal::KILL);
                "kill"
            }
            2 => {
                hit(&router, &mut dice, Signal::STOP);
                tokio::time::sleep(Duration::from_millis(dice.roll(60))).await;
                children(router.pid()).into_iter().for_each(|pid| {
                    let _ = rustix::process::kill_process(pid, Signal::CONT);
                });
                "freeze"
            }
            3 => {
                hit(&router, &mut dice, Signal::TERM);
                "term"
            }
            4 => {
                router.ask(&json!({ "command": "restart", "backend": "work" }));
                "restart"
            }
            5 => {
                last.0 = dice.roll(3) + 1;
                router.configure(&config(last.0, last.1, "1s"));
                "replicas"
            }
            6 => {
                last.1 = n as u64;
                router.configure(&config(last.0, last.1, "1s"));
                "command"
            }
            _ => {
                let before = router.backend("work")["targets"].as_array().unwrap().len();
                assert!((1..=3).contains(&before));
                router.ask(&json!({ "command": "reload" }));
                "reload"
            }
        };
        *done.entry(what).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(dice.roll(120))).await;
    }
    router.ask(&json!({ "command": "reload" }));
    stop.store(true, Relaxed);
    println!("{done:?}");
    let calls: BTreeMap<String, Done> = load.join_all().await.into_iter().flatten().collect();
    report("chaos", events, &calls);

    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    router
        .lines("file")
        .into_iter()
        .for_each(|id| *times.entry(id).or_default() += 1);
    for (id, call) in &calls {
        let times = times.remove(id).unwrap_or(0);
        match call.outcome.code() {
            0 => assert_eq!(times, 1, "{id} was answered as done"),
            7004 => assert!(times <= 1, "{id} was done {times} times"),
            code => panic!("{id} failed with {code}, done {times} times: {:?}", call.outcome),
        }
    }
    assert!(times.is_empty(), "done, but never asked for: {times:?}");

    // And in the end all is as the configuration says.
    let target = last.0;
    let settled = router
        .backend_until("work", "the replicas", |b| {
            let targets = b["targets"].as_array().unwrap();
            targets.len() as u64 == target
                && targets.iter().all(|t| t["state"] == "ready")
                && b["held"] == 0
                && b["in_flight"] == 0
        })
        .await;
    println!(
        "{}",
        settled["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["incarnation"].to_string())
            .collect::<Vec<_>>()
            .join(" ")
    );
    until("as many processes as targets", || {
        (children(router.pid()).len() as u64 == target).then_some(())
    })
    .await;
}

/// Agents that take calls back at any moment, while the server dies again and again: what is said of such a call
/// is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_taken_back_never_ran_if_its_answer_says_so() {
    let mut dice = dice();
    let router = Router::start(&config(1, 0, "1s")).await;
    router.ready("work").await;
    let mut agents = JoinSet::new();
    let rounds = count(60, 600);
    for number in 0..6_u64 {
        let agent = Agent::legacy(&router.address).await;
        let mut dice = Dice(dice.roll(1 << 30) + number);
        agents.spawn(async move {
            let mut ended = Vec::new();
            for n in 0..rounds {
                let id = format!("{number}-{n}");
                let call = agent.start(n, "append", json!({ "id": id })).await;
                let patience = Duration::from_micros(dice.roll(4) * dice.roll(10_000));
                let taken_back = async {
                    tokio::time::sleep(patience).await;
                    agent.cancel(n).await;
                };
                let (outcome, ()) = tokio::join!(call.outcome(), taken_back);
                ended.push((id, outcome));
            }
            ended
        });
    }
    let mut calls = Vec::new();
    loop {
        tokio::select! {
            Some(ended) = agents.join_next() => calls.extend(ended.unwrap()),
            () = tokio::time::sleep(Duration::from_millis(dice.roll(300))), if !agents.is_empty() => {
                hit(&router, &mut dice, Signal::KILL);
            }
            else => break,
        }
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    router
        .lines("file")
        .into_iter()
        .for_each(|id| *times.entry(id).or_default() += 1);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for (id, outcome) in calls {
        let times = times.remove(&id).unwrap_or(0);
        let delivery = outcome.data("delivery");
        *kinds
            .entry(format!("{} {delivery} ran {times}", outcome.code()))
            .or_default() += 1;
        match (outcome.code(), delivery.as_str()) {
            (0, _) => assert_eq!(times, 1, "{id} was answered as done"),
            (7011, Some("not_sent")) => assert_eq!(times, 0, "{id} was taken back before it was sent"),
            (7004 | 7011, Some("unknown")) => assert!(times <= 1, "{id} was done {times} times"),
            _ => panic!("{id}: {outcome:?}"),
        }
    }
    println!("{kinds:?}");
    assert!(times.is_empty(), "done, but never asked for: {times:?}");
    router
        .backend_until("work", "an empty gate", |b| b["held"] == 0 && b["in_flight"] == 0)
        .await;
}
