//! A shim and the client at its other end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::place::Place;
use crate::support::agent::MODERN;
use crate::support::{PROGRAM, in_time};

/// Numbers the shims' logs.
static SHIMS: AtomicUsize = AtomicUsize::new(0);

pub struct Shim {
    pub child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    modern: bool,
    next: i64,
    /// Notifications that came while a response was waited for.
    pub notes: Vec<Value>,
    answers: BTreeMap<i64, Value>,
}

impl Shim {
    /// A shim for the configuration of `place`, with more arguments. Nothing is said yet.
    pub fn start(place: &Place, modern: bool, arguments: &[&str]) -> Shim {
        let number = SHIMS.fetch_add(1, Ordering::Relaxed);
        let log = place.path().join(format!("shim-{number}.log"));
        let mut child = Command::new(PROGRAM)
            .args(["connect", "--config"])
            .arg(place.config())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("the log is created"))
            .kill_on_drop(true)
            .spawn()
            .expect("the shim starts");
        let stdout = child.stdout.take().expect("its output is piped");
        Shim {
            stdin: child.stdin.take(),
            stdout: BufReader::new(stdout).lines(),
            child,
            log,
            modern,
            next: 0,
            notes: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// A shim whose client has introduced itself.
    pub async fn open(place: &Place, modern: bool, arguments: &[&str]) -> Shim {
        let mut shim = Shim::start(place, modern, arguments);
        if modern {
            let found = shim.ask("server/discover", json!({})).await;
            assert_eq!(found["result"]["supportedVersions"], json!([MODERN]), "{found}");
        } else {
            shim.initialize(json!({})).await;
        }
        shim
    }

    pub async fn initialize(&mut self, capabilities: Value) -> Value {
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
            "clientInfo": { "name": "test", "version": "1" } });
        let opened = self.ask("initialize", params).await;
        assert_eq!(opened["result"]["protocolVersion"], "2025-11-25", "{opened}");
        self.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
            .await;
        opened
    }

    pub async fn line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        in_time("the shim to read", async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.write_all(b"\n").await?;
            stdin.flush().await
        })
        .await
        .expect("the shim reads");
    }

    pub async fn say(&mut self, message: &Value) {
        self.line(&message.to_string()).await;
    }

    /// Sends a request, in the envelope of its era, and returns its id.
    pub async fn send(&mut self, method: &str, mut params: Value) -> i64 {
        self.next += 1;
        if self.modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = MODERN.into();
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        let id = self.next;
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
            .await;
        id
    }

    /// Sends a call of a tool.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> i64 {
        self.send("tools/call", json!({ "name": tool, "arguments": arguments }))
            .await
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        let line = in_time("a line of the shim", self.stdout.next_line()).await;
        let line = line.unwrap_or_else(|e| panic!("{e}: {}", self.log()))?;
        Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
    }

    /// The next line, which must come.
    pub async fn heard(&mut self) -> Value {
        let heard = self.next().await;
        heard.unwrap_or_else(|| panic!("the shim ended: {}", self.log()))
    }

    /// The next response, whatever it answers. A list that changes while servers start is told of before.
    pub async fn response(&mut self) -> Value {
        loop {
            let heard = self.heard().await;
            if heard["method"] != "notifications/tools/list_changed" {
                return heard;
            }
        }
    }

    /// The response to a request; what comes before it is in `notes`, or kept for those who wait for it.
    pub async fn answer(&mut self, id: i64) -> Value {
        loop {
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            let heard = self.heard().await;
            match heard["id"].as_i64().filter(|_| heard.get("method").is_none()) {
                Some(id) => assert!(self.answers.insert(id, heard).is_none(), "answered twice"),
                None => self.notes.push(heard),
            }
        }
    }

    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    pub async fn ask_tool(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.call(tool, arguments).await;
        self.answer(id).await
    }

    /// Closes stdin. Returns what is still said, and how it ends.
    pub async fn close(mut self) -> (Vec<Value>, ExitStatus) {
        drop(self.stdin.take());
        let mut rest = Vec::new();
        while let Some(heard) = self.next().await {
            rest.push(heard);
        }
        let status = in_time("the shim's end", self.child.wait()).await;
        (rest, status.expect("the shim is ours"))
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The text of a result that is no error.
pub fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer} is no text"))
}
