//! The reference server of the TypeScript SDK, over both of its HTTP transports. Left out where node or its modules are
//! missing.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::support::{Agent, Router, until};

struct Everything(Child);

impl Drop for Everything {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn script() -> Option<PathBuf> {
    let module = "tests/clients/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
    let node = Command::new("node").arg("--version").output();
    (path.is_file() && node.is_ok_and(|node| node.status.success())).then_some(path)
}

async fn start(transport: &str, port: u16) -> Option<Everything> {
    let mut child = Command::new("node")
        .arg(script()?)
        .arg(transport)
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let stderr = child.stderr.take()?;
    let (sender, said) = std::sync::mpsc::sync_channel(256);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    until("it to listen", || {
        said.try_recv().ok().filter(|line| line.contains("port"))
    })
    .await;
    Some(Everything(child))
}

/// A call, a call with progress, and a call after the server was killed and started again.
async fn works(transport: &str, path: &str) {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let Some(server) = start(transport, port).await else {
        println!("left out: node or its modules are missing");
        return;
    };
    let config = format!("[backends.ts]\nurl = \"http://127.0.0.1:{port}{path}\"\nstable-after = \"1ms\"\n");
    let router = Router::start(&config).await;
    router.ready("ts").await;
    for agent in [Agent::legacy(&router.address).await, Agent::modern(&router.address)] {
        let outcome = agent.call("echo", json!({ "message": "over HTTP" })).await;
        assert_eq!(outcome.text(), Some("Echo: over HTTP"), "{outcome:?}");
        let steps = json!({ "duration": 0.2, "steps": 2 });
        let told = agent
            .start_told(7, "trigger-long-running-operation", steps)
            .await
            .outcome()
            .await;
        assert!(told.text().is_some_and(|text| text.contains("completed")), "{told:?}");
        assert_eq!(told.notes.len(), 2, "{told:?}");
    }
    drop(server);
    let server = start(transport, port).await;
    let agent = Agent::modern(&router.address);
    let outcome = agent.call("echo", json!({ "message": "again" })).await;
    assert_eq!(outcome.text(), Some("Echo: again"), "{outcome:?}");
    let target = router.backend("ts")["targets"][0].clone();
    assert!(
        target["era"] == "legacy" && target["restarts"].as_u64() >= Some(1),
        "{target}"
    );
    println!("{transport}: {target}");
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamable_http() {
    works("streamableHttp", "/mcp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_sse_of_2024() {
    works("sse", "/sse").await;
}
