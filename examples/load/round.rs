//! One round: callers connect, warm up, call for a while, and leave.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::caller::{Agent, Caller, Work};
use crate::servers::Server;
use crate::table::Sample;

/// Calls before each measurement that do not count.
const WARM_UP: Duration = Duration::from_millis(150);

/// How rounds are made.
#[derive(Clone, Copy)]
pub struct Rounds {
    pub agent: Agent,
    /// How long one is.
    pub time: Duration,
    /// How many there are of each.
    pub number: usize,
}

impl Rounds {
    /// What one round gives.
    pub async fn one(self, server: &Server, callers: usize, work: Work) -> Result<Sample, String> {
        let named = |e| format!("{}: {e}", server.name);
        self.round(server, callers, work).await.map_err(named)
    }

    async fn round(self, server: &Server, callers: usize, work: Work) -> Result<Sample, String> {
        let mut all = Vec::with_capacity(callers);
        for who in 0..callers {
            all.push(Caller::connect(who, server.address, self.agent, work).await?);
        }
        let (all, _) = run(all, WARM_UP).await?;
        let (before, began) = (server.cpu(), Instant::now());
        let (all, times) = run(all, self.time).await?;
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
