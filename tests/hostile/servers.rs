//! Edits of a desktop client's file, and what is held while a backend changes.

use std::fs;

use serde_json::{Value, json};

use super::support::router::{demo, replace};
use super::support::{Agent, Era, Router};

fn servers(names: &[(&str, &str)]) -> String {
    let program = env!("CARGO_BIN_EXE_pointsman");
    let one = |(name, edit): &(&str, &str)| {
        let server = json!({ "command": program, "args": ["demo-server"], "env": { "EDIT": edit } });
        ((*name).to_owned(), server)
    };
    let all: serde_json::Map<String, Value> = names.iter().map(one).collect();
    json!({ "mcpServers": all }).to_string()
}

#[tokio::test]
async fn edits_of_a_desktop_clients_file_are_taken_up() {
    let router = Router::start_of_servers(&servers(&[("one", "1"), ("two", "1")]));
    let (one, two) = (router.ready("one").await, router.ready("two").await);
    let file = router.folder().join("servers.json");
    replace(&file, servers(&[("one", "1"), ("two", "2"), ("three", "1")]).as_bytes());
    router.ready("three").await;
    router
        .until("two has another process", |s| {
            let backends = s["backends"].as_array().unwrap();
            let target = &backends.iter().find(|b| b["name"] == "two").unwrap()["targets"][0];
            target["pid"].as_u64().is_some_and(|pid| pid != two) && target["state"] == "ready"
        })
        .await;
    let mut agent = Agent::new(router.address, Era::Legacy, "/mcp/two").await;
    assert_eq!(agent.call("1", "env", r#"{"name":"EDIT"}"#).await.text(), "2");
    for bad in [
        "",
        "{",
        "[]",
        "{\"mcpServers\":{\"x\":7}}",
        "{\"mcpServers\":{\"x\":{\"args\":[]}}}",
    ] {
        replace(&file, bad.as_bytes());
        let status = router.until("it is refused", |s| s["config_error"].is_string()).await;
        let error = status["config_error"].as_str().unwrap();
        assert!(error.contains("servers.json"), "{bad}: {error}");
        assert_eq!(status["backends"].as_array().unwrap().len(), 3, "{bad}");
        replace(&file, servers(&[("one", "1"), ("two", "2"), ("three", "1")]).as_bytes());
        router.until("it is good again", |s| s["config_error"].is_null()).await;
    }
    replace(&file, servers(&[("one", "1")]).as_bytes());
    router
        .until("the others are gone", |s| s["backends"].as_array().unwrap().len() == 1)
        .await;
    assert_eq!(router.ready("one").await, one);
    router.is_sound().await;
}

#[tokio::test]
async fn what_is_held_while_a_backend_changes_is_served_by_the_changed_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls.txt");
    let file = log.to_str().unwrap().to_owned();
    // The first program never gets ready: everything is held.
    let never = demo("one", &["--silent-handshake"], "");
    let router = Router::start_in(folder, &never).await;
    let mut agents = Vec::new();
    for era in [Era::Legacy, Era::Modern] {
        agents.push(Agent::new(router.address, era, "/mcp").await);
    }
    let mut held = Vec::new();
    for n in 0..20 {
        let params = format!("\"name\":\"append\",\"arguments\":{{\"id\":\"h{n}\"}}");
        held.push(
            agents[n % 2]
                .begin(&n.to_string(), "tools/call", &params, "\"progressToken\":1")
                .await,
        );
    }
    router.until("all are held", |s| s["backends"][0]["held"] == 20).await;
    // Retuned, they are held on; then comes a program that works.
    router
        .apply(&demo("one", &["--silent-handshake"], "max-in-flight = 3"))
        .await;
    assert_eq!(router.backend("one").await["held"], 20);
    router
        .apply(&demo("one", &["--file", &file], "max-in-flight = 3"))
        .await;
    for (n, mut call) in held.into_iter().enumerate() {
        let last = call.reply().await.unwrap().json();
        assert_eq!(last["result"]["content"][0]["text"], format!("appended h{n}"), "{last}");
    }
    let mut lines: Vec<String> = fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 20, "each once: {lines:?}");
    router.is_quiet().await;
    router.is_sound().await;
}
