//! What is measured: the echo server by itself, and routers in front of one child that is the same echo server.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::caller::{Caller, Era, Target};

/// How long anything may take to start; the first start also compiles the policies.
const START: Duration = Duration::from_secs(120);

/// Ways from a caller to the echo server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Straight to it.
    Direct,
    /// Through a router that asks no policy.
    Plain,
    /// Through one with its two default policies.
    Defaults,
    /// And with a third, which reads every argument and every result.
    Redact,
}

impl Way {
    /// All, as they are compared.
    pub const ALL: [Self; 4] = [Self::Direct, Self::Plain, Self::Defaults, Self::Redact];

    /// Its name in the table and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Plain => "plain",
            Self::Defaults => "defaults",
            Self::Redact => "redact",
        }
    }

    fn pipeline(self) -> &'static str {
        match self {
            Self::Direct | Self::Defaults => "",
            Self::Plain => "[pipeline]\nroute = []\nselect = []\n",
            Self::Redact => {
                "[plugins.redact]\nembedded = \"redact\"\nconfig = { keys = [\"password\"], prefixes = [\"sk-\", \"ghp_\"] }\n\
                 [pipeline]\ntransform-request = [\"redact\"]\ntransform-response = [\"redact\"]\n"
            }
        }
    }
}

/// A program that is measured.
pub struct Build {
    /// Told apart by this in the table; empty for the one that is usually meant.
    pub label: String,
    pub program: PathBuf,
}

/// How servers are started.
pub struct Setup<'a> {
    /// For configurations, sockets and compiled policies.
    pub folder: &'a Path,
    pub workers: usize,
    pub era: Era,
}

/// A server that runs; it ends with this.
pub struct Server {
    pub name: String,
    pub way: Way,
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub async fn start(way: Way, build: &Build, setup: &Setup<'_>) -> Result<Self, String> {
        let label = &build.label;
        let name = format!("{}{label}", way.name());
        #[expect(
            clippy::disallowed_methods,
            reason = "what is measured has to be processes of its own"
        )]
        let mut command = Command::new(&build.program);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let failed = |e| format!("{}: {e}", build.program.display());
        let (child, address) = if way == Way::Direct {
            command.args(["demo-server", "--http", "0"]);
            let mut child = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
            let address = listening(child.stderr.take()).await;
            (child, address)
        } else {
            let config = setup.config(way, &name, &build.program)?;
            command.args(["run", "--log", "warn", "--config"]).arg(config);
            let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
            let address = listening(child.stdout.take()).await;
            (child, address)
        };
        let address = address.map_err(|e| format!("{name} did not start: {e}"))?;
        Ok(Self {
            name,
            way,
            address,
            child,
        })
    }

    /// What a caller needs to know. One backend alone keeps its tools' names.
    pub fn target(&self, era: Era, bytes: usize) -> Target<'static> {
        Target {
            address: self.address,
            era,
            bytes,
            tool: "echo",
        }
    }

    /// CPU time of the process so far, user and system, without its children.
    pub fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()?)).ok()?;
        // After the name, which may hold spaces: state, ppid, ... utime is the 12th, stime the 13th.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        // Linux counts them in hundredths of a second everywhere.
        Some(Duration::from_millis((ticks()? + ticks()?) * 10))
    }

    /// Resident memory now, in MiB.
    pub fn memory(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }
}

impl Setup<'_> {
    fn config(&self, way: Way, name: &str, program: &Path) -> Result<PathBuf, String> {
        let path = self.folder.join(format!("{name}.toml"));
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        // A call that a busy machine keeps for a second must not change the form of its answer.
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nstream-after = \"30s\"\n\
             [router]\nworkers = {}\nadmin-socket = {}\n[policies]\ncache = {}\n{}\
             [backends.demo]\ncommand = {}\nargs = [\"demo-server\"]\n",
            self.workers,
            quoted(&self.folder.join(format!("{name}.sock"))),
            quoted(&self.folder.join("cache")),
            way.pipeline(),
            quoted(program),
        );
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// From the spawn to the first good answer, so many times, in milliseconds.
    pub async fn cold_starts(&self, way: Way, build: &Build, times: usize) -> Result<Vec<f64>, String> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            // By another name: the admin socket of the one that runs is taken.
            let cold = Build {
                label: format!("{} cold", build.label),
                program: build.program.clone(),
            };
            let began = Instant::now();
            let mut server = Server::start(way, &cold, self).await?;
            Caller::connect(0, server.target(self.era, 60)).await?;
            taken.push(began.elapsed().as_secs_f64() * 1e3);
            server.child.kill().await.map_err(|e| e.to_string())?;
        }
        Ok(taken)
    }
}

/// The address in the first line that has one. What comes after it is read and thrown away.
async fn listening(output: Option<impl AsyncRead + Unpin + Send + 'static>) -> Result<SocketAddr, String> {
    let mut lines = BufReader::new(output.ok_or("it has no output")?).lines();
    let find = async {
        loop {
            let line = lines.next_line().await.map_err(|e| e.to_string())?;
            let line = line.ok_or("it ended")?;
            if let Some((_, rest)) = line.split_once("http://") {
                let address = rest.trim_end().trim_end_matches("/mcp");
                return address.parse().map_err(|e| format!("{rest}: {e}"));
            }
        }
    };
    let found: Result<SocketAddr, String> = timeout(START, find).await.map_err(|_| "it took too long")?;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    found
}
