//! Processes killed under load: what was safe to repeat never fails, and what was not is answered honestly.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::agent::Outcome;
use crate::support::{Agent, Router, count};

/// Agents, and the pause of each between two calls: together 200 calls a second.
const AGENTS: usize = 8;
const PAUSE: Duration = Duration::from_millis(40);

/// A call that ended.
pub struct Done {
    pub agent: usize,
    pub sent: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

/// Calls `tool` from all agents until `stop`; the ids of one agent rise, and it sends a call only when the one
/// before was answered or is known to be held.
pub async fn load(router: &Router, tool: &'static str, stop: Arc<AtomicBool>) -> JoinSet<Vec<(String, Done)>> {
    let mut agents = JoinSet::new();
    for number in 0..AGENTS {
        // Every fourth one is modern: it has no session, and one call at a time.
        let modern = number % 4 == 3;
        let agent = match modern {
            true => Agent::modern(&router.address),
            false => Agent::legacy(&router.address).await,
        };
        agents.spawn(run(agent, number, modern, tool, Arc::clone(&stop)));
    }
    agents
}

async fn run(
    agent: Agent,
    number: usize,
    modern: bool,
    tool: &'static str,
    stop: Arc<AtomicBool>,
) -> Vec<(String, Done)> {
    let (mut done, mut held) = (Vec::new(), JoinSet::new());
    let mut tick = tokio::time::interval(PAUSE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for n in 0_u64.. {
        if stop.load(Relaxed) {
            break;
        }
        tick.tick().await;
        let id = format!("{number}-{n:06}");
        let sent = Instant::now();
        let mut call = agent.start_told(n, tool, json!({ "id": id })).await;
        let ended = move |outcome| Done {
            agent: number,
            sent,
            ended: Instant::now(),
            outcome,
        };
        match call.first_note().await {
            Some(outcome) => {
                call.give_back();
                done.push((id, ended(outcome)));
            }
            None if modern => done.push((id, ended(call.outcome().await))),
            None => {
                held.spawn(async move { (id, ended(call.outcome().await)) });
            }
        }
    }
    done.extend(held.join_all().await);
    done.sort_by(|a, b| a.0.cmp(&b.0));
    done
}

/// Kills the only target of `work` again and again; half of the times it is frozen first, until calls are in flight
/// for sure. Returns between when and when each kill happened.
async fn kills(router: &Router, count: usize) -> Vec<RangeInclusive<Instant>> {
    let mut kills = Vec::new();
    for n in 0..count {
        router
            .backend_until("work", "calls that are answered", |b| {
                b["targets"][0]["answered"].as_u64().unwrap() >= 20
            })
            .await;
        if n % 2 == 1 {
            router.signal("work", 0, Signal::STOP);
            router
                .backend_until("work", "calls in flight", |b| b["in_flight"].as_u64().unwrap() >= 4)
                .await;
        }
        let before = Instant::now();
        router.kill("work", 0).await;
        kills.push(before..=Instant::now());
    }
    router
        .backend_until("work", "calls that are answered", |b| {
            b["targets"][0]["answered"].as_u64().unwrap() >= 20
        })
        .await;
    kills
}

/// `--start-delay`, so that every kill makes calls wait.
fn config(more: &str) -> String {
    format!(
        "[backends.work]\ncommand = \"@program\"\n\
         args = [\"demo-server\", \"--start-delay\", \"150\", \"--file\", \"@dir/file\", \"--order-log\", \"@dir/order\"]\n\
         stable-after = \"1ms\"\n{more}\n[backends.work.gate]\nprogress = \"100ms\"\n"
    )
}

/// Within each agent the ids rise; one may stand there twice in a row where it was repeated.
fn assert_order(order: &[String], repeats: bool) {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for id in order {
        let agent = id.split('-').next().unwrap();
        if let Some(before) = last.insert(agent, id) {
            assert!(
                before < id.as_str() || (repeats && before == id),
                "{id} came after {before}"
            );
        }
    }
}

pub fn report(what: &str, kills: usize, done: &BTreeMap<String, Done>) {
    let mut codes: BTreeMap<i64, usize> = BTreeMap::new();
    done.values()
        .for_each(|d| *codes.entry(d.outcome.code()).or_default() += 1);
    let held = done.values().filter(|d| !d.outcome.notes.is_empty()).count();
    let slowest = done.values().map(|d| d.ended - d.sent).max().unwrap();
    println!(
        "{what}: {kills} kills, {} calls, by code {codes:?}, {held} told that they are held, slowest {slowest:?}",
        done.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_survive_every_kill() {
    let router = Router::start(&config("trusted = true")).await;
    router.ready("work").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&router, "read", Arc::clone(&stop)).await;
    let kills = kills(&router, count(4, 20)).await;
    stop.store(true, Relaxed);
    let done: BTreeMap<String, Done> = load.join_all().await.into_iter().flatten().collect();
    report("read", kills.len(), &done);
    for (id, call) in &done {
        let text = call
            .outcome
            .text()
            .unwrap_or_else(|| panic!("{id}: {:?}", call.outcome));
        assert!(text.starts_with(&format!("read {id} ")), "{text} is no answer to {id}");
    }
    assert!(done.values().any(|d| !d.outcome.notes.is_empty()), "nothing was held");
    assert_eq!(
        router.status()["sessions"],
        AGENTS * 3 / 4,
        "nobody had to initialize again"
    );
    let target = &router.backend("work")["targets"][0];
    assert_eq!(target["incarnation"], kills.len() + 1);
    let order = router.lines("order");
    assert_order(&order, true);
    let log = router.log();
    let repeated = log
        .split("replayed=")
        .skip(1)
        .filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    let repeated: usize = repeated.sum();
    println!(
        "{repeated} written twice, {} of them ran twice",
        order.len() - done.len()
    );
    assert!(repeated > 0, "nothing was in flight at a kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_done_once_or_the_error_says_what_is_known() {
    let router = Router::start(&config("")).await;
    router.ready("work").await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(&router, "append", Arc::clone(&stop)).await;
    let kills = kills(&router, count(4, 20)).await;
    stop.store(true, Relaxed);
    let done: BTreeMap<String, Done> = load.join_all().await.into_iter().flatten().collect();
    report("append", kills.len(), &done);

    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    router
        .lines("file")
        .into_iter()
        .for_each(|id| *times.entry(id).or_default() += 1);
    let (mut ran, mut did_not) = (0, 0);
    for (id, call) in &done {
        let times = times.remove(id).unwrap_or(0);
        let outcome = &call.outcome;
        match outcome.code() {
            0 => {
                assert_eq!(outcome.text(), Some(format!("appended {id}").as_str()));
                assert_eq!(times, 1, "{id} was answered as done");
            }
            7004 => {
                assert_eq!(outcome.data("delivery"), "unknown");
                assert!(times <= 1, "{id} was done {times} times");
                *(if times == 1 { &mut ran } else { &mut did_not }) += 1;
                let hit = kills.iter().any(|k| call.sent <= *k.end() && *k.start() <= call.ended);
                assert!(
                    hit,
                    "{id} of agent {} was in flight at no kill: {outcome:?}",
                    call.agent
                );
            }
            // Nothing else may happen here: what is held is let go in the end.
            code => panic!("{id} failed with {code}: {outcome:?}"),
        }
    }
    assert!(times.is_empty(), "done, but never asked for: {times:?}");
    println!("of those with outcome unknown {ran} had run and {did_not} had not");
    assert!(ran + did_not > 0, "nothing was in flight at a kill");
    assert_order(&router.lines("file"), false);
    assert_eq!(router.status()["sessions"], AGENTS * 3 / 4);
}
