//! Builds that replace each other while calls run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pointsman::config::{Pipeline, Plugin};
use pointsman::plugin::{Compiler, Generation, Host};
use pointsman::policy::{Hook, Policy, RouteChoice};
use serde_json::json;

use super::support::*;

async fn tag(generation: &Arc<Generation>) -> String {
    match generation.route(&call("{}"), candidates(&[])).await.unwrap() {
        RouteChoice::Answer(json) => json.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

async fn load(host: &Host, number: u64, plugin: &Plugin) -> Arc<Generation> {
    let loaded = host.load("p", plugin).await.unwrap();
    let pipeline = Pipeline::from([(Hook::Route, vec!["p".into()])]);
    host.generation(number, &pipeline.into(), BTreeMap::from([("p".into(), loaded)]))
        .unwrap()
}

fn put(variant: &str, at: &Path) {
    let next = at.with_extension("next");
    std::fs::copy(built(&format!("guests/guest-{variant}.wasm")), &next).unwrap();
    std::fs::rename(next, at).unwrap();
}

#[tokio::test]
async fn a_swap_leaves_running_calls_on_the_generation_they_began_with() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("plugin.wasm");
    let host = host();
    let plugin = file(path.clone(), json!({ "do": "tag" }));
    put("a", &path);
    let first = load(&host, 1, &plugin).await;
    assert_eq!(tag(&first).await, r#"{"tag":"a"}"#);
    put("b", &path);
    let second = load(&host, 2, &plugin).await;
    assert_eq!(tag(&second).await, r#"{"tag":"b"}"#);
    assert_eq!(tag(&first).await, r#"{"tag":"a"}"#);
    assert_eq!((first.generation(), second.generation()), (1, 2));
    let (first, second) = (first.status().remove(0), second.status().remove(0));
    assert_ne!(first.digest, second.digest);
    assert_eq!((first.calls, second.calls), (3, 3), "the counters belong to the name");
    assert_eq!((first.generation, second.generation), (1, 2));
}

#[tokio::test]
async fn an_unchanged_build_is_kept_warm() {
    let host = host();
    let plugin = guest(json!({ "do": "count" }));
    let first = host.load("p", &plugin).await.unwrap();
    let again = host.load("p", &plugin).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    for other in [
        guest(json!({ "do": "tag" })),
        Plugin {
            reuse: 5,
            ..plugin.clone()
        },
        file(built("guests/guest-b.wasm"), json!({ "do": "count" })),
    ] {
        assert!(!Arc::ptr_eq(&first, &host.load("p", &other).await.unwrap()));
    }
    let elsewhere = host.load("q", &plugin).await.unwrap();
    assert!(!Arc::ptr_eq(&first, &elsewhere));
}

#[tokio::test]
async fn a_bad_build_leaves_the_good_one_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("plugin.wasm");
    let host = host();
    let plugin = file(path.clone(), json!({ "do": "tag" }));
    put("a", &path);
    let good = load(&host, 1, &plugin).await;
    std::fs::write(&path, b"junk").unwrap();
    assert!(host.load("p", &plugin).await.is_err());
    assert_eq!(tag(&good).await, r#"{"tag":"a"}"#);
    put("b", &path);
    assert_eq!(tag(&load(&host, 2, &plugin).await).await, r#"{"tag":"b"}"#);
}

#[tokio::test]
async fn a_damaged_cache_entry_is_compiled_anew_and_the_child_agrees_with_the_router() {
    let home = tempfile::tempdir().unwrap();
    let mut policies = policies();
    policies.cache = Some(home.path().join("cache"));
    let plugin = guest(json!({ "do": "tag" }));
    let entries = || -> Vec<_> {
        let all = std::fs::read_dir(home.path().join("cache")).unwrap();
        all.map(|e| e.unwrap().path()).collect()
    };
    for compiler in [compiler(), Compiler::InProcess] {
        let host = Host::new(&policies, compiler).unwrap();
        assert_eq!(tag(&load(&host, 1, &plugin).await).await, r#"{"tag":"a"}"#);
        let [entry] = entries().try_into().unwrap();
        std::fs::remove_file(&entry).unwrap();
        std::fs::write(&entry, b"not machine code").unwrap();
        // Another host, since this one still has the build.
    }
    let host = Host::new(&policies, Compiler::Child("/nonexistent".into())).unwrap();
    assert!(
        host.load("p", &plugin).await.is_err(),
        "there was nothing to fall back to"
    );
    let host = Host::new(&policies, Compiler::InProcess).unwrap();
    load(&host, 1, &plugin).await;
    // What is in the cache needs no compiler.
    let host = Host::new(&policies, Compiler::Child("/nonexistent".into())).unwrap();
    assert_eq!(tag(&load(&host, 1, &plugin).await).await, r#"{"tag":"a"}"#);
    use std::os::unix::fs::PermissionsExt;
    let [entry] = entries().try_into().unwrap();
    assert_eq!(std::fs::metadata(entry).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn idle_instances_of_a_retired_build_say_good_bye() {
    let lines = Lines::default();
    let _guard = lines.catch();
    let host = host();
    let generation = load(&host, 1, &guest(json!({ "do": "tag" }))).await;
    tag(&generation).await;
    assert!(!lines.text().contains("was shut down"));
    drop(generation);
    for _ in 0..100 {
        if lines.text().contains("guest a was shut down") {
            assert!(lines.text().contains("plugin=\"p\""), "{}", lines.text());
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no good-bye in: {}", lines.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_builds_are_swapped() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("plugin.wasm");
    let host = host();
    let plugin = file(path.clone(), json!({ "do": "tag" }));
    put("a", &path);
    let current = Arc::new(Mutex::new(load(&host, 1, &plugin).await));
    let enough = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (current, enough) = (Arc::clone(&current), Arc::clone(&enough));
            tokio::spawn(async move {
                let mut seen = std::collections::BTreeSet::new();
                while !enough.load(Relaxed) {
                    let generation = Arc::clone(&current.lock().unwrap());
                    seen.insert(tag(&generation).await);
                    tokio::task::yield_now().await;
                }
                seen
            })
        })
        .collect();
    for number in 2..12 {
        put(if number % 2 == 0 { "b" } else { "a" }, &path);
        let next = load(&host, number, &plugin).await;
        *current.lock().unwrap() = next;
    }
    enough.store(true, Relaxed);
    for caller in callers {
        assert!(!caller.await.unwrap().is_empty());
    }
    assert_eq!(current.lock().unwrap().status()[0].faults, 0);
}
