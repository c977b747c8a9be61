//! Components that loop, panic, hoard and shout: the call they were asked about ends as `on-fault` says, and the
//! calls of others go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::support::router::demo;
use super::support::{Agent, Era, Router, count, guest};

/// The guest on one hook, for calls that order it in their `_meta`; everybody else's calls it lets pass.
fn toml(hook: &str, on_fault: &str, more: &str) -> String {
    format!(
        "{}[plugins.p]\nfile = {:?}\nconfig = {{ do = \"next\" }}\non-fault = \"{on_fault}\"\nwall = \"400ms\"\ncpu = \"100ms\"\n{more}\n[pipeline]\n{hook} = [\"p\"]\n[policies]\nbreaker = 100000\ncache = {:?}\n",
        demo("one", &[], ""),
        guest("guest-a.wasm"),
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache"),
    )
}

const EVIL: [&str; 7] = [
    r#""test":{"do":"loop"}"#,
    r#""test":{"do":"panic"}"#,
    r#""test":{"do":"alloc"}"#,
    r#""test":{"do":"recurse"}"#,
    r#""test":{"do":"error"}"#,
    r#""test":{"do":"big","text":"/content","number":100000000}"#,
    r#""test":{"do":"big","text":"/content","number":30000000}"#,
];

async fn every_fault(hook: &str) {
    for on_fault in ["closed", "open"] {
        let router = Router::start(&toml(hook, on_fault, "memory = \"128MiB\"")).await;
        router.ready("one").await;
        for (at, orders) in EVIL.iter().enumerate() {
            let era = if at % 2 == 0 { Era::Legacy } else { Era::Modern };
            let mut agent = Agent::new(router.address, era, "/mcp").await;
            let begin = Instant::now();
            let call = agent.call_with("1", "echo", r#"{"text":"through"}"#, orders).await;
            println!("{hook}, {on_fault}: {orders}: over after {:?}", begin.elapsed());
            let said = &call.response["error"];
            // The select hook has no answer that could be too big, so that order does nothing there.
            match on_fault {
                _ if hook == "select" && at >= 5 => assert_eq!(call.text(), "through"),
                "closed" => {
                    assert_eq!(call.code(), 7010, "{hook} {orders}: {}", call.response);
                    println!("{hook}: {orders}: {}", said["message"].as_str().unwrap());
                    let delivery = if hook == "transform-response" {
                        "unknown"
                    } else {
                        "not_sent"
                    };
                    assert_eq!(said["data"]["delivery"], delivery, "{hook} {orders}");
                }
                _ => assert_eq!(call.text(), "through", "{hook} {orders}: {}", call.response),
            }
            let next = agent.call("2", "echo", r#"{"text":"next"}"#).await;
            assert_eq!(next.text(), "next", "after {orders}");
        }
        println!("{hook}, {on_fault}: peak {} kB", router.kilobytes("VmHWM"));
        assert!(router.kilobytes("VmHWM") < 900_000);
        router.is_quiet().await;
        router.is_sound().await;
    }
}

#[tokio::test]
async fn faults_of_route_end_as_on_fault_says() {
    every_fault("route").await;
}

#[tokio::test]
async fn faults_of_select_end_as_on_fault_says() {
    every_fault("select").await;
}

#[tokio::test]
async fn faults_of_transform_request_end_as_on_fault_says() {
    every_fault("transform-request").await;
}

#[tokio::test]
async fn faults_of_transform_response_end_as_on_fault_says() {
    every_fault("transform-response").await;
}

/// Agents whose calls have nothing to fear.
const GOOD: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_go_on_while_a_guest_loops() {
    let router = Router::start(&toml("route", "closed", "")).await;
    router.ready("one").await;
    let calls = count(5_000, 300);
    for loops in [0, 1, 3] {
        let (stop, looped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let bad: Vec<_> = (0..loops)
            .map(|_| {
                let (stop, looped, address) = (Arc::clone(&stop), Arc::clone(&looped), router.address);
                tokio::spawn(async move {
                    let mut agent = Agent::new(address, Era::Modern, "/mcp").await;
                    let mut longest = Duration::ZERO;
                    while !stop.load(Ordering::SeqCst) {
                        let begin = Instant::now();
                        let call = agent.call_with("1", "echo", r#"{"text":"x"}"#, EVIL[0]).await;
                        assert_eq!(call.code(), 7010, "{}", call.response);
                        looped.fetch_add(1, Ordering::SeqCst);
                        longest = longest.max(begin.elapsed());
                    }
                    longest
                })
            })
            .collect();
        let begin = Instant::now();
        let good: Vec<_> = (0..GOOD)
            .map(|n| {
                let address = router.address;
                let era = if n % 2 == 0 { Era::Legacy } else { Era::Modern };
                tokio::spawn(async move {
                    let mut agent = Agent::new(address, era, "/mcp").await;
                    for n in 0..calls {
                        let call = agent.call(&(n + 1).to_string(), "echo", r#"{"text":"good"}"#).await;
                        assert_eq!(call.text(), "good", "call {n}: {}", call.response);
                    }
                })
            })
            .collect();
        for good in good {
            good.await.unwrap();
        }
        let rate = (GOOD * calls) as f64 / begin.elapsed().as_secs_f64();
        stop.store(true, Ordering::SeqCst);
        let mut longest = Duration::ZERO;
        for bad in bad {
            longest = longest.max(bad.await.unwrap());
        }
        println!(
            "{loops} agents whose guest loops ({} calls of theirs, over after {longest:?} at most): others make {rate:.0} calls/s",
            looped.load(Ordering::SeqCst),
        );
    }
    router.is_quiet().await;
    router.is_sound().await;
}
