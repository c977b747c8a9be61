//! Every configurable limit is hit once: a limit that nobody tests is none.

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use pointsman::config::{Plugin, Policies, Source};
use pointsman::plugin::{Compiler, Generation, Host, MAX_MEMORY, Problem, Stage};
use pointsman::policy::{FaultKind, Policy, RouteChoice};
use serde_json::{Value, json};

use super::support::*;

async fn ask(generation: &Arc<Generation>, orders: Value) -> Result<RouteChoice, FaultKind> {
    let outcome = generation.route(&order(orders), candidates(&[])).await;
    outcome.map_err(|fault| fault.kind)
}

fn answer(json: Value) -> Result<RouteChoice, FaultKind> {
    Ok(RouteChoice::Answer(pointsman::wire::RawJson::from(json.to_string())))
}

#[tokio::test]
async fn cpu() {
    let spent = async |cpu| {
        let generation = alone(Plugin {
            cpu,
            ..guest(json!({}))
        })
        .await;
        let began = Instant::now();
        assert_eq!(ask(&generation, json!({ "do": "loop" })).await, Err(FaultKind::Cpu));
        began.elapsed()
    };
    assert!(spent(Duration::from_millis(5)).await < Duration::from_millis(500));
    assert!(spent(Duration::from_millis(200)).await >= Duration::from_millis(190));
}

#[tokio::test]
async fn wall() {
    let plugin = Plugin {
        cpu: Duration::from_secs(60),
        wall: Duration::from_millis(50),
        ..guest(json!({}))
    };
    let generation = alone(plugin).await;
    let began = Instant::now();
    assert_eq!(ask(&generation, json!({ "do": "loop" })).await, Err(FaultKind::Wall));
    let spent = began.elapsed();
    assert!(
        spent >= Duration::from_millis(50) && spent < Duration::from_millis(500),
        "{spent:?}"
    );
}

#[tokio::test]
async fn memory() {
    let orders = json!({ "do": "big", "number": 5 << 20 });
    let with = async |memory| {
        let plugin = Plugin {
            memory,
            output: 1 << 20,
            cpu: Duration::from_millis(200),
            ..guest(json!({}))
        };
        ask(&alone(plugin).await, orders.clone()).await
    };
    // With room enough it is the output that is too large, else the memory.
    assert_eq!(with(16 << 20).await, Err(FaultKind::Output));
    assert_eq!(with(4 << 20).await, Err(FaultKind::Trap));

    let error = generation(
        &host(),
        &[(
            "p",
            Plugin {
                memory: MAX_MEMORY + 1,
                ..guest(json!({}))
            },
        )],
    )
    .await
    .err()
    .unwrap();
    assert!(matches!(error.problem, Problem::MemoryLimit { .. }));
    // Less than the component needs to start at all.
    let error = generation(
        &host(),
        &[(
            "p",
            Plugin {
                memory: 65_536,
                ..guest(json!({}))
            },
        )],
    )
    .await
    .err()
    .unwrap();
    assert_eq!(error.stage(), Stage::Probe);
    assert!(error.to_string().contains("memory"), "{error}");
}

#[tokio::test]
async fn output() {
    let generation = alone(Plugin {
        output: 1000,
        ..guest(json!({}))
    })
    .await;
    let text = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    assert!(
        ask(&generation, json!({ "do": "answer", "text": text(1000) }))
            .await
            .is_ok()
    );
    for length in [1001, 2000, 100_000] {
        let outcome = ask(&generation, json!({ "do": "answer", "text": text(length) })).await;
        assert_eq!(outcome, Err(FaultKind::Output), "{length}");
    }
    let large = order(json!({ "do": "big", "text": "/a", "number": 1000 }));
    assert_eq!(
        generation.transform_request(&large, "work").await.unwrap_err().kind,
        FaultKind::Output
    );
}

