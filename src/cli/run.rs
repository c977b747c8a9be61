//! `pointsman run` and `pointsman check`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::welcome::welcome;
use super::{Source, ended, print, say};
use crate::app::{self, App};
use crate::config::{self, Problem, Problems, Secrets};
use crate::plugin::{Compiler, Host};
use crate::reload::{Reader, misfit_words};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Format};

/// The file that is taken where none is named.
pub(super) const USUAL_FILE: &str = "pointsman.toml";

/// `pointsman run`.
#[derive(Args, Debug)]
pub(super) struct Run {
    #[command(flatten)]
    source: Source,
    /// Where to listen, whatever the configuration says; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::address)]
    listen: Option<SocketAddr>,
    /// What is logged to stderr: `error`, `warn`, `info` or `debug`, also by module. POINTSMAN_LOG goes before it.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
    /// The form of the log.
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Source {
    /// How the configuration is read, and what it is called.
    pub(super) fn reader(&self, program: PathBuf) -> (Reader, String) {
        let usual = PathBuf::from(USUAL_FILE);
        match (&self.config, &self.mcp_servers) {
            (Some(path), _) => file(path.clone()),
            (None, Some(path)) => {
                let path = path.clone();
                let name = path.display().to_string();
                (Arc::new(move || config::load_mcp_servers(&path)), name)
            }
            (None, None) if usual.exists() => file(usual),
            (None, None) => {
                let loaded = config::Loaded {
                    config: config::embedded(&program),
                    files: Vec::new(),
                    warnings: Vec::new(),
                };
                (
                    Arc::new(move || Ok::<_, Problems>(loaded.clone())),
                    "embedded default (two demo backends); write a pointsman.toml for your own".to_owned(),
                )
            }
        }
    }
}

fn file(path: PathBuf) -> (Reader, String) {
    let name = path.display().to_string();
    (Arc::new(move || config::load(&path)), name)
}

/// `reader` with another address: the word on the command line goes before the file's.
pub(super) fn listening_at(address: SocketAddr, reader: Reader) -> Reader {
    Arc::new(move || {
        let mut loaded = reader()?;
        loaded.config.listen.address = address;
        // The file was checked with its own.
        let fault = |name| {
            let (message, hint) = config::nameless_words(name, &loaded.config);
            Problem {
                file: PathBuf::from("--listen"),
                line: 0,
                column: 0,
                message,
                hint: Some(hint),
            }
        };
        let faults: Vec<Problem> = config::nameless(&loaded.config).map(fault).collect();
        match faults.is_empty() {
            true => Ok(loaded),
            false => Err(Problems(faults, loaded.files)),
        }
    })
}

pub(super) fn program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|e| format!("the path of this program cannot be found: {e}"))
}

impl Run {
    pub(super) fn main(&self) -> ExitCode {
        ended(self.run())
    }

    /// The router with this file, told on the command line of another command.
    pub(super) fn of(config: PathBuf, listen: Option<SocketAddr>, log: &str) -> Self {
        Self {
            source: Source {
                config: Some(config),
                mcp_servers: None,
            },
            listen,
            log: log.to_owned(),
            log_format: LogFormat::Text,
        }
    }

    pub(super) fn run(&self) -> Result<(), String> {
        let format = match self.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        };
        telemetry::init(format, &self.log).map_err(|e| e.to_string())?;
        let program = program()?;
        let (reader, name) = self.source.reader(program.clone());
        let reader = match self.listen {
            Some(address) => listening_at(address, reader),
            None => reader,
        };
        let loaded = reader().map_err(|problems| format!("the configuration is wrong:\n{problems}"))?;
        let workers = app::workers(loaded.config.router.workers);
        let runtime = runtime(workers).map_err(|e| e.to_string())?;
        let outcome = runtime.block_on(async {
            let shutdown = Shutdown::new();
            shutdown.listen_to_signals().map_err(|e| e.to_string())?;
            let config = loaded.config.clone();
            let app = App::build(reader, loaded, program).await.map_err(|e| e.to_string())?;
            print(&welcome(app.address, &config, &name));
            // In a task of the runtime: the thread that waits here is no worker.
            tokio::spawn(async move { app.run(&shutdown).await })
                .await
                .map_err(|e| format!("the router ended by a bug: {e}"))
        });
        runtime.shutdown_timeout(app::RUNTIME_END);
        outcome
    }
}

/// One worker is this thread itself: nothing is stolen and nobody has to be woken.
fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.worker_threads(workers).enable_all().build()
}

/// `pointsman check`.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// Print secrets as they are instead of masking them.
    #[arg(long)]
    show_secrets: bool,
    /// Do not load the policy components.
    #[arg(long)]
    no_plugins: bool,
}

impl Check {
    pub(super) fn main(&self) -> ExitCode {
        ended(self.check())
    }

    fn check(&self) -> Result<(), String> {
        let program = program()?;
        let (reader, name) = self.source.reader(program.clone());
        let loaded = reader().map_err(|problems| format!("the configuration is wrong:\n{problems}"))?;
        for warning in &loaded.warnings {
            say(&format!("warning: {warning}"));
        }
        if !self.no_plugins {
            check_plugins(&loaded.config, program)?;
        }
        let secrets = if self.show_secrets {
            Secrets::Shown
        } else {
            Secrets::Masked
        };
        print(&format!(
            "# in effect from: {name}\n{}",
            config::show(&loaded.config, secrets)
        ));
        Ok(())
    }
}

/// Loads every component as the router would, and reports all that fail.
fn check_plugins(config: &config::Config, program: PathBuf) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let host = Host::new(&config.policies, Compiler::Child(program)).map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let (mut loaded, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for (name, settings) in &config.plugins {
            match host.load(name, settings).await {
                Ok(build) => {
                    loaded.insert(name.clone(), build);
                }
                Err(error) => {
                    refused.insert(name.clone(), error.to_string());
                }
            }
        }
        let misfits = host
            .generation(1, &config.pipelines(), loaded)
            .err()
            .unwrap_or_default();
        let words = misfit_words(&misfits, &refused);
        let problems: Vec<String> = refused.into_values().chain(words).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.join("\n"))
        }
    })
}
