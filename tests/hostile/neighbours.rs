//! A component that hits its limits again and again, beside one that does not: what calls that are none of its business
//! notice of it. Rounds with it and without take turns, and the best of each are compared, for this machine is busy
//! with other things too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::router::demo;
use super::support::{Agent, Era, Router, count, guest};

/// Two endpoints, each with a plugin of its own: `calm` is asked for the one, `wild` for the other.
fn toml(breaker: u32) -> String {
    let file = guest("guest-a.wasm");
    let plugin = |name: &str, more: &str| {
        format!("[plugins.{name}]\nfile = {file:?}\nconfig = {{ do = \"next\" }}\non-fault = \"closed\"\n{more}\n")
    };
    let endpoint = |name: &str, plugin: &str| {
        format!("[endpoints.{name}]\nbackends = [\"one\"]\n[endpoints.{name}.pipeline]\nroute = [\"{plugin}\"]\n")
    };
    format!(
        "{}{}{}{}{}[policies]\nbreaker = {breaker}\ncache = {:?}\n",
        demo("one", &[], ""),
        plugin("calm", "wall = \"10s\"\ncpu = \"5s\""),
        plugin("wild", "wall = \"400ms\"\ncpu = \"10ms\"\noutput = \"64KiB\""),
        endpoint("calm", "calm"),
        endpoint("wild", "wild"),
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache"),
    )
}

/// What the wild one is ordered to do, call by call.
const WILD: [(&str, &str); 5] = [
    ("cpu", r#""test":{"do":"loop"}"#),
    ("memory", r#""test":{"do":"alloc"}"#),
    ("stack", r#""test":{"do":"recurse"}"#),
    ("output", r#""test":{"do":"big","number":10000000}"#),
    ("log", r#""test":{"do":"chatter","number":200}"#),
];

/// Calls of two agents at a steady pace, and how long each took.
async fn calm(router: &Router, time: Duration) -> Vec<Duration> {
    let agents: Vec<_> = [Era::Legacy, Era::Modern]
        .into_iter()
        .map(|era| {
            let address = router.address;
            tokio::spawn(async move {
                let mut agent = Agent::new(address, era, "/mcp/calm").await;
                let mut pace = tokio::time::interval(Duration::from_millis(4));
                pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                let (began, mut took) = (Instant::now(), Vec::new());
                while began.elapsed() < time {
                    pace.tick().await;
                    let begin = Instant::now();
                    let call = agent.call("1", "echo", r#"{"text":"calm"}"#).await;
                    took.push(begin.elapsed());
                    assert_eq!(call.text(), "calm", "{}", call.response);
                }
                took
            })
        })
        .collect();
    let mut all = Vec::new();
    for agent in agents {
        all.extend(agent.await.unwrap());
    }
    all
}

/// Calls that hit a limit, one after the other, until told to stop; how many there were.
fn wild(router: &Router, orders: &'static str, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (address, stop) = (router.address, Arc::clone(stop));
    tokio::spawn(async move {
        let mut agent = Agent::new(address, Era::Modern, "/mcp/wild").await;
        let mut calls = 0;
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::SeqCst) {
            pace.tick().await;
            agent.call_with("1", "echo", r#"{"text":"wild"}"#, orders).await;
            calls += 1;
        }
        calls
    })
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

async fn measured(breaker: u32) -> Vec<(&'static str, f64)> {
    let (rounds, time) = (count(6, 1), Duration::from_millis(count(4000, 250) as u64));
    let router = Router::start(&toml(breaker)).await;
    router.ready("one").await;
    calm(&router, Duration::from_millis(300)).await;
    let mut moved = Vec::new();
    for (limit, orders) in WILD {
        let (mut quiet, mut beside, mut calls) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            quiet.push(p99(calm(&router, time).await));
            let stop = Arc::new(AtomicBool::new(false));
            let wild = wild(&router, orders, &stop);
            beside.push(p99(calm(&router, time).await));
            stop.store(true, Ordering::SeqCst);
            calls += wild.await.unwrap();
        }
        let best = |all: &[Duration]| all.iter().min().unwrap().as_secs_f64() * 1e6;
        let (quiet, beside) = (best(&quiet), best(&beside));
        let percent = (beside / quiet - 1.0) * 100.0;
        println!(
            "breaker {breaker}, {limit}: p99 of others {quiet:.0} us without, {beside:.0} us beside {calls} calls of the wild one: {percent:+.1} %"
        );
        moved.push((limit, percent));
    }
    let status = router.status().await;
    let plugins = status["plugins"].as_array().unwrap();
    let faults = |name: &str| plugins.iter().find(|p| p["name"] == name).unwrap()["faults"].as_u64();
    assert!(faults("wild") > Some(0) && faults("calm") == Some(0), "{status}");
    router.is_quiet().await;
    router.is_sound().await;
    moved
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_past_a_component_that_hits_its_limits_are_as_quick_as_ever() {
    // As it is by default; then without the breaker, which is sharing of the processors and nothing else.
    let moved = measured(5).await;
    measured(u32::MAX).await;
    if count(1, 0) == 1 {
        for (limit, percent) in moved {
            assert!(percent <= 10.0, "{limit}: p99 of others moves by {percent:.1} %");
        }
    }
}
