//! A new build that fails again and again soon after its swap: the one before is put back.

use std::fs;

use serde_json::Value;

use super::support::router::{demo, replace};
use super::support::{Agent, Era, Router, guest, until};

/// One plugin whose orders are `orders`; two faults in a row switch it off.
fn toml(orders: &str, young: &str) -> String {
    format!(
        "{}[plugins.p]\nfile = \"p.wasm\"\nconfig = {{ do = \"{orders}\" }}\nwall = \"5s\"\ncpu = \"200ms\"\n\
         [pipeline]\nroute = [\"p\"]\n[policies]\nbreaker = 2\n{young}\n",
        demo("one", &[], "")
    )
}

/// What a call brings: the tag of the build, or the error's code.
async fn call(router: &Router) -> Value {
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
    let called = agent.call("1", "echo", r#"{"text":"hello"}"#).await;
    match called.response["result"]["tag"].as_str() {
        Some(tag) => tag.into(),
        None => called.code().into(),
    }
}

async fn serves(router: &Router, what: &str, expected: impl Into<Value>) {
    let expected = expected.into();
    until(what, || async { (call(router).await == expected).then_some(()) }).await;
}

async fn start(young: &str) -> Router {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(guest("guest-a.wasm"), folder.path().join("p.wasm")).unwrap();
    let router = Router::start_in(folder, &toml("tag", young)).await;
    router.ready("one").await;
    serves(&router, "the first build serves", "a").await;
    router
}

fn breaker(status: &Value) -> &Value {
    let plugins = status["plugins"].as_array().unwrap();
    &plugins.iter().find(|p| p["name"] == "p").unwrap()["breaker"]
}

fn taken_back(status: &Value) -> bool {
    let why = status["rejected"]["p"].as_str();
    why.is_some_and(|why| why.contains("taken back after faults in a row"))
}

#[tokio::test]
async fn a_young_build_that_fails_is_taken_back_until_its_file_changes() {
    let router = start("").await;
    // The same file with other orders is another build: it traps in every call.
    router.apply(&toml("panic", "")).await;
    serves(&router, "it fails", 7010).await;
    serves(&router, "the build before is back", "a").await;
    let status = router.until("status says so", taken_back).await;
    let why = status["rejected"]["p"].as_str().unwrap();
    assert!(why.contains("route: "), "{why}");
    assert_eq!(breaker(&status), "closed", "{status}");
    // An edit of something else does not bring it back.
    let generation = status["generation"].as_u64();
    router
        .apply(&format!("{}{}", demo("two", &[], ""), toml("panic", "")))
        .await;
    router.ready("two").await;
    let status = router.status().await;
    assert!(taken_back(&status), "{status}");
    assert_eq!(status["generation"].as_u64(), generation);
    assert_eq!(call(&router).await, "a");
    // Another file is another try, which ends in the same way.
    let b = fs::read(guest("guest-b.wasm")).unwrap();
    replace(&router.folder().join("p.wasm"), &b);
    serves(&router, "it is tried", 7010).await;
    serves(&router, "and taken back", "a").await;
    // And one that is good stays.
    router.apply(&toml("tag", "")).await;
    serves(&router, "a good one serves", "b").await;
    router
        .until("nothing is refused", |s| s["rejected"]["p"].is_null())
        .await;
    router.is_sound().await;
}

#[tokio::test]
async fn a_build_that_is_not_young_stays() {
    let router = start("young = \"0s\"").await;
    router.apply(&toml("panic", "young = \"0s\"")).await;
    serves(&router, "it fails", 7010).await;
    assert_eq!(call(&router).await, 7010);
    let status = router.until("it is switched off", |s| breaker(s) != "closed").await;
    assert!(status["rejected"]["p"].is_null(), "{status}");
    for _ in 0..3 {
        assert_eq!(call(&router).await, 7010);
    }
    assert!(!taken_back(&router.status().await));
    router.is_sound().await;
}
