//! The fixture server of `tests/clients/fixture` over HTTP: started, found, and stopped when it is dropped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

use tempfile::TempDir;

use super::PATIENCE;
pub use super::tools::tool;

/// The Node that the fixture and the Node clients need.
pub fn node() -> PathBuf {
    tool("tests/clients/node_modules/.bin/node")
}

/// The fixture's program, the first argument of `node`.
pub fn program() -> PathBuf {
    tool("tests/clients/fixture/main.mjs")
}

/// A fixture that serves over HTTP.
pub struct Fixture {
    child: Child,
    /// Where it serves, with `/mcp`.
    pub url: String,
    folder: TempDir,
}

impl Fixture {
    /// Starts one on a free port; `args` are those of its command line beside the port.
    pub fn start(args: &[&str]) -> Fixture {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(folder.path().join("fixture.log")).expect("the log is created");
        let mut child = Command::new(node())
            .arg(program())
            .args(["--http", "0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the fixture starts");
        let stdout = child.stdout.take().expect("its output is piped");
        // From here on a panic stops it.
        let mut fixture = Fixture {
            child,
            url: String::new(),
            folder,
        };
        let (sender, line) = sync_channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = sender.send(line);
        });
        let line = line.recv_timeout(PATIENCE).expect("the fixture says where it serves");
        assert!(line.starts_with("http://"), "the fixture said {line:?}");
        fixture.url = line.trim().to_owned();
        fixture
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("fixture.log")).unwrap_or_default()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("the fixture's log:\n{}", self.log());
        }
    }
}
