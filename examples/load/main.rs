//! A load generator: what the router costs, against the same echo server without it, on this machine.
//!
//! Generator, router and server share the processors, as they would on a developer's machine; every way is
//! measured by the same callers. The ways take turns, round by round, so that what else the machine does meets
//! all of them, and medians over the rounds are shown.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it speaks to the person who measures"
)]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are rounded anyway"
)]

mod big;
mod caller;
mod http;
mod idle;
mod round;
mod servers;
mod swap;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::sleep;

use self::caller::{Agent, Caller, Era, Work};
use self::round::Rounds;
use self::servers::{Build, Server, Setup, Way};
use self::table::{Row, median, mib};

/// What a server gets to come to rest before its memory is read.
const REST: Duration = Duration::from_millis(500);

/// Measures calls per second, latencies, processor time and memory of the router.
#[derive(Parser)]
#[command(after_help = "Examples:
  make bench                                                 everything, about four minutes
  make bench ARGS='--seconds 0.3 --rounds 3'                 a quick look
  make bench ARGS='--only direct,defaults --callers 64'      two ways under one load
  make bench ARGS='--workers 2 --era modern'
  make bench ARGS='--only direct,http --bytes 60'            a server over HTTP, with the router and without
  make bench ARGS='--only direct,defaults --callers 0'       idle sessions and large results alone
  make bench ARGS='--only defaults --against /tmp/pointsman' two builds, in turns

Ways: direct (the echo server over HTTP), plain (router, no policies), defaults (its two), redact (and a third
that reads all arguments and results), http (the two, and the same server over HTTP, as direct has it, where the
others have it as a child). CPU is that of the server that the callers talk to: of the router alone, without its
child; for direct, of the echo server. Large results go by all ways but redact, which may not compute for so long.")]
struct Options {
    /// Time of one measurement.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often each is repeated.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The ways to measure.
    #[arg(long, value_name = "WAY", value_delimiter = ',', value_parser = way)]
    only: Vec<Way>,
    /// Numbers of callers; 0 for none, and then no loads.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8, 64])]
    callers: Vec<usize>,
    /// Sizes of the arguments.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [60, 8192])]
    bytes: Vec<usize>,
    /// Worker threads of the router; 0 leaves it to the router.
    #[arg(long, value_name = "N", default_value_t = 0)]
    workers: usize,
    /// The protocol era of the callers.
    #[arg(long, value_enum, default_value_t = Era::Legacy)]
    era: Era,
    /// The callers declare that servers may ask them for input.
    #[arg(long)]
    asked: bool,
    /// Idle sessions that are opened to see what each takes; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    sessions: usize,
    /// Size of a large result; 0 for none.
    #[arg(long, value_name = "BYTES", default_value_t = 10_000_000)]
    big: usize,
    /// Cold starts of each router; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 15)]
    cold_starts: usize,
    /// Changes of a component file, for how long they take to be in force; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 10)]
    swaps: usize,
    /// The program, if it is not the one that was built beside this one.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Another build to compare with.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
}

/// The path from the root: routers start it from folders of their own.
fn whole(program: &Path) -> Result<PathBuf, String> {
    let failed = |e| format!("{}: {e}", program.display());
    program.canonicalize().map_err(failed)
}