/// Polls once, so that the future is on its way, and leaves it there.
async fn begin(future: &mut (impl Future + Unpin)) {
    std::future::poll_fn(|context| {
        assert!(std::pin::Pin::new(&mut *future).poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn instances() {
    let with = |instances| Plugin {
        instances,
        cpu: Duration::from_secs(60),
        wall: Duration::from_millis(300),
        ..closed(guest(json!({})))
    };
    let looping = order(json!({ "do": "loop" }));

    // The only instance is in use by a call that makes no headway: the next one waits its time, and no longer.
    let one = alone(with(1)).await;
    let mut stuck = one.route(&looping, candidates(&[]));
    begin(&mut stuck).await;
    let call = order(json!({ "do": "count" }));
    let fault = one.route(&call, candidates(&[])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Wall);
    assert!(fault.message.contains("no instance was free"), "{fault}");
    assert_eq!(one.status()[0].faults, 0, "waiting is not the plugin's fault");
    drop(stuck);
    assert!(one.route(&call, candidates(&[])).await.is_ok());

    let two = alone(with(2)).await;
    let mut stuck = two.route(&looping, candidates(&[]));
    begin(&mut stuck).await;
    assert!(two.route(&call, candidates(&[])).await.is_ok());
}

#[tokio::test]
async fn slots_of_the_whole_router() {
    let plugin = Plugin {
        instances: 1000,
        cpu: Duration::from_secs(60),
        wall: Duration::from_secs(60),
        ..closed(guest(json!({})))
    };
    let generation = alone(plugin).await;
    let looping = order(json!({ "do": "loop" }));
    let mut stuck: Vec<_> = (0..256).map(|_| generation.route(&looping, candidates(&[]))).collect();
    for call in &mut stuck {
        begin(call).await;
    }
    let call = order(json!({ "do": "count" }));
    let fault = generation.route(&call, candidates(&[])).await.unwrap_err();
    assert!(fault.message.contains("no slot left"), "{fault}");
    assert_eq!(generation.status()[0].faults, 0, "that is not the plugin's fault");
    stuck.pop();
    assert!(generation.route(&call, candidates(&[])).await.is_ok());
}

#[tokio::test]
async fn one_who_waits_gets_the_instance_as_it_was_left() {
    let plugin = Plugin {
        instances: 1,
        cpu: Duration::from_secs(60),
        ..guest(json!({}))
    };
    let generation = alone(plugin).await;
    let slow = order(json!({ "do": "count-slowly", "number": 20_000_000 }));
    let quick = order(json!({ "do": "count" }));
    let (slow, quick) = tokio::join!(
        generation.route(&slow, candidates(&[])),
        generation.route(&quick, candidates(&[])),
    );
    assert_eq!(slow.map_err(|f| f.kind), answer(json!({ "count": 1 })));
    assert_eq!(quick.map_err(|f| f.kind), answer(json!({ "count": 2 })));
}

#[tokio::test]
async fn reuse() {
    let counts = async |reuse| {
        let generation = alone(Plugin {
            reuse,
            ..guest(json!({}))
        })
        .await;
        let mut counts = Vec::new();
        for _ in 0..7 {
            let Ok(RouteChoice::Answer(json)) = ask(&generation, json!({ "do": "count" })).await else {
                panic!();
            };
            counts.push(
                serde_json::from_str::<Value>(json.as_str()).unwrap()["count"]
                    .as_u64()
                    .unwrap(),
            );
        }
        counts
    };
    assert_eq!(counts(3).await, [1, 2, 3, 1, 2, 3, 1]);
    assert_eq!(counts(1).await, [1; 7]);
}

#[tokio::test]
async fn an_instance_that_a_large_call_made_grow_is_replaced() {
    let generation = alone(guest(json!({}))).await;
    let mut counts = Vec::new();
    for number in [0, 100_000, 6 << 20] {
        assert!(
            ask(&generation, json!({ "do": "swell", "number": number }))
                .await
                .is_ok()
        );
        counts.push(ask(&generation, json!({ "do": "count" })).await);
    }
    let expected = [1, 2, 1].map(|n| answer(json!({ "count": n })));
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn breaker() {
    let host = Host::new(
        &Policies {
            breaker: 3,
            ..policies()
        },
        compiler(),
    )
    .unwrap();
    let generation = generation(&host, &[("p", closed(guest(json!({}))))]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(generation.status()[0].breaker, "closed");
        assert_eq!(ask(&generation, json!({ "do": "panic" })).await, Err(FaultKind::Trap));
    }
    let call = order(json!({ "do": "count" }));
    let fault = generation.route(&call, candidates(&[])).await.unwrap_err();
    assert!(fault.message.contains("switched off"), "{fault}");
    let status = generation.status().remove(0);
    assert_eq!(
        (status.breaker, status.calls, status.faults),
        ("off", 3, 3),
        "it was called while off"
    );
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(generation.status()[0].breaker, "trying");
    assert_eq!(
        ask(&generation, json!({ "do": "count" })).await,
        answer(json!({ "count": 1 }))
    );
    assert_eq!(generation.status()[0].breaker, "closed");
}

#[tokio::test]
async fn max_component() {
    let policies = Policies {
        max_component: 20_000,
        ..policies()
    };
    let host = Host::new(&policies, compiler()).unwrap();
    assert!(host.load("small", &embedded("least-busy", json!({}))).await.is_ok());
    for plugin in [guest(json!({})), embedded("default-route", json!({}))] {
        let error = host.load("large", &plugin).await.err().unwrap();
        assert!(matches!(error.problem, Problem::TooLarge(20_000)), "{error}");
        assert_eq!(error.stage(), Stage::Verify);
    }
}

#[tokio::test]
async fn compile_timeout_and_other_ends_of_the_compiler() {
    let home = tempfile::tempdir().unwrap();
    let host = |number: u32, script: &str| {
        let program = home.path().join(format!("compiler-{number}"));
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let policies = Policies {
            cache: Some(home.path().join("cache")),
            compile_timeout: Duration::from_millis(200),
            ..Policies::default()
        };
        Host::new(&policies, Compiler::Child(program)).unwrap()
    };
    let plugin = embedded("least-busy", json!({}));
    let began = Instant::now();
    let error = host(1, "exec sleep 60").load("p", &plugin).await.err().unwrap();
    assert!(matches!(error.problem, Problem::CompileTimeout(_)), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5));
    for (number, script, word) in [
        (2, "echo no good >&2; exit 1", "no good"),
        (3, "kill -9 $$", "signal: 9"),
        (4, "echo nonsense > $3", "compiling failed"),
        (5, "exit 0", "compiled components"),
    ] {
        let error = host(number, script).load("p", &plugin).await.err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
    let left = std::fs::read_dir(home.path().join("cache")).unwrap();
    let left: Vec<_> = left
        .map(|e| e.unwrap().file_name())
        .filter(|n| n.as_encoded_bytes().starts_with(b"."))
        .collect();
    assert!(left.is_empty(), "scratch files are left: {left:?}");
}

#[tokio::test]
async fn what_a_guest_writes_to_the_log_is_bounded() {
    // 100,000 lines of 10 KB: almost all are dropped, and the guest's time is its own.
    let plugin = Plugin {
        cpu: Duration::from_secs(4),
        ..guest(json!({}))
    };
    let generation = alone(plugin).await;
    let outcome = ask(&generation, json!({ "do": "chatter", "number": 1000 })).await;
    assert_eq!(outcome, Ok(RouteChoice::Among(vec![])));
    // One line larger than the output limit is refused before the host copies it.
    let small = alone(Plugin {
        output: 5000,
        ..guest(json!({}))
    })
    .await;
    assert_eq!(
        ask(&small, json!({ "do": "chatter", "number": 1 })).await,
        Err(FaultKind::Output)
    );
}

#[tokio::test]
async fn a_source_that_is_no_file_is_refused() {
    let home = tempfile::tempdir().unwrap();
    // Who opens a pipe waits for somebody who writes.
    let pipe = home.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for (source, stage) in [
        (Source::File(pipe), Stage::Discover),
        (Source::File("/nonexistent.wasm".into()), Stage::Discover),
        (Source::File("/dev/zero".into()), Stage::Discover),
        (Source::File("/tmp".into()), Stage::Discover),
        (Source::Embedded("nothing".into()), Stage::Discover),
    ] {
        let plugin = Plugin {
            source,
            ..Plugin::default()
        };
        assert_eq!(host().load("p", &plugin).await.err().unwrap().stage(), stage);
    }
}
