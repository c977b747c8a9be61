//! What is measured: the echo server by itself, and routers in front of the same echo server, as a child or over HTTP.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::caller::{Agent, Caller, Work};

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
    /// Through a router with the two, to the echo server over HTTP.
    Http,
}

impl Way {
    /// All, as they are compared.
    pub const ALL: [Self; 5] = [Self::Direct, Self::Plain, Self::Defaults, Self::Redact, Self::Http];

    /// Its name in the table and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Plain => "plain",
            Self::Defaults => "defaults",
            Self::Redact => "redact",
            Self::Http => "http",
        }
    }

    fn pipeline(self) -> &'static str {
        match self {
            Self::Direct | Self::Defaults | Self::Http => "",
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
    pub agent: Agent,
}

/// A server that runs; it ends with this.
pub struct Server {
    pub name: String,
    pub way: Way,
    pub address: SocketAddr,
    child: Child,
    /// What it talks to, where that is not its own child.
    _behind: Option<Echo>,
}

/// The echo server over HTTP.
struct Echo {
    child: Child,
    address: SocketAddr,
}

impl Echo {
    async fn start(program: &Path) -> Result<Self, String> {
        let mut command = command(program, &["demo-server", "--http", "0"]);
        let mut child = spawn(command.stderr(Stdio::piped()), program)?;
        let address = listening(child.stderr.take()).await;
        let address = address.map_err(|e| format!("the echo server did not start: {e}"))?;
        Ok(Self { child, address })
    }
}

impl Server {
    /// Starts it and waits until it says where it listens.
    pub async fn start(way: Way, build: &Build, setup: &Setup<'_>) -> Result<Self, String> {
        let name = format!("{}{}", way.name(), build.label);
        match way {
            Way::Direct => {
                let Echo { child, address } = Echo::start(&build.program).await?;
                Ok(Self {
                    name,
                    way,
                    address,
                    child,
                    _behind: None,
                })
            }
            _ => {
                let behind = setup.behind(way, build).await?;
                Self::router(way, name, build, setup, behind).await
            }
        }
    }

    async fn router(
        way: Way,
        name: String,
        build: &Build,
        setup: &Setup<'_>,
        behind: Option<Echo>,
    ) -> Result<Self, String> {
        let program = &build.program;
        let config = setup.config(way, &name, program, behind.as_ref())?;
        Self::launch(way, name, program, &config, behind).await
    }

    /// A router in front of the echo server, with `more` in its configuration.
    pub async fn with(setup: &Setup<'_>, build: &Build, what_for: &str, more: &str) -> Result<Self, String> {
        let name = format!("{what_for}{}", build.label);
        let config = setup.write(&name, more, &child(&build.program))?;
        Self::launch(Way::Plain, name, &build.program, &config, None).await
    }

    async fn launch(
        way: Way,
        name: String,
        program: &Path,
        config: &Path,
        behind: Option<Echo>,
    ) -> Result<Self, String> {
        let mut command = command(program, &["run", "--log", "warn", "--config"]);
        let mut child = spawn(command.arg(config).stdout(Stdio::piped()), program)?;
        let address = listening(child.stdout.take()).await;
        let address = address.map_err(|e| format!("{name} did not start: {e}"))?;
        Ok(Self {
            name,
            way,
            address,
            child,
            _behind: behind,
        })
    }

    /// One that differs from those that run, which have the names of their admin sockets.
    pub async fn fresh(way: Way, build: &Build, setup: &Setup<'_>, what_for: &str) -> Result<Self, String> {
        let name = format!("{}{}", way.name(), build.label);
        let build = Build {
            label: format!("{} {what_for}", build.label),
            program: build.program.clone(),
        };
        let mut server = Self::start(way, &build, setup).await?;
        server.name = name;
        // A good answer says that all of it has started.
        Caller::connect(0, server.address, setup.agent, Work::Echo(60))
            .await?
            .leave()
            .await;
        Ok(server)
    }

    /// Ends it.
    pub async fn stop(mut self) -> Result<(), String> {
        self.child.kill().await.map_err(|e| e.to_string())
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
        self.status("VmRSS:")
    }

    /// The most that was ever resident, in MiB.
    pub fn peak(&self) -> Option<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()?)).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix(field))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }
}

impl Setup<'_> {
    async fn behind(&self, way: Way, build: &Build) -> Result<Option<Echo>, String> {
        Ok(match way {
            Way::Http => Some(Echo::start(&build.program).await?),
            _ => None,
        })
    }

    fn config(&self, way: Way, name: &str, program: &Path, behind: Option<&Echo>) -> Result<PathBuf, String> {
        let backend = match behind {
            Some(echo) => format!("url = \"http://{}/mcp\"\n", echo.address),
            None => child(program),
        };
        self.write(name, way.pipeline(), &backend)
    }

    /// Writes a configuration: of policies `more`, and one backend.
    fn write(&self, name: &str, more: &str, backend: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(format!("{name}.toml"));
        // A call that a busy machine keeps for a second must not change the form of its answer.
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nstream-after = \"30s\"\n\
             [router]\nworkers = {}\nadmin-socket = {}\n[policies]\ncache = {}\n{more}\
             [backends.demo]\n{backend}",
            self.workers,
            quoted(&self.folder.join(format!("{name}.sock"))),
            quoted(&self.folder.join("cache")),
        );
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// From the spawn to the first good answer, so many times, in milliseconds.
    pub async fn cold_starts(&self, way: Way, build: &Build, times: usize) -> Result<Vec<f64>, String> {
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            // By another name: the admin socket of the one that runs is taken.
            let name = format!("{}{} cold", way.name(), build.label);
            let behind = self.behind(way, build).await?;
            let began = Instant::now();
            let server = Server::router(way, name, build, self, behind).await?;
            Caller::connect(0, server.address, self.agent, Work::Echo(60)).await?;
            taken.push(began.elapsed().as_secs_f64() * 1e3);
            server.stop().await?;
        }
        Ok(taken)
    }
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// The echo server as a child, in the words of a configuration.
fn child(program: &Path) -> String {
    format!("command = {}\nargs = [\"demo-server\"]\n", quoted(program))
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured has to be processes of its own"
    )]
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn spawn(command: &mut Command, program: &Path) -> Result<Child, String> {
    command.spawn().map_err(|e| format!("{}: {e}", program.display()))
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
