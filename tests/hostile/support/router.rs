//! A router of a test: its own folder, its own free port, stopped when the test ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::wire::Connection;
use super::{PATIENCE, until};

pub struct Router {
    child: Child,
    /// Ends when the router does.
    lines: Receiver<String>,
    pub address: SocketAddr,
    folder: TempDir,
    main: PathBuf,
}

/// The demo server as a backend of this name. `more` are lines of its table.
pub fn demo(name: &str, args: &[&str], more: &str) -> String {
    let mut all = vec!["demo-server"];
    all.extend(args);
    format!(
        "[backends.{name}]\ncommand = {:?}\nargs = {all:?}\n{more}\n",
        env!("CARGO_BIN_EXE_pointsman")
    )
}

/// A script as a backend of this name.
pub fn script(name: &str, file: &str, args: &[&str], more: &str) -> String {
    let mut all = vec!["-u".to_owned(), super::fake(file)];
    all.extend(args.iter().map(|a| (*a).to_owned()));
    format!("[backends.{name}]\ncommand = \"python3\"\nargs = {all:?}\n{more}\n")
}

impl Router {
    /// Starts a router with this configuration. Tables that it does not have are made fit for a test.
    pub async fn start(toml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), toml).await
    }

    /// The same in a folder that holds more than the configuration.
    pub async fn start_in(folder: TempDir, toml: &str) -> Self {
        let main = folder.path().join("pointsman.toml");
        fs::write(&main, complete(toml)).unwrap();
        Self::launch(folder, main, "--config", &[], &[])
    }

    /// The same with more in its environment.
    pub async fn start_with(folder: TempDir, toml: &str, environment: &[(&str, &str)]) -> Self {
        let main = folder.path().join("pointsman.toml");
        fs::write(&main, complete(toml)).unwrap();
        Self::launch(folder, main, "--config", &[], environment)
    }

    /// A router that reads a file as a desktop client keeps it, and nothing else.
    pub fn start_of_servers(json: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("servers.json");
        fs::write(&main, json).unwrap();
        Self::launch(folder, main, "--mcp-servers", &["--listen", "127.0.0.1:0"], &[])
    }

    fn launch(folder: TempDir, main: PathBuf, flag: &str, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = File::create(folder.path().join("router.log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["run", flag])
            .arg(&main)
            .args(more)
            .current_dir(folder.path())
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, lines) = sync_channel(1024);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        let mut router = Self {
            child,
            lines,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
            main,
        };
        router.address = router.wait_for_address();
        router
    }

    fn wait_for_address(&self) -> SocketAddr {
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|e| panic!("it does not listen ({e}):\n{}", self.log()));
            if let Some(rest) = line.split("http://").nth(1) {
                return rest.split('/').next().unwrap().parse().unwrap();
            }
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("router.log")).unwrap_or_default()).into_owned()
    }

    /// `/status`.
    pub async fn status(&self) -> Value {
        let mut connection = Connection::open(self.address).await;
        connection
            .send(b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        let reply = connection.reply().await.unwrap();
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// One backend's status.
    pub async fn backend(&self, name: &str) -> Value {
        let status = self.status().await;
        let backends = status["backends"].as_array().unwrap();
        backends
            .iter()
            .find(|b| b["name"] == name)
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Waits until a backend takes calls, and gives its pid.
    pub async fn ready(&self, name: &str) -> u64 {
        until(&format!("{name} is ready"), || async {
            let backend = self.backend(name).await;
            (backend["state"] == "ready")
                .then(|| backend["targets"][0]["pid"].as_u64())
                .flatten()
        })
        .await
    }

    /// Puts another configuration in the place of the first.
    pub fn rewrite(&self, toml: &str) {
        replace(&self.main, complete(toml).as_bytes());
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, || async {
            let status = self.status().await;
            wanted(&status).then_some(status)
        })
        .await
    }

    /// Writes another configuration and waits until it is in force.
    pub async fn apply(&self, toml: &str) {
        let before = self.status().await["applied"].as_u64().unwrap();
        self.rewrite(toml);
        self.until("the configuration is applied", |s| {
            assert!(s["config_error"].is_null(), "{s}");
            s["applied"].as_u64() > Some(before)
        })
        .await;
    }

    /// A number of kB from the process's status, such as `VmHWM`.
    pub fn kilobytes(&self, key: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// No panic, and it still answers.
    pub async fn is_sound(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "it panicked:\n{log}");
        assert_eq!(self.status().await["pid"], self.pid());
    }

    /// Nothing is left of any call.
    pub async fn is_quiet(&self) {
        self.until("nothing is held or in flight", |s| {
            s["backends"]
                .as_array()
                .unwrap()
                .iter()
                .all(|b| b["held"] == 0 && b["held_bytes"] == 0 && b["in_flight"] == 0)
        })
        .await;
    }
}

/// Puts a file in place in one step.
pub fn replace(path: &Path, bytes: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, bytes).unwrap();
    fs::rename(next, path).unwrap();
}

fn complete(toml: &str) -> String {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache");
    let mut out = String::new();
    if !toml.contains("[listen]") {
        out += "[listen]\naddress = \"127.0.0.1:0\"\n";
    }
    if !toml.contains("[router]") {
        out += "[router]\nworkers = 2\nadmin-socket = \"admin.sock\"\n";
    }
    if !toml.contains("[policies]") {
        out += &format!("[policies]\ncache = {cache:?}\n");
    }
    toml.to_owned() + "\n" + &out
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let in_time = loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(e) => break e == std::sync::mpsc::RecvTimeoutError::Disconnected,
            }
        };
        if !in_time {
            let _ = self.child.kill();
        }
        let status = self.child.wait().unwrap();
        // A second panic while one unwinds would abort and hide the first.
        if thread::panicking() {
            println!("--- the router's log:\n{}", self.log());
            return;
        }
        let log = self.log();
        assert!(in_time && status.success(), "it did not end well ({status}):\n{log}");
        assert!(!log.contains("panicked"), "it panicked:\n{log}");
    }
}
