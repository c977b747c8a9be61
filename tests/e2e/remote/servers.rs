//! The demo server over HTTP, which can be killed and started again at its port.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{PROGRAM, until};

/// A demo server over HTTP.
pub struct Demo {
    child: Child,
    pub port: u16,
    flags: Vec<String>,
    folder: PathBuf,
}

impl Demo {
    /// Starts one with these flags in this folder.
    pub async fn start(folder: &Path, flags: &[&str]) -> Demo {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        let (child, port) = spawn(folder, 0, &flags).await;
        Demo {
            child,
            port,
            flags,
            folder: folder.to_owned(),
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, and the process is gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again at its port, as a process that knows nothing.
    pub async fn again(&mut self) {
        (self.child, _) = spawn(&self.folder, self.port, &self.flags).await;
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn spawn(folder: &Path, port: u16, flags: &[String]) -> (Child, u16) {
    let mut child = Command::new(PROGRAM)
        .args(["demo-server", "--http", &port.to_string()])
        .args(flags)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the demo server starts");
    let stderr = child.stderr.take().expect("it is piped");
    let (sender, said) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.try_send(line);
        }
    });
    let port = until("its port", || {
        let line = said.try_recv().ok()?;
        line.split("127.0.0.1:").nth(1)?.split('/').next()?.parse().ok()
    })
    .await;
    (child, port)
}
