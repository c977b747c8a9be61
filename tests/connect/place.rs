//! A folder with a configuration, and whatever router runs for it, which is stopped with the test.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PROGRAM, children, lives, until};

/// One demo server, which appends to `@dir/file`.
pub const CONFIG: &str = "[backends.work]
command = \"@program\"
args = [\"demo-server\", \"--file\", \"@dir/file\"]
";

pub struct Place {
    folder: TempDir,
    /// A router that the test started itself.
    own: Option<Child>,
}

impl Place {
    pub fn new(config: &str) -> Place {
        let place = Place {
            folder: tempfile::tempdir().expect("a temporary folder"),
            own: None,
        };
        place.configure(config);
        place
    }

    /// Writes the configuration, with an address, a socket and a cache.
    pub fn configure(&self, config: &str) {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache");
        let text = format!(
            "[policies]\ncache = {}\n[router]\nadmin-socket = \"@dir/admin.sock\"\ngrace = \"1s\"\n{}{config}",
            json!(cache),
            if config.contains("[listen]") {
                ""
            } else {
                "[listen]\naddress = \"127.0.0.1:0\"\n"
            },
        );
        let text = text
            .replace("@program", PROGRAM)
            .replace("@dir", &self.path().display().to_string());
        fs::write(self.config(), text).expect("the configuration is written");
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.path().join("pointsman.toml")
    }

    pub fn socket(&self) -> PathBuf {
        self.path().join("admin-mcp.sock")
    }

    /// What detached routers wrote to their log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("admin-mcp.log")).unwrap_or_default()
    }

    /// The lines that the demo server appended.
    pub fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("file")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The routers that run here: processes that were told this configuration.
    pub fn routers(&self) -> Vec<Pid> {
        let config = self.config().display().to_string();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = line.split(|b| *b == 0).collect();
            if words.get(1) == Some(&b"run".as_slice()) && words.contains(&config.as_bytes()) {
                found.extend(Pid::from_raw(pid).filter(|pid| lives(*pid)));
            }
        }
        found
    }

    /// Starts a router as people do, and waits until it serves.
    pub async fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path().join("run.log"));
        let child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("the log is opened"))
            .spawn();
        self.own = Some(child.expect("the router starts"));
        let socket = self.socket();
        until("the router's socket", || UnixStream::connect(&socket).ok()).await;
    }

    /// Kills every router here, and waits for its end.
    pub async fn kill(&mut self) {
        for router in self.routers() {
            let _ = kill_process(router, Signal::KILL);
            until("the router's end", || (!lives(router)).then_some(())).await;
        }
        if let Some(mut own) = self.own.take() {
            let _ = own.wait();
        }
    }

    /// What `pointsman status` says, once it says something.
    pub async fn status(&self) -> Value {
        let socket = self.path().join("admin.sock");
        until("the status", || {
            let output = Command::new(PROGRAM)
                .args(["status", "--json", "--socket"])
                .arg(&socket)
                .output();
            serde_json::from_slice(&output.ok()?.stdout).ok()
        })
        .await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the log of the routers:\n{}", self.log());
            for entry in fs::read_dir(self.path()).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("shim-") {
                    println!(
                        "a shim's log:\n{}",
                        fs::read_to_string(entry.path()).unwrap_or_default()
                    );
                }
            }
        }
        // Whoever is starting one has the lock: it is seen once it is there.
        for router in self.routers() {
            let groups = children(router);
            let _ = kill_process(router, Signal::KILL);
            for group in groups {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
        }
        if let Some(mut own) = self.own.take() {
            let _ = own.kill();
            let _ = own.wait();
        }
    }
}
