//! Memory of the policy host, in a process of its own: idle it is small, and reloads leave nothing behind.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    reason = "a test that measures real time and tells what it measured"
)]

#[path = "plugins/support.rs"]
#[expect(dead_code, reason = "shared with the tests in plugins/, which use the rest")]
mod support;

use std::collections::BTreeMap;
use std::time::Instant;

use pointsman::config::Pipeline;
use pointsman::policy::{Hook, Policy};
use serde_json::json;
use support::*;

/// Resident memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Lines in the memory map: each loaded component has some.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

const MIB: usize = 1 << 20;

/// One test, since both halves look at the whole process.
#[test]
fn memory_stays_small_and_flat() {
    // One helper thread: how many the runtime starts is chance, and each brings stacks and an allocator's arena.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build();
    runtime.unwrap().block_on(idle_and_reloads());
}

async fn idle_and_reloads() {
    let host = host();
    let defaults = [
        ("default-route", embedded("default-route", json!({}))),
        ("least-busy", embedded("least-busy", json!({}))),
        ("redact", embedded("redact", json!({ "keys": ["password"] }))),
    ];
    let idle = generation(&host, &defaults).await.unwrap();
    for _ in 0..100 {
        idle.route(&call("{}"), candidates(&["a+", "b"])).await.unwrap();
        idle.select(&call("{}"), targets(&[1, 2])).await.unwrap();
    }
    println!(
        "with the defaults loaded: {:.1} MiB, {} mappings",
        resident() as f64 / MIB as f64,
        mappings()
    );
    assert!(resident() < 30 * MIB, "{}", resident());

    let reloads = if std::env::var_os("POINTSMAN_SOAK").is_some() {
        1000
    } else {
        50
    };
    let variants = ["guests/guest-a.wasm", "guests/guest-b.wasm"].map(built);
    let mut before = (0, 0);
    let began = Instant::now();
    for number in 0..reloads {
        let plugin = file(variants[number % 2].clone(), json!({ "do": "tag" }));
        let loaded = host.load("p", &plugin).await.unwrap();
        let pipeline = Pipeline::from([(Hook::Route, vec!["p".into()])]);
        let generation = host
            .generation(number as u64, &pipeline.into(), BTreeMap::from([("p".into(), loaded)]))
            .unwrap();
        generation.route(&call("{}"), candidates(&[])).await.unwrap();
        drop(generation);
        // The retired build says good-bye in a task of its own.
        tokio::task::yield_now().await;
        if number == 20 {
            before = (resident(), mappings());
        }
    }
    let each = began.elapsed() / u32::try_from(reloads).unwrap();
    let after = (resident(), mappings());
    println!("{reloads} reloads, {each:?} each: {before:?} -> {after:?} (bytes, mappings)");
    assert!(after.0 < before.0 + 4 * MIB, "{before:?} -> {after:?}");
    assert!(after.1 < before.1 + 50, "{before:?} -> {after:?}");
}

/// Prints what a warm hook call costs: `cargo test --test plugin_memory -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement, not a test"]
async fn cost_of_a_warm_hook_call() {
    let host = host();
    let defaults = [
        ("default-route", embedded("default-route", json!({}))),
        ("least-busy", embedded("least-busy", json!({}))),
        (
            "redact",
            embedded("redact", json!({ "keys": ["password"], "prefixes": ["sk-"] })),
        ),
    ];
    let generation = generation(&host, &defaults).await.unwrap();
    let call = call(r#"{"name":"tool","arguments":{"path":"/a/b","text":"hello world","n":[1,2,3]}}"#);
    let (among, three, fifty, none) = (
        candidates(&["a", "b+", "c"]),
        targets(&[3, 1, 2]),
        targets(&[1; 50]),
        targets(&[]),
    );
    macro_rules! measure {
        ($name:literal, $question:expr) => {
            let mut times = Vec::new();
            for _ in 0..200 {
                let began = Instant::now();
                for _ in 0..200 {
                    std::hint::black_box($question.await.unwrap());
                }
                times.push(began.elapsed().as_nanos() / 200);
            }
            times.sort_unstable();
            println!("{:20} min {} ns, median {} ns", $name, times[0], times[100]);
        };
    }
    measure!("default-route, 3", generation.route(&call, among.clone()));
    measure!("least-busy, 3", generation.select(&call, three.clone()));
    measure!("least-busy, 50", generation.select(&call, fifty.clone()));
    measure!("least-busy, none", generation.select(&call, none.clone()));
    measure!("redact, 80 bytes", generation.transform_request(&call, "work"));
}
