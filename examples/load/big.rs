//! Large results: how long one takes, how much of it is the router's, and how much memory.

use crate::caller::Work;
use crate::round::Rounds;
use crate::servers::{Build, Server, Setup, Way};
use crate::table::{Row, mib};

/// One caller that is given results of so many bytes, by each way in turns. The servers are started for this, since the
/// most that they ever had is shown.
pub async fn measure(ways: &[(Way, &Build)], setup: &Setup<'_>, rounds: Rounds, bytes: usize) -> Result<(), String> {
    let mut servers = Vec::new();
    for (way, build) in ways {
        let server = Server::fresh(*way, build, setup, "big").await?;
        let idle = server.peak();
        let row = Row::new(server.name.clone());
        servers.push((server, idle, row));
    }
    for _ in 0..rounds.number {
        for (server, _, row) in &mut servers {
            row.samples.push(rounds.one(server, 1, Work::Big(bytes)).await?);
        }
    }
    println!("\n{bytes} bytes of result, callers: 1");
    println!(
        "  {:<20}{:>10}{:>10}{:>15}{:>12}{:>12}",
        "way", "p50 ms", "MB/s", "CPU ms/call", "idle MiB", "peak MiB"
    );
    for (server, idle, row) in &servers {
        println!(
            "  {:<20}{:>10.1}{:>10.0}{:>15.1}{:>12}{:>12}",
            row.name,
            row.median(|s| s.p50) / 1e3,
            row.median(|s| s.calls_per_second) * bytes as f64 / 1e6,
            row.median(|s| s.cpu.unwrap_or(f64::NAN)) / 1e3,
            mib(*idle),
            mib(server.peak()),
        );
    }
    Ok(())
}
