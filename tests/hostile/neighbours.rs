//! A component that hits its limits again and again, beside one that does not: what calls that are none of its business
//! notice of it. Rounds with it and without take turns, and the best of each are compared, for this machine is busy
//! with other things too.
//!
//! With a breaker it is switched off most of the time, and nothing is to be noticed. Without one it computes all the
//! time, which takes a processor from everybody; so does a thread of this test, and how far the two are apart is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::support::router::demo;
use super::support::{Agent, Era, Router, count, guest};

/// Endpoints, each with a plugin of its own. What `wild` is asked hits a limit, what `mild` is asked is refused at once.
fn toml(breaker: u32) -> String {
    let file = guest("guest-a.wasm");
    let plugin = |name: &str, more: &str| {
        format!("[plugins.{name}]\nfile = {file:?}\nconfig = {{ do = \"next\" }}\non-fault = \"closed\"\n{more}\n")
    };
    let endpoint = |name: &str, plugin: &str| {
        format!("[endpoints.{name}]\nbackends = [\"one\"]\n[endpoints.{name}.pipeline]\nroute = [\"{plugin}\"]\n")
    };
    format!(
        "{}{}{}{}{}{}{}[policies]\nbreaker = {breaker}\ncache = {:?}\n",
        demo("one", &[], ""),
        plugin("calm", "wall = \"10s\"\ncpu = \"5s\""),
        plugin("wild", "wall = \"400ms\"\ncpu = \"10ms\"\noutput = \"64KiB\""),
        plugin("mild", ""),
        endpoint("calm", "calm"),
        endpoint("wild", "wild"),
        endpoint("mild", "mild"),
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

/// How far the p99 of others may move, in percent.
const MOVED: f64 = 10.0;

/// And the mild one.
const MILD: &str = r#""test":{"do":"deny","text":"no"}"#;

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

/// Calls of one kind, one after the other, until told to stop; how many there were.
fn others(router: &Router, path: &'static str, orders: &'static str, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (address, stop) = (router.address, Arc::clone(stop));
    tokio::spawn(async move {
        let mut agent = Agent::new(address, Era::Modern, path).await;
        let mut calls = 0;
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::SeqCst) {
            pace.tick().await;
            let call = agent.call_with("1", "echo", r#"{"text":"other"}"#, orders).await;
            assert!(call.code() != 0 || path == "/mcp/wild", "{}", call.response);
            calls += 1;
        }
        calls
    })
}

/// A thread that computes until told to stop, as the wild one would if it were no part of the router.
fn burner(stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })
}

/// The best p99 of all rounds: of a quiet router, beside the wild one, and beside a burner outside, in microseconds.
#[derive(Default)]
struct Best {
    quiet: Vec<Duration>,
    beside: Vec<Duration>,
    outside: Vec<Duration>,
}

impl Best {
    fn of(all: &[Duration]) -> f64 {
        all.iter().min().unwrap().as_secs_f64() * 1e6
    }

    /// How far the calls beside the wild one are from others, in percent.
    fn moved(&self, others: &[Duration]) -> f64 {
        (Self::of(&self.beside) / Self::of(others) - 1.0) * 100.0
    }
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// So many rounds, and up to `most` where they tell that calls are slower.
async fn measured(breaker: u32, rounds: usize, most: usize) -> Vec<(&'static str, Best)> {
    let time = Duration::from_millis(count(1000, 200) as u64);
    let router = Router::start(&toml(breaker)).await;
    router.ready("one").await;
    calm(&router, Duration::from_millis(300)).await;
    let mut all = Vec::new();
    for (limit, orders) in WILD {
        let (mut best, mut calls) = (Best::default(), 0);
        for round in 0..most {
            if round >= rounds && best.moved(&best.quiet) <= MOVED {
                break;
            }
            // As many calls in each: those are others' business, but they take time too.
            let stop = Arc::new(AtomicBool::new(false));
            let mild = others(&router, "/mcp/mild", MILD, &stop);
            best.quiet.push(p99(calm(&router, time).await));
            let burner = burner(&stop);
            best.outside.push(p99(calm(&router, time).await));
            stop.store(true, Ordering::SeqCst);
            burner.join().unwrap();
            mild.await.unwrap();
            let stop = Arc::new(AtomicBool::new(false));
            let wild = others(&router, "/mcp/wild", orders, &stop);
            best.beside.push(p99(calm(&router, time).await));
            stop.store(true, Ordering::SeqCst);
            calls += wild.await.unwrap();
        }
        println!(
            "breaker {breaker}, {limit}, {calls} calls: p99 of others {:.0} us alone, {:.0} us beside ({:+.1} %), {:.0} us beside a burner outside ({:+.1} % from that)",
            Best::of(&best.quiet),
            Best::of(&best.beside),
            best.moved(&best.quiet),
            Best::of(&best.outside),
            best.moved(&best.outside)
        );
        all.push((limit, best));
    }
    let status = router.status().await;
    let plugins = status["plugins"].as_array().unwrap();
    let faults = |name: &str| plugins.iter().find(|p| p["name"] == name).unwrap()["faults"].as_u64();
    assert!(faults("wild") > Some(0) && faults("calm") == Some(0), "{status}");
    router.is_quiet().await;
    router.is_sound().await;
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_past_a_component_that_hits_its_limits_are_as_quick_as_ever() {
    let with = measured(10, count(8, 1), count(48, 1)).await;
    measured(u32::MAX, count(4, 1), count(4, 1)).await;
    // A time is no matter for everyday tests.
    if count(1, 0) == 1 {
        for (limit, best) in with {
            let moved = best.moved(&best.quiet);
            assert!(moved <= MOVED, "{limit}: p99 of others moves by {moved:.1} %");
        }
    }
}
