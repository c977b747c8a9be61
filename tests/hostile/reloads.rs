//! Thousands of reloads of a mixture of components under steady load: no call fails, and nothing is left behind.
//!
//! Memory is that of the router's process, looked at after every reload. A single look tells little, so medians are
//! compared: that of the first quarter after the warm-up with that of the last. Usually mimalloc gives back what is free
//! after a while, when a thread of its happens to come by, and so looks show how busy the router was: here it gives it
//! back at once (`MIMALLOC_PURGE_DELAY=0`), and what stays is in use. For the same reason the warm-up has its busy
//! moments: as many instances at a time as the plugins may have, which take places that are kept. Later ones are rare,
//! and would look like growth. What is alive on the heap is counted to the byte in `tests/reload_heap.rs`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::support::router::{demo, replace};
use super::support::{Agent, Era, Router, count};

/// A built file, by its path below the repository.
fn built(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run plugins/build.sh --test-guests", path.display()))
}

/// What a reload changes: a file, or the settings of a plugin. Each is what it was two of its turns before.
const FILES: [(&str, [&str; 2]); 4] = [
    (
        "by",
        [
            "plugins/target/guests/guest-a.wasm",
            "plugins/target/guests/guest-b.wasm",
        ],
    ),
    (
        "pick",
        ["plugins/dist/least-busy.wasm", "plugins/target/guests/guest-a.wasm"],
    ),
    (
        "names",
        ["plugins/dist/default-names.wasm", "plugins/target/guests/guest-b.wasm"],
    ),
    (
        "ear",
        [
            "plugins/target/guests/guest-b.wasm",
            "plugins/target/guests/guest-a.wasm",
        ],
    ),
];
const FIXED: [(&str, &str); 3] = [
    ("mask", "plugins/dist/redact.wasm"),
    ("limit", "plugins/target/examples/rate-limit.wasm"),
    ("guard", "plugins/target/examples/tool-guard.wasm"),
];

/// How often each of the plugins with settings was set anew.
#[derive(Default)]
struct Settings {
    mask: usize,
    limit: usize,
    guard: usize,
}

fn toml(set: &Settings) -> String {
    let mut text = demo("one", &[], "");
    let mut plugin = |name: &str, more: &str| {
        text += &format!("[plugins.{name}]\nfile = \"{name}.wasm\"\nwall = \"10s\"\ncpu = \"5s\"\n{more}\n");
    };
    // A call that outlives its generation by too many is passed by here, and by nobody else on its way back.
    plugin("by", "config = { do = \"set\", text = \"/by\" }\non-fault = \"open\"");
    plugin("pick", "");
    plugin("names", "");
    plugin("ear", "");
    let keys = ["password", "token"][set.mask % 2];
    plugin("mask", &format!("config = {{ keys = [\"{keys}\"] }}"));
    let seconds = 60 + set.limit % 2;
    plugin(
        "limit",
        &format!("config = {{ calls = 1000000, seconds = {seconds} }}\ngrants = {{ clock = true, kv = true }}"),
    );
    let more = ["[\"*\"]", "[\"*\", \"x\"]"][set.guard % 2];
    plugin("guard", &format!("config = {{ rules = [], default = {more} }}"));
    text + "[pipeline]\nroute = [\"guard\", \"limit\", \"default-route\"]\nselect = [\"pick\"]\n\
            transform-request = [\"mask\"]\ntransform-response = [\"by\"]\ntransform-list = [\"names\"]\nobserve = [\"ear\"]\n"
}

