//! Bounds of what a plugin holds, here and in the router: tables, stack, host memory, lines in the log. The configured
//! ones are in `limits.rs`, those of the capabilities in `capabilities.rs` and `outside.rs`.

use std::time::Duration;

use pointsman::config::{Grants, HttpGrant, KvGrant, MetricsGrant, Plugin};
use pointsman::plugin::{Generation, Stage};
use pointsman::policy::{FaultKind, Policy, PolicyFault, RouteChoice};
use serde_json::{Value, json};

use super::handmade::{LET_GO, routes};
use super::support::*;

async fn ask(generation: &Generation, orders: Value) -> Result<RouteChoice, PolicyFault> {
    generation.route(&order(orders), candidates(&["a"])).await
}

/// What a component of our own making is told when it does this, twice: the second time in a fresh store.
async fn fault_of(fields: &str, body: &str) -> PolicyFault {
    let (_folder, plugin) = routes(fields, body);
    let generation = alone(closed(plugin)).await;
    let first = ask(&generation, json!({})).await.unwrap_err();
    let second = ask(&generation, json!({})).await.unwrap_err();
    assert_eq!(first, second);
    first
}

#[tokio::test]
async fn a_component_made_by_hand_is_a_plugin_like_any_other() {
    let (_folder, plugin) = routes("", LET_GO);
    let choice = ask(&*alone(closed(plugin)).await, json!({})).await.unwrap();
    assert_eq!(choice, RouteChoice::Among(vec![0]));
    // What it was lent it may not keep.
    let fault = fault_of("", "").await;
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("borrow handles still remain"), "{fault}");
}

#[tokio::test]
async fn tables() {
    let fault = fault_of(
        "(table $t 1 funcref)",
        "(loop $on (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $on))",
    )
    .await;
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(
        fault
            .message
            .contains("wanted 100001 table elements, 100000 are allowed"),
        "{fault}"
    );
    // One that is too large from the beginning never starts.
    let (_folder, plugin) = routes("(table 100001 funcref)", "");
    let error = host().load("p", &plugin).await.err().unwrap();
    assert!(error.to_string().contains("exceeds the limit of 100000"), "{error}");
    assert_eq!(error.stage(), Stage::Compile, "{error}");
}

#[tokio::test]
async fn stack() {
    // No memory grows here: it is the native stack alone.
    let deeper = "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))";
    let fault = fault_of(deeper, "(drop (call $deeper (i64.const 1)))").await;
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("stack"), "{fault}");
}

#[tokio::test]
async fn memory_of_a_guest_that_does_not_ask_an_allocator() {
    let grow = "(loop $on (drop (memory.grow (i32.const 1))) (br $on))";
    let fault = fault_of("", grow).await;
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(
        fault.message.contains("bytes of memory, 16777216 are allowed"),
        "{fault}"
    );
}

/// A store and numbers with room for everything, so that only the bound on what is handed over at a time counts.
fn generous(output: usize) -> Plugin {
    let grants = Grants {
        metrics: Some(MetricsGrant { series: 1000 }),
        kv: Some(KvGrant {
            namespace: None,
            keys: 1000,
            bytes: 1 << 30,
        }),
        http: Some(HttpGrant {
            max_body: 1 << 30,
            ..Default::default()
        }),
        ..everything()
    };
    Plugin {
        output,
        memory: 120 << 20,
        cpu: Duration::from_secs(5),
        ..reach(grants)
    }
}

#[tokio::test]
async fn host_memory() {
    // Whatever a guest hands over is copied by the router, so it is bounded before that happens, in every function.
    let generation = alone(generous(1000)).await;
    let long = "x".repeat(2000);
    let many = (0..300).map(|n| format!("l{n}=v")).collect::<Vec<_>>().join(",");
    for orders in [
        json!([{ "do": "fill", "key": "k", "length": 100_000_000 }]),
        json!([{ "do": "fill", "key": long, "length": 1 }]),
        json!([{ "do": "get", "key": long }]),
        json!([{ "do": "has", "key": long }]),
        json!([{ "do": "log", "value": long }]),
        json!([{ "do": "count", "key": "n", "labels": many }]),
        json!([{ "do": "count", "key": long }]),
        json!([{ "do": "send", "method": "POST", "url": "http://127.0.0.1:9/", "length": 50_000_000 }]),
        json!([{ "do": "send", "method": "GET", "url": "http://127.0.0.1:9/", "headers": many }]),
        json!([{ "do": "candidate", "key": long }]),
    ] {
        let fault = ask(&generation, orders.clone()).await.unwrap_err();
        let orders: String = orders.to_string().chars().take(60).collect();
        assert_eq!(fault.kind, FaultKind::Output, "{orders}: {fault}");
        assert!(fault.message.contains("output limit"), "{orders}: {fault}");
        // One that goes well keeps the breaker closed.
        ask(&generation, json!([{ "do": "now" }])).await.unwrap();
    }
    // What fits is taken, again and again: the bound is one of each call into the router.
    let orders: Vec<Value> = (0..20)
        .map(|n| json!({ "do": "fill", "key": format!("k{n}"), "length": 700 }))
        .collect();
    ask(&generation, Value::Array(orders)).await.unwrap();
}

#[tokio::test]
async fn log_lines_in_a_second() {
    let lines = Lines::default();
    let _guard = lines.catch();
    let generation = alone(Plugin {
        cpu: Duration::from_secs(4),
        ..guest(json!({}))
    })
    .await;
    let chatter = || ask(&generation, json!({ "do": "chatter", "number": 120 }));
    // From here on time stands still, but for what is told.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(chatter().await.is_ok());
    let text = lines.text();
    let said: Vec<&str> = text.lines().filter(|l| l.contains(" line ")).collect();
    assert_eq!(said.len(), 50, "{said:?}");
    assert!(said.iter().all(|line| line.len() < 1200), "each is cut to a kilobyte");
    assert!(!text.contains("too many log lines"));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(chatter().await.is_ok());
    let text = lines.text();
    assert_eq!(text.lines().filter(|l| l.contains(" line ")).count(), 100);
    assert!(
        text.contains("the plugin wrote too many log lines") && text.contains("dropped=70"),
        "{text}"
    );
    assert_eq!(generation.status()[0].faults, 0, "it is no fault");
}
