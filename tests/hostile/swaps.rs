//! A policy component replaced again and again, good builds and broken ones, while calls run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::router::{demo, replace};
use super::support::{Agent, Era, Router, count, guest, until};

/// What the callers saw, by tag.
#[derive(Default)]
struct Seen {
    a: AtomicU64,
    b: AtomicU64,
    stop: AtomicBool,
}

impl Seen {
    fn of(&self, tag: &str) -> u64 {
        if tag == "a" { &self.a } else { &self.b }.load(Ordering::SeqCst)
    }
}

/// Calls at a steady pace until told to stop; every answer must be exactly one build's.
async fn caller(router: std::net::SocketAddr, era: Era, pause: Duration, seen: Arc<Seen>) -> u64 {
    let mut agent = Agent::new(router, era, "/mcp").await;
    let mut calls = 0;
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !seen.stop.load(Ordering::SeqCst) {
        ticks.tick().await;
        calls += 1;
        let call = agent
            .call(&calls.to_string(), "echo", r#"{"text":"not the child's"}"#)
            .await;
        match call.response["result"]["tag"].as_str() {
            Some("a") => seen.a.fetch_add(1, Ordering::SeqCst),
            Some("b") => seen.b.fetch_add(1, Ordering::SeqCst),
            _ => panic!("call {calls} of {era:?}: {}", call.response),
        };
    }
    calls
}

/// Ways for a file to be no plugin, with a part of what must be said about it.
fn broken(kind: usize, number: usize, good: &[u8]) -> (Vec<u8>, &'static str) {
    match kind {
        // Never the same bytes: a refusal must be news each time.
        0 => (good[..good.len() / 2 - number].to_vec(), "truncated"),
        1 => (format!("this is no component {number}").into_bytes(), "component"),
        // A core module without the type of a component, with a section of bytes that nobody knows.
        2 => {
            let number = u8::try_from(number % 100).unwrap();
            (
                b"\0asm\x01\0\0\0\0\x03\x01x".iter().copied().chain([number]).collect(),
                "module",
            )
        }
        3 => (Vec::new(), "component"),
        _ => (vec![0; 100_000 + number], "component"),
    }
}

fn rejected(status: &Value) -> Option<&str> {
    status["rejected"]["p"].as_str()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_good_build_serves_and_no_call_fails_while_files_are_swapped() {
    let (swaps, breaks, pace) = (count(200, 10), count(20, 5), count(300, 100));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.wasm");
    fs::copy(guest("guest-a.wasm"), &file).unwrap();
    let plugin = "[plugins.p]\nfile = \"p.wasm\"\nconfig = { do = \"tag\" }\nwall = \"5s\"\ncpu = \"1s\"\n";
    let toml = format!("{}{plugin}[pipeline]\nroute = [\"p\"]\n", demo("one", &[], ""));
    let router = Router::start_in(folder, &toml).await;
    router.ready("one").await;

    let seen = Arc::new(Seen::default());
    let callers: Vec<_> = (0..4)
        .map(|at| {
            let era = if at % 2 == 0 { Era::Legacy } else { Era::Modern };
            let pause = Duration::from_secs(4) / u32::try_from(pace).unwrap();
            tokio::spawn(caller(router.address, era, pause, Arc::clone(&seen)))
        })
        .collect();
    let begin = Instant::now();
    let (mut broke, mut first_rss) = (0, 0);
    for swap in 1..=swaps {
        let tag = if swap % 2 == 1 { "b" } else { "a" };
        let bytes = fs::read(guest(&format!("guest-{tag}.wasm"))).unwrap();
        // Most files that are broken come instead of a good one...
        if broke < breaks && swap * breaks >= broke * swaps {
            let (bad, word) = broken(broke % 5, broke, &bytes);
            replace(&file, &bad);
            let reason = router
                .until("the broken file is refused", |s| rejected(s).is_some())
                .await;
            let reason = rejected(&reason).unwrap();
            assert!(reason.contains(word), "kind {}: {reason}", broke % 5);
            if swap <= 5 {
                println!("refused: {reason}");
            }
            broke += 1;
            let old = if tag == "a" { "b" } else { "a" };
            let before = seen.of(old);
            until("the last good one serves", || async {
                (seen.of(old) > before).then_some(())
            })
            .await;
        }
        let before = seen.of(tag);
        replace(&file, &bytes);
        until(&format!("build {swap} serves"), || async {
            (seen.of(tag) > before).then_some(())
        })
        .await;
        let status = router
            .until("nothing is refused any more", |s| rejected(s).is_none())
            .await;
        assert!(status["live_generations"].as_u64() <= Some(4), "{status}");
        if swap == swaps.min(10) / 2 {
            first_rss = router.kilobytes("VmRSS");
        }
    }
    let took = begin.elapsed();
    seen.stop.store(true, Ordering::SeqCst);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap();
    }
    let last_rss = router.kilobytes("VmRSS");
    println!(
        "{swaps} swaps, {broke} broken files, {calls} calls at {:.0}/s: 0 failed; RSS {first_rss} kB then {last_rss} kB, peak {} kB",
        calls as f64 / took.as_secs_f64(),
        router.kilobytes("VmHWM")
    );
    assert_eq!(broke, breaks);
    assert!(last_rss < first_rss + 40_000, "it grows");
    assert_eq!(router.status().await["plugins"][0]["faults"], 0);
    router.is_sound().await;
}

async fn tag(router: &Router) -> String {
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
    let call = agent.call("1", "echo", r#"{"text":""}"#).await;
    call.response["result"]["tag"].as_str().unwrap_or_default().to_owned()
}

/// A plugin whose `init` fails or never ends, by its configuration.
#[tokio::test]
async fn an_init_that_fails_or_never_ends_leaves_the_last_good_one_serving() {
    let folder = tempfile::tempdir().unwrap();
    for label in ["a", "b"] {
        let name = format!("guest-{label}.wasm");
        fs::copy(guest(&name), folder.path().join(&name)).unwrap();
    }
    let toml = |label: &str, word: &str| {
        format!(
            "{}[plugins.p]\nfile = \"guest-{label}.wasm\"\nconfig = {{ do = \"{word}\" }}\nwall = \"2s\"\ncpu = \"200ms\"\n[pipeline]\nroute = [\"p\"]\n",
            demo("one", &[], "")
        )
    };
    let router = Router::start_in(folder, &toml("a", "tag")).await;
    let pid = router.ready("one").await;
    assert_eq!(tag(&router).await, "a");
    for (word, said) in [
        ("init-error", "guest b does not want to"),
        ("init-loop", "CPU"),
        ("init-panic", "init"),
    ] {
        router.rewrite(&toml("b", word));
        let status = router.until("it is refused", |s| rejected(s).is_some()).await;
        let reason = rejected(&status).unwrap().to_owned();
        println!("{word}: {reason}");
        assert!(reason.to_lowercase().contains(&said.to_lowercase()), "{word}: {reason}");
        assert_eq!(tag(&router).await, "a", "after {word}");
        router.rewrite(&toml("a", "tag"));
        router.until("it is good again", |s| rejected(s).is_none()).await;
    }
    router.rewrite(&toml("b", "tag"));
    until("the good one serves", || async {
        (tag(&router).await == "b").then_some(())
    })
    .await;
    assert_eq!(router.ready("one").await, pid, "no backend was touched");
    router.is_sound().await;
}

/// A folder, a removed file, a file nobody may read, a link that is turned.
#[tokio::test]
async fn what_is_no_file_is_refused_and_a_turned_link_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for label in ["a", "b"] {
        fs::copy(guest(&format!("guest-{label}.wasm")), at(label)).unwrap();
    }
    let (link, next) = (at("p.wasm"), at("next"));
    let point = |to: &Path| {
        std::os::unix::fs::symlink(to, &next).unwrap();
        fs::rename(&next, &link).unwrap();
    };
    point(Path::new("a"));
    let plugin =
        "[plugins.p]\nfile = \"p.wasm\"\nconfig = { do = \"tag\" }\nwall = \"5s\"\n[pipeline]\nroute = [\"p\"]\n";
    let (targets, gone) = (at("b"), at("gone"));
    fs::create_dir(at("folder")).unwrap();
    let router = Router::start_in(tempfile::tempdir().unwrap(), &{
        let text = format!("{}{plugin}", demo("one", &[], ""));
        text.replace("\"p.wasm\"", &format!("{:?}", link.to_str().unwrap()))
    })
    .await;
    assert_eq!(tag(&router).await, "a");
    point(Path::new("b"));
    until("the link is followed", || async {
        (tag(&router).await == "b").then_some(())
    })
    .await;
    for to in [Path::new("folder"), Path::new("/dev/null"), Path::new("nowhere")] {
        point(to);
        let status = router.until("it is refused", |s| rejected(s).is_some()).await;
        println!("{}: {}", to.display(), rejected(&status).unwrap());
        assert_eq!(tag(&router).await, "b");
        point(Path::new("b"));
        router.until("it is good again", |s| rejected(s).is_none()).await;
    }
    // Removed and put back behind the link.
    fs::rename(&targets, &gone).unwrap();
    router.until("it is refused", |s| rejected(s).is_some()).await;
    fs::rename(&gone, &targets).unwrap();
    router.until("it is good again", |s| rejected(s).is_none()).await;
    assert_eq!(tag(&router).await, "b");
    router.is_sound().await;
}
