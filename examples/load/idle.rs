//! What idle sessions take: the router's memory before and after many were opened, and again with event streams.

use tokio::time::sleep;

use crate::REST;
use crate::caller::Agent;
use crate::http::Connection;
use crate::servers::{Build, Server, Setup, Way};
use crate::table::median;

/// Sessions that are opened first and stay, so that what the first ones bring with them is not counted.
const FIRST: usize = 200;
/// Routers that are started for it: medians are shown.
const ROUTERS: usize = 3;

/// Opens so many sessions at each way's router, and as many whose agents keep an event stream open.
pub async fn measure(ways: &[(Way, &Build)], setup: &Setup<'_>, sessions: usize) -> Result<(), String> {
    println!("\nidle sessions: {sessions} without a connection, then {sessions} with an event stream each (GET)");
    println!("  {:<20}{:>14}{:>20}", "way", "KiB/session", "KiB with a stream");
    for (way, build) in ways {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut name = String::new();
        for _ in 0..ROUTERS {
            let server = Server::fresh(*way, build, setup, "idle").await?;
            let memory = || server.memory().unwrap_or(f64::NAN) * 1024.0;
            let each = |before: f64, after: f64| (after - before) / sessions as f64;
            let first = open(&server, setup.agent, FIRST, true).await?;
            sleep(REST).await;
            let begin = memory();
            open(&server, setup.agent, sessions, false).await?;
            sleep(REST).await;
            let half = memory();
            let streams = open(&server, setup.agent, sessions, true).await?;
            sleep(REST).await;
            without.push(each(begin, half));
            with.push(each(half, memory()));
            drop((first, streams));
            name.clone_from(&server.name);
            server.stop().await?;
        }
        println!("  {name:<20}{:>14.1}{:>20.1}", median(without), median(with));
    }
    Ok(())
}

/// Opens so many sessions, all over one connection, which is closed then. The streams are those of the sessions.
async fn open(server: &Server, agent: Agent, sessions: usize, streams: bool) -> Result<Vec<Connection>, String> {
    let failed = |e: String| format!("{}: {e}", server.name);
    let mut connection = Connection::open(server.address, 0).await.map_err(failed)?;
    let mut open = Vec::new();
    for _ in 0..sessions {
        let session = connection.initialize(agent.capabilities()).await.map_err(failed)?;
        if streams {
            let mut stream = Connection::open(server.address, 0).await.map_err(failed)?;
            stream.listen(&session).await.map_err(failed)?;
            open.push(stream);
        }
    }
    Ok(open)
}
