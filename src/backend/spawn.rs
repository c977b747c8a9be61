//! How a target comes to be: its channels, and the actor behind them.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::actor::Actor;
use super::shared::Shared;
use super::state::{Life, State};
use super::target::{Counters, Phase, Target};
use super::{Running, asking, listening, listing, pending};
use crate::config;
use crate::process::StderrRing;

/// Calls in flight at one target at most. One at a time, where that is how the owner of a request is known.
pub(super) fn room(settings: &config::Backend, owned: bool) -> usize {
    match settings.server_requests {
        config::ServerRequests::Serialize if !owned => 1,
        _ => settings.max_in_flight,
    }
}

pub(super) fn spawn_target(
    shared: &Arc<Shared>,
    replica: u32,
    settings: &Arc<config::Backend>,
    level: Option<u8>,
) -> Running {
    let seat = shared.join();
    let stderr = StderrRing::new(settings.stderr_bytes);
    let counters = Arc::new(Counters::default());
    // Room for all calls that the gate can let pass, so that handing one over never waits for long.
    let (work_sender, work) = mpsc::channel(settings.max_in_flight.saturating_mul(2).clamp(64, 65_536));
    let (control_sender, control) = mpsc::channel(16);
    // It is wanted from the beginning: nobody may take it for stopped before it has begun.
    let until = Instant::now() + settings.start_timeout;
    let (phase, phase_receiver) = watch::channel(Phase {
        state: State::Starting { until },
        ..Phase::default()
    });
    let actor = Actor {
        shared: Arc::clone(shared),
        replica,
        seat,
        settings: Arc::clone(settings),
        counters: Arc::clone(&counters),
        stderr: stderr.clone(),
        work,
        control,
        phase,
        life: Life::default(),
        connection: None,
        pending: pending::Pending::default(),
        shake: None,
        listing: listing::Listing::default(),
        listening: listening::Listening::default(),
        asking: asking::Asking::default(),
        asking_checked: Instant::now(),
        facts: None,
        remembered: None,
        incarnation: 0,
        started: None,
        starts: std::collections::VecDeque::new(),
        probe_due: None,
        closed: None,
        busy: Default::default(),
        level,
        pid: None,
        ended: None,
    };
    tokio::spawn(actor.run());
    Running {
        seat,
        target: Arc::new(Target {
            replica,
            counters,
            work: work_sender,
            control: control_sender,
            phase: phase_receiver,
        }),
        stderr,
    }
}
