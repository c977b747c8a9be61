//! Edits of the configuration while calls run: what is not touched loses nothing.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::JoinHandle;

use super::support::router::{demo, replace};
use super::support::{Agent, Era, Router, count, guest, until};

/// Agents that call one backend without a pause until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    agents: Vec<JoinHandle<usize>>,
}

impl Load {
    fn begin(router: &Router, path: &str, tool: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let agents = [Era::Legacy, Era::Modern].map(|era| {
            let (stop, address) = (Arc::clone(&stop), router.address);
            let (path, tool) = (path.to_owned(), tool.to_owned());
            tokio::spawn(async move {
                let mut agent = Agent::new(address, era, &path).await;
                let mut calls = 0;
                while !stop.load(Ordering::SeqCst) {
                    calls += 1;
                    let call = agent.call(&calls.to_string(), &tool, r#"{"text":"on"}"#).await;
                    assert_eq!(call.text(), "on", "call {calls} at {path}: {}", call.response);
                }
                calls
            })
        });
        Self {
            stop,
            agents: agents.into(),
        }
    }

    async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        let mut calls = 0;
        for agent in self.agents {
            calls += agent.await.unwrap();
        }
        calls
    }
}

fn settings(more: &str) -> String {
    format!("env = {{ EDIT = {more:?} }}\nstop = {{ drain = \"5s\" }}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_edit_does_not_touch_loses_nothing() {
    let rounds = count(30, 3);
    let still = demo("still", &[], "");
    // `moved` is respawned: a call in flight may end first, and what comes meanwhile is held.
    let moved = |n: usize| demo("moved", &["--start-delay", "50"], &settings(&n.to_string()));
    let base = |n: usize| format!("{still}{}", moved(n));
    let router = Router::start(&base(0)).await;
    let pid = router.ready("still").await;
    router.ready("moved").await;
    let loads = [
        Load::begin(&router, "/mcp", "still__echo"),
        Load::begin(&router, "/mcp/still", "echo"),
        Load::begin(&router, "/mcp/moved", "echo"),
    ];
    for round in 0..rounds {
        let before = router.ready("moved").await;
        router
            .apply(&format!("{}{}", base(round), demo("extra", &[], "")))
            .await;
        router.ready("extra").await;
        let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
        until("its tools are listed", || async {
            let mut agent = Agent::new(router.address, Era::Legacy, "/mcp").await;
            agent.tools().await.contains(&"extra__echo".into()).then_some(())
        })
        .await;
        assert_eq!(agent.call("1", "extra__echo", r#"{"text":"new"}"#).await.text(), "new");
        // Retuned: the same process.
        let retuned = base(round).replace("drain = \"5s\"", "drain = \"6s\"");
        router
            .apply(&retuned.replace("[backends.moved]", "[backends.moved]\nmax-in-flight = 7"))
            .await;
        assert_eq!(
            router.ready("moved").await,
            before,
            "a retuned backend keeps its process"
        );
        assert!(router.backend("extra").await.is_null(), "it was removed");
        assert_eq!(agent.call("2", "extra__echo", r#"{"text":"new"}"#).await.code(), -32602);
        router.apply(&base(round + 1)).await;
        until("the changed backend has another process", || async {
            (router.ready("moved").await != before).then_some(())
        })
        .await;
        let env = Agent::new(router.address, Era::Legacy, "/mcp/moved")
            .await
            .call("1", "env", r#"{"name":"EDIT"}"#)
            .await;
        assert_eq!(env.text(), (round + 1).to_string());
    }
    let mut calls = Vec::new();
    for load in loads {
        calls.push(load.end().await);
    }
    println!("{rounds} rounds of four edits, {calls:?} calls: 0 failed");
    assert_eq!(router.ready("still").await, pid, "the same process all along");
    router.is_quiet().await;
    router.is_sound().await;
}

#[tokio::test]
async fn bad_files_are_refused_with_their_line_and_change_nothing() {
    let good = format!("{}{}", demo("one", &[], ""), demo("two", &[], ""));
    let router = Router::start(&good).await;
    let pids = (router.ready("one").await, router.ready("two").await);
    let load = Load::begin(&router, "/mcp", "one__echo");
    for (bad, said) in [
        ("\n[backends.three\ncommand = \"x\"\n", ":1"),
        ("\n[backends.three]\n", "command"),
        ("\n[backends.three]\ncommand = \"x\"\nreplicas = -1\n", "replicas"),
        ("\n[backends.three]\ncommand = \"x\"\nreplicaz = 1\n", "replicaz"),
        ("\n[endpoints.e]\nbackends = [\"nobody\"]\n", "nobody"),
        ("\n[pipeline]\nroute = [\"nobody\"]\n", "nobody"),
        ("\n[backends.one]\ncommand = \"x\"\n", "duplicate key"),
    ] {
        router.rewrite(&format!("{good}{bad}"));
        let status = router.until("it is refused", |s| s["config_error"].is_string()).await;
        let error = status["config_error"].as_str().unwrap();
        assert!(
            error.contains("pointsman.toml:") && error.contains(said),
            "{bad}: {error}"
        );
        let first = error.lines().next().unwrap();
        until("the log says so too", || async {
            router.log().contains(first).then_some(())
        })
        .await;
        assert_eq!(status["backends"].as_array().unwrap().len(), 2);
        router.rewrite(&good);
        router.until("it is good again", |s| s["config_error"].is_null()).await;
    }
    // Not UTF-8, empty of backends, gone and back.
    let main = router.folder().join("pointsman.toml");
    replace(&main, b"[backends]\n\xff\xfe = 1\n");
    router.until("it is refused", |s| s["config_error"].is_string()).await;
    fs::remove_file(&main).unwrap();
    router
        .until("it is missed", |s| {
            s["config_error"].as_str().is_some_and(|e| e.contains("cannot be read"))
        })
        .await;
    router.rewrite(&good);
    router.until("it is good again", |s| s["config_error"].is_null()).await;
    assert_eq!((router.ready("one").await, router.ready("two").await), pids);
    println!("{} calls beside the bad files: 0 failed", load.end().await);
    router.is_sound().await;
}

#[tokio::test]
async fn a_mended_include_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let more = folder.path().join("more.toml");
    fs::write(&more, "[backends.late]\ncommand = 7\n").unwrap();
    let router = Router::start_in(folder, &demo("one", &[], "")).await;
    router.ready("one").await;
    router.rewrite(&format!("include = [\"more.toml\"]\n{}", demo("one", &[], "")));
    router.until("it is refused", |s| s["config_error"].is_string()).await;
    // The main file stays as it is: what was wrong was the other one.
    replace(&more, demo("late", &[], "").as_bytes());
    router.ready("late").await;
    router.is_sound().await;
}

#[tokio::test]
async fn an_edit_during_the_start_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (main, cache) = (folder.path().join("pointsman.toml"), folder.path().join("cold"));
    // With nothing in the cache the components are compiled, which takes a while.
    let toml = |more: &str| format!("{}{more}[policies]\ncache = \"cold\"\n", demo("one", &[], ""));
    let edit = {
        let edited = format!("[listen]\naddress = \"127.0.0.1:0\"\n{}", toml(&demo("late", &[], "")));
        std::thread::spawn(move || {
            while !cache.exists() {
                std::thread::yield_now();
            }
            replace(&main, edited.as_bytes());
        })
    };
    let router = Router::start_in(folder, &toml("")).await;
    edit.join().unwrap();
    router.ready("late").await;
    router.is_sound().await;
}

#[tokio::test]
async fn a_broken_plugin_does_not_hold_up_the_backends_of_the_same_edit() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(guest("guest-a.wasm"), folder.path().join("good.wasm")).unwrap();
    fs::write(folder.path().join("bad.wasm"), b"junk").unwrap();
    let toml = |file: &str, more: &str| {
        format!(
            "{}{more}[plugins.p]\nfile = \"{file}.wasm\"\nconfig = {{ do = \"set\", text = \"/by\" }}\nwall = \"5s\"\n[pipeline]\ntransform-response = [\"p\"]\n",
            demo("one", &[], "")
        )
    };
    let router = Router::start_in(folder, &toml("good", "")).await;
    let pid = router.ready("one").await;
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp/one").await;
    let by = |c: &super::support::Called| c.response["result"]["by"].clone();
    assert_eq!(by(&agent.call("1", "echo", r#"{"text":"x"}"#).await), "a");
    router.apply(&toml("bad", &demo("two", &[], ""))).await;
    router.ready("two").await;
    let status = router
        .until("the plugin is refused", |s| s["rejected"]["p"].is_string())
        .await;
    println!("rejected: {}", status["rejected"]);
    assert_eq!(
        by(&agent.call("2", "echo", r#"{"text":"x"}"#).await),
        "a",
        "the last good one serves"
    );
    // A new plugin that is broken from the beginning, asked in a changed pipeline.
    let fresh = "[plugins.q]\nfile = \"bad.wasm\"\non-load-failure = \"refuse-start\"\n";
    let fresh = toml("good", fresh).replace("[\"p\"]", "[\"p\", \"q\"]");
    router.apply(&format!("{fresh}{}", demo("three", &[], ""))).await;
    router.ready("three").await;
    let status = router
        .until("the new plugin is refused", |s| s["rejected"]["q"].is_string())
        .await;
    println!("rejected: {}", status["rejected"]);
    assert_eq!(by(&agent.call("3", "echo", r#"{"text":"x"}"#).await), "a");
    replace(
        &router.folder().join("bad.wasm"),
        &fs::read(guest("guest-b.wasm")).unwrap(),
    );
    router.until("nothing is refused", |s| s["rejected"] == json!({})).await;
    assert_eq!(router.ready("one").await, pid);
    router.is_sound().await;
}

#[tokio::test]
async fn a_restart_is_asked_for_only_while_it_is_needed() {
    let toml = |body: &str| {
        format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nmax-body = \"{body}\"\n{}",
            demo("one", &[], "")
        )
    };
    let router = Router::start(&toml("4MiB")).await;
    router.ready("one").await;
    for body in ["5MiB", "6MiB"] {
        router.apply(&toml(body)).await;
        assert_eq!(router.status().await["needs_restart"], json!(["[listen]"]));
    }
    router.apply(&toml("4MiB")).await;
    assert_eq!(
        router.status().await["needs_restart"],
        json!([]),
        "it is as it was at the start"
    );
}
