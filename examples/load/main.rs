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

mod caller;
mod servers;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::caller::{Caller, Era};
use self::servers::{Build, Server, Setup, Way};
use self::table::{Row, Sample, median};

/// Calls before each measurement that do not count.
const WARM_UP: Duration = Duration::from_millis(150);
/// What a server gets to come to rest before its memory is read.
const REST: Duration = Duration::from_millis(500);

/// Measures calls per second, latencies, processor time and memory of the router.
#[derive(Parser)]
#[command(after_help = "Examples:
  make bench                                                 everything, about three minutes
  make bench ARGS='--seconds 0.3 --rounds 3'                 a quick look
  make bench ARGS='--only direct,defaults --callers 64'      two ways under one load
  make bench ARGS='--workers 2 --era modern'
  make bench ARGS='--only defaults --against /tmp/pointsman' two builds, in turns

Ways: direct (the echo server over HTTP), plain (router, no policies), defaults (its two), redact (and a third
that reads all arguments and results). CPU is that of the server that the callers talk to: of the router alone,
without its child; for direct, of the echo server.")]
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
    /// Numbers of callers.
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
    /// Cold starts of each router; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 15)]
    cold_starts: usize,
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
        let setup = Setup {
            folder: folder.path(),
            workers: self.workers,
            era: self.era,
        };
        let builds = self.builds()?;
        let mut servers = Vec::new();
        for way in Way::ALL {
            for build in &builds {
                let twice = way == Way::Direct && !build.label.is_empty();
                if !twice && (self.only.is_empty() || self.only.contains(&way)) {
                    let server = Server::start(way, build, &setup).await?;
                    // A good answer says that all of it has started.
                    Caller::connect(0, server.target(self.era, 60)).await?.leave().await;
                    servers.push((server, build));
                }
            }
        }
        println!("load average before: {}", load_average());
        sleep(REST).await;
        let idle: Vec<Option<f64>> = servers.iter().map(|(s, _)| s.memory()).collect();
        self.loads(&servers).await?;
        sleep(REST).await;
        println!(
            "\n  {:<20}{:>12}{:>12}{:>26}",
            "way", "idle MiB", "after MiB", "cold start ms, min/median"
        );
        for ((server, build), idle) in servers.iter().zip(idle) {
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
        println!("\nload average after: {}", load_average());
        Ok(())
    }

    async fn loads(&self, servers: &[(Server, &Build)]) -> Result<(), String> {
        for bytes in &self.bytes {
            for callers in &self.callers {
                let row = |(server, _): &(Server, &Build)| Row {
                    name: server.name.clone(),
                    samples: Vec::new(),
                };
                let mut rows: Vec<Row> = servers.iter().map(row).collect();
                for _ in 0..self.rounds {
                    for (row, (server, _)) in rows.iter_mut().zip(servers) {
                        let sample = self.sample(server, *callers, *bytes).await;
                        row.samples.push(sample.map_err(|e| format!("{}: {e}", server.name))?);
                    }
                }
                table::print(&format!("{bytes} bytes of arguments, callers: {callers}"), &rows);
            }
        }
        Ok(())
    }

    async fn sample(&self, server: &Server, callers: usize, bytes: usize) -> Result<Sample, String> {
        let mut all = Vec::with_capacity(callers);
        for who in 0..callers {
            all.push(Caller::connect(who, server.target(self.era, bytes)).await?);
        }
        let (all, _) = run(all, WARM_UP).await?;
        let (before, began) = (server.cpu(), Instant::now());
        let (all, times) = run(all, Duration::from_secs_f64(self.seconds)).await?;
        let (after, took) = (server.cpu(), began.elapsed());
        for caller in all {
            caller.leave().await;
        }
        let cpu = before.zip(after).map(|(before, after)| after.saturating_sub(before));
        Ok(Sample::new(times, took, cpu))
    }
}

/// Lets all callers call for so long.
async fn run(callers: Vec<Caller>, time: Duration) -> Result<(Vec<Caller>, Vec<u32>), String> {
    let until = Instant::now() + time;
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let times = caller.run(until).await?;
            Ok::<_, String>((caller, times))
        });
    }
    let (mut callers, mut times) = (Vec::new(), Vec::new());
    while let Some(ended) = running.join_next().await {
        let (caller, of_one) = ended.map_err(|e| e.to_string())??;
        callers.push(caller);
        times.extend(of_one);
    }
    Ok((callers, times))
}

/// The program that was built beside this one: examples lie in a folder of their own.
fn beside() -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2).unwrap_or(&own);
    Ok(folder.join(format!("pointsman{}", std::env::consts::EXE_SUFFIX)))
}

fn mib(memory: Option<f64>) -> String {
    memory.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.1}"))
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
