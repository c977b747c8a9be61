//! Plugins that cannot be loaded when the router starts: what that does is theirs to say, and mended files are taken up.

use std::fs;
use std::process::{Command, Stdio};

use super::support::router::{demo, replace};
use super::support::{Agent, Called, Era, Router, guest, until};

fn toml(policy: &str, hook: &str, orders: &str) -> String {
    let policy = match policy {
        "" => String::new(),
        word => format!("on-load-failure = \"{word}\"\n"),
    };
    format!(
        "{}[plugins.p]\nfile = \"p.wasm\"\nconfig = {{ do = \"{orders}\" }}\nwall = \"5s\"\ncpu = \"200ms\"\n{policy}[pipeline]\n{hook} = [\"p\"]\n",
        demo("one", &[], "")
    )
}

async fn with_junk(policy: &str, hook: &str, orders: &str) -> Router {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p.wasm"), "junk").unwrap();
    let router = Router::start_in(folder, &toml(policy, hook, orders)).await;
    router.ready("one").await;
    router
}

async fn call(router: &Router) -> Called {
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
    agent.call("1", "echo", r#"{"text":"hello"}"#).await
}

fn mend(router: &Router) {
    let good = fs::read(guest("guest-a.wasm")).unwrap();
    replace(&router.folder().join("p.wasm"), &good);
}

#[test]
fn with_refuse_start_the_router_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{}\n[listen]\naddress = \"127.0.0.1:0\"\n[router]\nadmin-socket = \"admin.sock\"\n",
        toml("refuse-start", "route", "tag")
    );
    fs::write(folder.path().join("pointsman.toml"), text).unwrap();
    fs::write(folder.path().join("p.wasm"), "junk").unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["run", "--config", "pointsman.toml"])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success());
    assert!(said.contains("plugin p: rejected at verify"), "{said}");
}

#[tokio::test]
async fn without_a_word_about_it_the_router_starts_and_fails_what_would_ask_it() {
    let router = with_junk("", "route", "tag").await;
    assert_eq!(router.status().await["absent"]["p"], "closed");
    assert_eq!(call(&router).await.code(), 7010);
    mend(&router);
    until("it serves", || async {
        (call(&router).await.response["result"]["tag"] == "a").then_some(())
    })
    .await;
}

#[tokio::test]
async fn closed_fails_whatever_would_ask_it_until_its_file_is_mended() {
    let router = with_junk("closed", "route", "tag").await;
    let status = router.status().await;
    assert_eq!(status["absent"]["p"], "closed", "{status}");
    assert!(status["rejected"]["p"].as_str().unwrap().contains("rejected at verify"));
    let failed = call(&router).await;
    assert_eq!(failed.code(), 7010, "{}", failed.response);
    let words = failed.response["error"]["message"].as_str().unwrap();
    assert!(words.contains("could not be loaded"), "{words}");
    assert!(router.log().contains("the router goes on without it"));
    mend(&router);
    router.until("it is mended", |s| s["absent"]["p"].is_null()).await;
    until("it serves", || async {
        (call(&router).await.response["result"]["tag"] == "a").then_some(())
    })
    .await;
    assert!(router.status().await["rejected"]["p"].is_null());
    // From now on there is a build to go on with.
    replace(&router.folder().join("p.wasm"), b"more junk");
    let status = router.until("it is refused", |s| !s["rejected"]["p"].is_null()).await;
    assert!(status["absent"]["p"].is_null(), "{status}");
    assert_eq!(call(&router).await.response["result"]["tag"], "a");
    router.is_sound().await;
}

#[tokio::test]
async fn closed_counts_for_lists_too() {
    let router = with_junk("closed", "transform-list", "none").await;
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
    let list = agent.ask("1", "tools/list", "", "").await;
    assert_eq!(list.code(), 7010, "{}", list.response);
    mend(&router);
    router.until("it is mended", |s| s["absent"]["p"].is_null()).await;
    until("there is a list", || async {
        let list = Agent::new(router.address, Era::Modern, "/mcp")
            .await
            .ask("1", "tools/list", "", "")
            .await;
        list.response["result"]["tools"].is_array().then_some(())
    })
    .await;
    router.is_sound().await;
}

#[tokio::test]
async fn open_passes_it_by_until_its_file_is_mended() {
    let router = with_junk("open", "route", "tag").await;
    let status = router.status().await;
    assert_eq!(status["absent"]["p"], "open", "{status}");
    assert_eq!(call(&router).await.text(), "hello");
    mend(&router);
    until("it serves", || async {
        (call(&router).await.response["result"]["tag"] == "a").then_some(())
    })
    .await;
    assert!(router.status().await["absent"]["p"].is_null());
    // A plugin that is new in a running router goes by the same word.
    let more = format!(
        "{}\n[plugins.q]\nfile = \"nowhere.wasm\"\non-load-failure = \"open\"\n",
        toml("open", "route", "tag").replace("route = [\"p\"]", "route = [\"q\", \"p\"]")
    );
    router.rewrite(&more);
    router.until("it is passed by", |s| s["absent"]["q"] == "open").await;
    assert_eq!(call(&router).await.response["result"]["tag"], "a");
    router.is_sound().await;
}

#[tokio::test]
async fn a_plugin_that_is_new_and_broken_holds_up_nothing_of_its_edit() {
    let router = Router::start(&demo("one", &[], "")).await;
    let pid = router.ready("one").await;
    assert_eq!(call(&router).await.text(), "hello");
    let edited = |word: &str, backend: &str| {
        let plugin = format!("[plugins.q]\nfile = \"nowhere.wasm\"\non-load-failure = \"{word}\"\n");
        let pipeline = "[pipeline]\nroute = [\"q\", \"default-route\"]\n";
        format!("{}{}{plugin}{pipeline}", demo("one", &[], ""), demo(backend, &[], ""))
    };
    // The path of one backend: with two of them `/mcp` has other names.
    let at_one = async || {
        let mut agent = Agent::new(router.address, Era::Modern, "/mcp/one").await;
        agent.call("1", "echo", r#"{"text":"hello"}"#).await
    };
    for (word, backend) in [("closed", "two"), ("open", "three"), ("closed", "four")] {
        router.apply(&edited(word, backend)).await;
        router.ready(backend).await;
        let status = router.until("it is known", |s| s["absent"]["q"] == word).await;
        let why = status["rejected"]["q"].as_str().unwrap();
        assert!(why.contains("rejected at discover"), "{why}");
        let called = at_one().await;
        match word {
            "open" => assert_eq!(called.text(), "hello", "{}", called.response),
            _ => assert_eq!(called.code(), 7010, "{}", called.response),
        }
    }
    // With `refuse-start` the policies stay as they are; all else of the edit is in force.
    router.apply(&demo("one", &[], "")).await;
    until("calls go on", || async {
        (at_one().await.text() == "hello").then_some(())
    })
    .await;
    router.apply(&edited("refuse-start", "five")).await;
    router.ready("five").await;
    router.until("it is refused", |s| s["rejected"]["q"].is_string()).await;
    assert_eq!(at_one().await.text(), "hello");
    assert_eq!(router.ready("one").await, pid, "no backend was touched");
    router.is_sound().await;
}
