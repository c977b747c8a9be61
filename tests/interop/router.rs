//! A router in front of three published servers, shared by the tests that run at the same time.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::tools::tool;

pub const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
const EVERYTHING: &str = "tests/clients/node_modules/@modelcontextprotocol/server-everything/dist/index.js";

/// How long the router may take to listen, and to end: far above what it needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The router of the tests that run now. Each holds a share; the last one to end stops the router, also when
/// it ends in a panic. (A static that owned it would never be dropped.)
static RUNNING: Mutex<Weak<Router>> = Mutex::new(Weak::new());

pub struct Router {
    child: Child,
    /// Lines of its standard output; ends when the router does.
    lines: Mutex<Receiver<String>>,
    url: String,
    folder: TempDir,
}

impl Router {
    /// The running router, or a new one if none runs.
    pub fn shared() -> Arc<Router> {
        // A test that failed to start it has poisoned the lock, and says so itself.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(router) = running.upgrade() {
            return router;
        }
        let router = Arc::new(Router::start());
        *running = Arc::downgrade(&router);
        router
    }

    fn start() -> Router {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let repository = folder.path().join("repository");
        let git = Command::new("git")
            .args(["init", "--quiet", "--initial-branch=siding"])
            .arg(&repository)
            .status();
        assert!(git.is_ok_and(|status| status.success()), "git init works");
        let config = folder.path().join("pointsman.toml");
        fs::write(&config, configuration(&repository)).expect("the configuration is written");
        let log = File::create(folder.path().join("router.log")).expect("the log is created");

        let mut child = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["run", "--config"])
            .arg(&config)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the router starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let (sender, lines) = sync_channel(1024);
        thread::spawn(move || {
            // Reads on when nobody listens any more, so that the router never blocks on a full pipe.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        // From here on a panic stops the router.
        let mut router = Router {
            child,
            lines: Mutex::new(lines),
            url: String::new(),
            folder,
        };
        router.url = router.wait_for_url();
        router
    }

    fn next_line(&self) -> Result<String, RecvTimeoutError> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(PATIENCE)
    }

    fn wait_for_url(&self) -> String {
        let mut said = String::new();
        loop {
            match self.next_line() {
                Ok(line) => {
                    if let Some(url) = endpoint(&line) {
                        return url;
                    }
                    said = said + &line + "\n";
                }
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no endpoint printed for {PATIENCE:?}:\n{said}{}", self.log())
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("the router ended before it listened:\n{said}{}", self.log())
                }
            }
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// What the router wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("router.log")).unwrap_or_default()
    }

    /// Asks the router to end and waits for the end of its output; says whether it came in time.
    fn stop(&mut self) -> bool {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        loop {
            match self.next_line() {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let in_time = self.stop();
        if !in_time {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("the router was ours to wait for");
        // A second panic while one unwinds would abort and hide the first.
        if !thread::panicking() {
            assert!(
                in_time,
                "the router did not end within {PATIENCE:?} of SIGTERM:\n{}",
                self.log()
            );
            assert!(
                status.success(),
                "the router ended with {status} after SIGTERM:\n{}",
                self.log()
            );
        }
    }
}

/// The first `http://HOST:PORT/mcp` in a line.
fn endpoint(line: &str) -> Option<String> {
    let rest = &line[line.find("http://127.0.0.1:")?..];
    let end = rest.find("/mcp")? + "/mcp".len();
    Some(rest[..end].to_owned())
}

fn configuration(repository: &Path) -> String {
    // TOML strings with these paths need the escapes that JSON has too.
    let quoted = |path: &Path| serde_json::json!(path).to_string();
    format!(
        r#"
[listen]
address = "127.0.0.1:0"

[backends.everything]
command = {node}
args = [{everything}, "stdio"]

[backends.time]
command = {time}

[backends.git]
command = {git}
args = ["--repository", {repository}]
"#,
        node = quoted(&tool("tests/clients/node_modules/.bin/node")),
        everything = quoted(&tool(EVERYTHING)),
        time = quoted(&tool(".tools/venv/bin/mcp-server-time")),
        git = quoted(&tool(".tools/venv/bin/mcp-server-git")),
        repository = quoted(repository),
    )
}
