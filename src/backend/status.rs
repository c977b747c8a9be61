//! What `pointsman status` shows of a backend.

use std::sync::atomic::Ordering;

use serde::Serialize;
use tokio::time::Instant;

use super::Backend;
use super::state::State;
use crate::config;
use crate::wire::Kind;

/// A backend's state.
#[derive(Clone, Debug, Serialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// The best of its targets' states.
    pub state: &'static str,
    /// Calls held at its gate.
    pub held: usize,
    /// Their bytes.
    pub held_bytes: usize,
    /// Calls in flight at its targets.
    pub in_flight: u32,
    /// When it is expected to be ready, in milliseconds.
    pub eta_ms: Option<u64>,
    /// How many tools it has; `None` before it ever said.
    pub tools: Option<usize>,
    /// Its targets.
    pub targets: Vec<TargetStatus>,
}

/// A target's state.
#[derive(Clone, Debug, Serialize)]
pub struct TargetStatus {
    /// Which replica it is.
    pub replica: u32,
    /// Where it is in its life.
    pub state: &'static str,
    /// Why it is there, where that needs saying.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How the incarnation before ended, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
    /// The number of its newest spawn.
    pub incarnation: u64,
    /// The process id of that.
    pub pid: Option<u32>,
    /// Where it is, if it is no process of this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `legacy` or `modern`, while it takes calls.
    pub era: Option<&'static str>,
    /// The protocol version, once agreed.
    pub version: Option<String>,
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls answered by this incarnation.
    pub answered: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// Lines on its stdout that were no message.
    pub junk: u64,
    /// Its last lines on stderr; left out where process output must not be shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<String>,
}

impl Backend {
    /// Its state now, with at most `lines` of each target's stderr.
    pub fn status(&self, lines: usize) -> BackendStatus {
        let (held, held_bytes, _) = self.gate().load();
        let (state, in_flight) = self.state();
        let targets = self.targets.load();
        let settings = self.settings();
        BackendStatus {
            name: self.name().to_string(),
            state,
            held,
            held_bytes,
            in_flight,
            eta_ms: self.eta().map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            tools: self.known(Kind::Tools).map(|tools| tools.items().len()),
            targets: targets.iter().map(|running| running.status(&settings, lines)).collect(),
        }
    }
}

impl super::Running {
    fn status(&self, settings: &config::Backend, lines: usize) -> TargetStatus {
        let phase = self.target.phase();
        let counters = &self.target.counters;
        let now = Instant::now();
        let why = match &phase.state {
            State::CrashLoop { why, until } => Some(format!(
                "{why}; next try in {:.0} s",
                until.saturating_duration_since(now).as_secs_f64()
            )),
            State::Failed { why } => Some(why.clone()),
            State::Backoff { until } => Some(format!(
                "next start in {:.1} s",
                until.saturating_duration_since(now).as_secs_f64()
            )),
            _ => None,
        };
        TargetStatus {
            replica: self.target.replica,
            state: phase.state.as_str(),
            why,
            last_end: phase.ended,
            incarnation: phase.incarnation,
            pid: phase.pid,
            url: settings.remote.as_ref().map(|r| r.address(self.target.replica)),
            era: phase.live.map(|l| l.era.as_str()),
            version: phase.version,
            in_flight: counters.in_flight.load(Ordering::Relaxed),
            answered: counters.answered.load(Ordering::Relaxed),
            restarts: phase.restarts,
            junk: counters.junk.load(Ordering::Relaxed),
            stderr: if lines == 0 {
                Vec::new()
            } else {
                self.stderr.last(lines)
            },
        }
    }
}