/// Asks for a reload and waits for what it did.
async fn reload(router: &Router) -> Value {
    let socket = UnixStream::connect(router.folder().join("admin.sock")).await.unwrap();
    let (read, mut write) = socket.into_split();
    write.write_all(b"{\"command\":\"reload\"}\n").await.unwrap();
    let line = BufReader::new(read).lines().next_line().await.unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

/// What callers saw of one build, of the other, and of none.
#[derive(Debug, Default)]
struct Seen {
    a: usize,
    b: usize,
    neither: usize,
}

/// Calls at a steady pace until told to stop.
fn caller(router: &Router, at: usize, stop: &Arc<AtomicBool>) -> JoinHandle<Seen> {
    let (address, stop) = (router.address, Arc::clone(stop));
    tokio::spawn(async move {
        let era = if at.is_multiple_of(2) { Era::Legacy } else { Era::Modern };
        let mut agent = Agent::new(address, era, "/mcp").await;
        let (mut seen, mut calls) = (Seen::default(), 0);
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.load(Ordering::SeqCst) {
            pace.tick().await;
            calls += 1;
            // One of them is slow, so that its calls outlive generations.
            let called = match at {
                0 => agent.call(&calls.to_string(), "slow", r#"{"ms":60,"text":"on"}"#).await,
                _ => agent.call(&calls.to_string(), "echo", r#"{"text":"on"}"#).await,
            };
            assert_eq!(called.text(), "on", "caller {at}, call {calls}: {}", called.response);
            match called.response["result"]["by"].as_str() {
                Some("a") => seen.a += 1,
                Some("b") => seen.b += 1,
                _ => seen.neither += 1,
            }
        }
        seen
    })
}

/// Many calls at a time whose policies take so long that each needs an instance of its own.
async fn busy_moment(router: &Router) {
    let calls = (0..24).map(|_| {
        let address = router.address;
        tokio::spawn(async move {
            let mut agent = Agent::new(address, Era::Modern, "/mcp").await;
            let slowly = r#""test":{"do":"count-slowly","number":2000000}"#;
            let called = agent.call_with("1", "echo", r#"{"text":"on"}"#, slowly).await;
            assert_eq!(called.text(), "on", "{}", called.response);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

/// Looks at a process: resident kilobytes, and lines of its memory map.
#[derive(Default)]
struct Looks {
    resident: Vec<u64>,
    mappings: Vec<u64>,
}

impl Looks {
    fn look(&mut self, router: &Router) {
        let maps = fs::read_to_string(format!("/proc/{}/maps", router.pid())).unwrap();
        self.resident.push(router.kilobytes("VmRSS"));
        self.mappings.push(maps.lines().count() as u64);
    }

    /// The medians of a window.
    fn medians(&self, from: usize, to: usize) -> (u64, u64) {
        let median = |all: &[u64]| {
            let mut window = all[from..to].to_vec();
            window.sort_unstable();
            window[window.len() / 2]
        };
        (median(&self.resident), median(&self.mappings))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_call_and_leave_nothing_behind() {
    let (reloads, warm_up, window) = (count(10_000, 120), count(500, 40), count(500, 40));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(format!("{name}.wasm"));
    for (name, [first, _]) in FILES {
        fs::write(at(name), built(first)).unwrap();
    }
    for (name, file) in FIXED {
        fs::write(at(name), built(file)).unwrap();
    }
    let files = FILES.map(|(name, both)| (at(name), both.map(built)));
    let mut set = Settings::default();
    let router = Router::start_with(folder, &toml(&set), &[("MIMALLOC_PURGE_DELAY", "0")]).await;
    router.ready("one").await;

    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4).map(|n| caller(&router, n, &stop)).collect();
    let (mut looks, mut most, mut turns, mut refused) = (Looks::default(), 0, [0; 4], 0);
    let began = Instant::now();
    for number in 0..reloads {
        if number % 50 == 49 {
            // A file that is no component, instead of the one that serves, which goes on.
            let (file, both) = &files[0];
            replace(file, format!("junk {number}").as_bytes());
            let told = reload(&router).await;
            assert!(told["rejected"]["by"].is_string(), "{told}");
            refused += 1;
            replace(file, &both[turns[0] % 2]);
            assert_eq!(reload(&router).await["rejected"], serde_json::json!({}));
        }
        if number < warm_up && number % 20 == 19 {
            busy_moment(&router).await;
        }
        let before = router.status().await["generation"].as_u64();
        match number % 7 {
            4 => set.mask += 1,
            5 => set.limit += 1,
            6 => set.guard += 1,
            at => {
                turns[at] += 1;
                let (file, both) = &files[at];
                replace(file, &both[turns[at] % 2]);
            }
        }
        if number % 7 > 3 {
            router.rewrite(&toml(&set));
        }
        let told = reload(&router).await;
        assert_eq!(told["rejected"], serde_json::json!({}), "reload {number}: {told}");
        let status = router.status().await;
        assert!(status["generation"].as_u64() > before, "reload {number}: {status}");
        let live = status["live_generations"].as_u64().unwrap();
        assert!(live <= 4, "reload {number}: {status}");
        most = most.max(live);
        looks.look(&router);
        if (number + 1) % window == 0 {
            let (resident, mappings) = looks.medians(number + 1 - window, number + 1);
            println!("{:>6} reloads: {resident} kB resident, {mappings} mappings", number + 1);
        }
    }
    let took = began.elapsed();
    stop.store(true, Ordering::SeqCst);
    let mut seen = Seen::default();
    for caller in callers {
        let one = caller.await.unwrap();
        seen = Seen {
            a: seen.a + one.a,
            b: seen.b + one.b,
            neither: seen.neither + one.neither,
        };
    }
    let quarter = (reloads - warm_up) / 4;
    let (first, last) = (
        looks.medians(warm_up, warm_up + quarter),
        looks.medians(reloads - quarter, reloads),
    );
    let change = |now: u64, then: u64| (now as f64 / then as f64 - 1.0) * 100.0;
    let calls = seen.a + seen.b + seen.neither;
    println!(
        "{reloads} reloads in {took:.0?}, {refused} files refused, {calls} calls at {:.0}/s ({seen:?}): 0 failed; at most {most} generations alive",
        calls as f64 / took.as_secs_f64()
    );
    println!(
        "medians of the first {quarter} after {warm_up}, and of the last: resident {} kB, {} kB ({:+.2} %), mappings {}, {} ({:+.2} %)",
        first.0,
        last.0,
        change(last.0, first.0),
        first.1,
        last.1,
        change(last.1, first.1)
    );
    assert!(seen.a > 0 && seen.b > 0, "both builds were asked: {seen:?}");
    // What a few reloads take and later ones do not is no leak, but more than a hundredth.
    let (memory, maps) = if reloads >= 10_000 { (1.0, 1.0) } else { (20.0, 20.0) };
    assert!(change(last.0, first.0) <= memory, "memory grows");
    assert!(change(last.1, first.1) <= maps, "the memory map grows");
    router.is_quiet().await;
    router.is_sound().await;
}
