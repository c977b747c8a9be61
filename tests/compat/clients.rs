//! The clients, and how each is run through the features.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::rust_client;
use crate::support::fixture::{node, tool};
use crate::table::Cell;

/// What is tried, in this order. The last one may leave a call behind that nobody waits for.
pub const FEATURES: [&str; 9] = [
    "progress",
    "sampling",
    "elicitation",
    "roots",
    "subscribe",
    "prompt",
    "completion",
    "list change",
    "cancel",
];

/// For each feature: far above what it needs on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// For a whole program, which has a deadline for each feature.
const WHOLE: Duration = Duration::from_secs(400);

pub struct Client {
    pub name: &'static str,
    program: Program,
    mode: &'static str,
}

enum Program {
    Python(&'static str),
    Node(&'static str),
    /// In this process.
    Rust,
}

use Program::{Node, Python, Rust};

pub const CLIENTS: &[Client] = &[
    client("Python SDK, legacy", Python("py_client.py"), "legacy"),
    client("Python SDK, auto", Python("py_client.py"), "auto"),
    client("Python SDK, 2026-07-28", Python("py_client.py"), "2026-07-28"),
    client("TypeScript SDK v1", Node("ts_v1.mjs"), "legacy"),
    client("TypeScript SDK v2, legacy", Node("ts_v2.mjs"), "legacy"),
    client("TypeScript SDK v2, auto", Node("ts_v2.mjs"), "auto"),
    client("TypeScript SDK v2, 2026-07-28", Node("ts_v2.mjs"), "2026-07-28"),
    client("Rust SDK, legacy", Rust, "legacy"),
    client("Rust SDK, auto", Rust, "auto"),
    client("Rust SDK, 2026-07-28", Rust, "2026-07-28"),
    client("Inspector, legacy", Python("inspector.py"), "legacy"),
    client("Inspector, auto", Python("inspector.py"), "auto"),
    client("Inspector, modern", Python("inspector.py"), "modern"),
];

const fn client(name: &'static str, program: Program, mode: &'static str) -> Client {
    Client { name, program, mode }
}

impl Client {
    /// Runs all features against this address.
    pub async fn run(&self, url: &str) -> Vec<(&'static str, Cell)> {
        let (interpreter, script) = match self.program {
            Rust => return rust_client::run(url, self.mode).await,
            Python(script) => (tool(".tools/venv/bin/python"), script),
            Node(script) => (node(), script),
        };
        let script: PathBuf = tool("tests/clients/compat").join(script);
        let mut command = tokio::process::Command::new(interpreter);
        command.arg(script).arg(url).args(["--mode", self.mode]);
        command.args(["--deadline", &DEADLINE.as_secs().to_string()]);
        // A proxy from the environment would be asked first, even for loopback.
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(WHOLE, output).await;
        let output = output.unwrap_or_else(|_| panic!("{} at {url} did not end", self.name));
        let output = output.expect("the client starts");
        let said = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<Value> = said.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let cell = |feature| {
            let line = lines.iter().find(|l| l["feature"] == feature);
            let line = line.unwrap_or_else(|| {
                let stderr = String::from_utf8_lossy(&output.stderr);
                panic!("{} at {url} said nothing of {feature}:\n{said}{stderr}", self.name)
            });
            (feature, Cell::read(line))
        };
        FEATURES.map(cell).into()
    }
}