fn way(name: &str) -> Result<Way, String> {
    let names = || Way::ALL.map(Way::name).join(", ");
    let found = Way::ALL.into_iter().find(|w| w.name() == name);
    found.ok_or_else(|| format!("the ways are {}", names()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Options::parse().measure().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn builds(&self) -> Result<Vec<Build>, String> {
        let program = match &self.program {
            Some(program) => whole(program)?,
            None => beside().map_err(|e| format!("this program cannot be found: {e}"))?,
        };
        let mut builds = vec![Build {
            label: String::new(),
            program,
        }];
        if let Some(other) = &self.against {
            builds.push(Build {
                label: " (against)".to_owned(),
                program: whole(other)?,
            });
        }
        Ok(builds)
    }

    async fn measure(&self) -> Result<(), String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let agent = Agent {
            era: self.era,
            can_be_asked: self.asked,
        };
        let setup = Setup {
            folder: folder.path(),
            workers: self.workers,
            agent,
        };
        let rounds = Rounds {
            agent,
            time: Duration::from_secs_f64(self.seconds),
            number: self.rounds,
        };
        let builds = self.builds()?;
        let mut ways = Vec::new();
        for way in Way::ALL {
            for build in &builds {
                let twice = way == Way::Direct && !build.label.is_empty();
                if !twice && (self.only.is_empty() || self.only.contains(&way)) {
                    ways.push((way, build));
                }
            }
        }
        println!("load average before: {}", load_average());
        self.loads(&ways, &setup, rounds).await?;
        let routers: Vec<_> = ways.iter().copied().filter(|(way, _)| *way != Way::Direct).collect();
        if self.sessions > 0 && !routers.is_empty() {
            idle::measure(&routers, &setup, self.sessions).await?;
        }
        if self.big > 0 {
            // Reading that much takes longer than a policy may compute: it would be measured how it is refused.
            ways.retain(|(way, _)| *way != Way::Redact);
            big::measure(&ways, &setup, rounds, self.big).await?;
        }
        if self.swaps > 0 && !routers.is_empty() {
            swap::measure(&builds, &setup, self.swaps).await?;
        }
        println!("\nload average after: {}", load_average());
        Ok(())
    }

    /// Calls of all sizes by all numbers of callers, and what these leave behind.
    async fn loads(&self, ways: &[(Way, &Build)], setup: &Setup<'_>, rounds: Rounds) -> Result<(), String> {
        let callers: Vec<usize> = self.callers.iter().copied().filter(|n| *n > 0).collect();
        if callers.is_empty() {
            return Ok(());
        }
        let mut servers = Vec::new();
        for (way, build) in ways {
            let server = Server::start(*way, build, setup).await?;
            // A good answer says that all of it has started.
            let caller = Caller::connect(0, server.address, setup.agent, Work::Echo(60)).await?;
            caller.leave().await;
            servers.push(server);
        }
        sleep(REST).await;
        let idle: Vec<Option<f64>> = servers.iter().map(Server::memory).collect();
        for bytes in &self.bytes {
            for callers in &callers {
                let mut rows: Vec<Row> = servers.iter().map(|s| Row::new(s.name.clone())).collect();
                for _ in 0..rounds.number {
                    for (row, server) in rows.iter_mut().zip(&servers) {
                        row.samples
                            .push(rounds.one(server, *callers, Work::Echo(*bytes)).await?);
                    }
                }
                table::print(&format!("{bytes} bytes of arguments, callers: {callers}"), &rows);
            }
        }
        sleep(REST).await;
        println!(
            "\n  {:<20}{:>12}{:>12}{:>26}",
            "way", "idle MiB", "after MiB", "cold start ms, min/median"
        );
        for ((server, (_, build)), idle) in servers.iter().zip(ways).zip(idle) {
            let cold = if server.way == Way::Direct || self.cold_starts == 0 {
                "-".to_owned()
            } else {
                let taken = setup.cold_starts(server.way, build, self.cold_starts).await?;
                let least = taken.iter().copied().fold(f64::INFINITY, f64::min);
                format!("{least:.0} / {:.0}", median(taken))
            };
            println!(
                "  {:<20}{:>12}{:>12}{cold:>26}",
                server.name,
                mib(idle),
                mib(server.memory())
            );
        }
        Ok(())
    }
}

/// The program that was built beside this one: examples lie in a folder of their own.
fn beside() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).unwrap_or(&own);
    Ok(folder.join(format!("pointsman{}", std::env::consts::EXE_SUFFIX)))
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
