//! The actor of one target: a thin loop around [`Life`], the handshake and the table of what is in flight.
//! It owns all three and the pipes; nobody else touches them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep};
use tracing::{info, warn};

use super::connection::{Connection, Io};
use super::handshake::{Facts, Fetch, Handshake, Step};
use super::pending::{Entry, Pending};
use super::shared::{Condition, Shared};
use super::state::{Effect, Event, Life, State};
use super::target::{Control, Counters, Live, Phase, Settled, Submit, Work};
use crate::config;
use crate::error::{CallError, Reason};
use crate::process::{self, StderrRing};
use crate::wire::Era;

/// How long a probe may stay unanswered before the legacy greeting goes out too.
const PROBE_WAIT: Duration = Duration::from_secs(3);
/// Calls taken from the inbox at once.
const BATCH: usize = 128;
/// Output that waits to be written; beyond it the inbox waits.
pub(super) const MAX_BACKLOG: usize = 8 * 1024 * 1024;
/// Time for the exit to follow the end of the output, so that the exit is what is reported.
const EXIT_WAIT: Duration = Duration::from_secs(1);

/// The actor of one target.
pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) replica: u32,
    pub(super) seat: u64,
    pub(super) settings: Arc<config::Backend>,
    pub(super) counters: Arc<Counters>,
    pub(super) stderr: StderrRing,
    pub(super) work: mpsc::Receiver<Work>,
    pub(super) control: mpsc::Receiver<Control>,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) life: Life,
    pub(super) connection: Option<Connection>,
    pub(super) pending: Pending,
    pub(super) shake: Option<Handshake>,
    pub(super) fetch: Option<Fetch>,
    pub(super) fetch_again: bool,
    pub(super) facts: Option<Facts>,
    pub(super) remembered: Option<Era>,
    pub(super) incarnation: u64,
    pub(super) started: Option<Instant>,
    pub(super) starts: VecDeque<Duration>,
    pub(super) probe_due: Option<Instant>,
    pub(super) closed: Option<(Instant, String)>,
    pub(super) level: Option<u8>,
    pub(super) pid: Option<u32>,
}

enum Wake {
    Control(Option<Control>),
    Io(Io),
    Work(usize),
    Time,
}

impl Actor {
    /// Runs until it is stopped for good and its handle is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        let (mut armed, mut removed) = (None, false);
        self.on(Event::Start);
        loop {
            // Before the wait, for there may be something to write already.
            if let Some(connection) = &mut self.connection {
                let pending = &mut self.pending;
                connection.fill(|id, end| {
                    if let Some(entry) = pending.get_mut(id) {
                        entry.end = Some(end);
                    }
                });
            }
            let due = self.due();
            if let Some(due) = due
                && armed != Some(due)
            {
                timer.as_mut().reset(due);
                armed = Some(due);
            }
            match self.wake(&mut batch, timer.as_mut(), due.is_some(), !removed).await {
                Wake::Control(Some(control)) => self.on_control(control),
                // The backend was dropped without being stopped: nobody can call here any more.
                Wake::Control(None) => {
                    removed = true;
                    self.on(Event::Stop);
                }
                Wake::Io(io) => self.on_io(io),
                Wake::Work(0) => self.work.close(),
                Wake::Work(_) => {
                    // One turn for the others: callers that are ready now share this write.
                    tokio::task::yield_now().await;
                    while batch.len() < BATCH
                        && let Ok(work) = self.work.try_recv()
                    {
                        batch.push(work);
                    }
                    for work in batch.drain(..) {
                        self.on_work(work);
                    }
                }
                Wake::Time => {
                    armed = None;
                    self.on_time();
                }
            }
            if removed && *self.life.state() == State::Stopped {
                return;
            }
            if self.pending.is_empty()
                && matches!(
                    self.life.state(),
                    State::Stopping {
                        rung: super::state::Rung::Drain,
                        ..
                    }
                )
            {
                self.on(Event::Drained);
            }
        }
    }

    async fn wake(
        &mut self,
        batch: &mut Vec<Work>,
        timer: std::pin::Pin<&mut Sleep>,
        timed: bool,
        wants_control: bool,
    ) -> Wake {
        let Self {
            connection,
            work,
            control,
            ..
        } = self;
        let room = connection.as_ref().is_none_or(|c| c.backlog() < MAX_BACKLOG);
        // Unbiased: a child that talks without end must starve neither the timer nor the calls.
        tokio::select! {
            message = control.recv(), if wants_control => Wake::Control(message),
            io = async { match connection { Some(c) => c.io().await, None => std::future::pending().await } } => Wake::Io(io),
            n = work.recv_many(batch, BATCH), if room && !work.is_closed() => Wake::Work(n),
            () = timer, if timed => Wake::Time,
        }
    }

    fn due(&self) -> Option<Instant> {
        [self.life.due(), self.probe_due, self.closed.as_ref().map(|(at, _)| *at)]
            .into_iter()
            .flatten()
            .min()
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.probe_due.is_some_and(|due| due <= now) {
            self.probe_due = None;
            if let Some(shake) = &mut self.shake {
                let step = shake.overdue();
                self.on_step(step);
            }
        }
        if let Some((_, why)) = self.closed.take_if(|(at, _)| *at <= now) {
            self.on(Event::Broken { why });
        }
        self.on(Event::Tick);
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Restart => {
                info!(backend = %self.shared.name, replica = self.replica, "restart asked for");
                self.shared.forgive(self.seat);
                self.on(Event::Restart);
            }
            Control::Stop => self.on(Event::Stop),
            Control::Kill => self.on(Event::Kill),
            Control::Settings(settings, respawn) => {
                self.settings = settings;
                if respawn {
                    self.remembered = None;
                    self.shared.forgive(self.seat);
                    self.on(Event::Restart);
                }
            }
            Control::LogLevel(level) => {
                self.level = Some(level);
                self.send_level();
            }
        }
    }

    fn on_work(&mut self, work: Work) {
        match work {
            Work::Call(submit) => self.on_call(submit),
            Work::Cancel(id) => {
                let unwritten = self.connection.as_mut().is_some_and(|c| c.take_back(id));
                if self.pending.cancel(id, Instant::now()).is_some() && !unwritten {
                    self.send_cancelled(id);
                }
            }
        }
    }

    fn on_call(&mut self, submit: Submit) {
        let Submit {
            id,
            line,
            agent,
            ticket,
            bytes,
            replay,
            incarnation,
            reply,
            sink,
        } = submit;
        if reply.is_closed() {
            return;
        }
        let takes = self.life.takes_calls() && incarnation == self.incarnation && self.closed.is_none();
        match &mut self.connection {
            Some(connection) if takes => {
                connection.push(Some(id), line);
                self.pending.insert(
                    id,
                    Entry {
                        agent,
                        ticket,
                        bytes,
                        replay,
                        end: None,
                        reply,
                        sink,
                    },
                );
            }
            _ => {
                self.shared.give_back(&[(agent, ticket, bytes)]);
                let _ = reply.send(Settled::Returned { replayed: false });
            }
        }
    }

    fn on_io(&mut self, io: Io) {
        match io {
            Io::Read => self.on_lines(),
            Io::Wrote => {}
            Io::Closed(why) => {
                if self.closed.is_none() {
                    self.shared.set_condition(self.seat, Condition::Down, &[]);
                    self.closed = Some((Instant::now() + EXIT_WAIT, why));
                    self.publish();
                }
            }
            Io::Exited(exit) => {
                if let Some(connection) = &mut self.connection {
                    connection.read_rest();
                }
                self.on_lines();
                if self.shake.as_ref().is_some_and(Handshake::probing) {
                    // Some servers die of a request before `initialize`: greet it the legacy way next time.
                    self.remembered = Some(Era::Legacy);
                }
                self.on(Event::Exited {
                    why: format!("its process {exit}"),
                });
            }
        }
    }

    /// One step of the life, and what follows from it.
    pub(super) fn on(&mut self, event: Event) {
        let before = self.life.state().as_str();
        let effects = self.life.step(event, Instant::now(), random(), &self.settings);
        for effect in effects {
            self.act(effect);
        }
        let state = self.life.state().clone();
        if before != state.as_str() {
            info!(backend = %self.shared.name, replica = self.replica, incarnation = self.incarnation, "{before} -> {}", state.as_str());
        }
        self.publish();
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn => self.spawn(),
            Effect::Open => self.open(),
            Effect::Close => self.shared.set_condition(self.seat, Condition::Down, &[]),
            Effect::Settle { why } => self.settle(&why),
            Effect::GiveUp { why } => self.give_up(why),
            Effect::CloseStdin => {
                if let Some(connection) = &mut self.connection {
                    connection.close_stdin();
                }
            }
            Effect::Terminate => {
                if let Some(connection) = &mut self.connection {
                    connection.terminate();
                }
            }
            Effect::Kill => {
                if let Some(connection) = &mut self.connection {
                    connection.kill();
                }
            }
        }
    }

    fn spawn(&mut self) {
        self.incarnation += 1;
        self.counters.answered.store(0, Ordering::Relaxed);
        self.started = Some(Instant::now());
        let spec = process::Spec {
            program: self.settings.command.clone(),
            args: self.settings.args.clone(),
            env: self.settings.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            cwd: self.settings.cwd.clone(),
        };
        match self.shared.spawner.spawn(&spec) {
            Ok(child) => {
                self.pid = Some(child.pid);
                let (connection, stderr) = Connection::of_child(child, self.settings.max_message);
                self.connection = Some(connection);
                let backend: Arc<str> = Arc::clone(&self.shared.name);
                tokio::spawn(process::pump(stderr, self.stderr.clone(), backend, self.incarnation));
                let (shake, step) = Handshake::begin(self.settings.era, self.remembered);
                self.probe_due = shake.probing().then(|| Instant::now() + PROBE_WAIT);
                self.shake = Some(shake);
                self.on_step(step);
            }
            Err(error) => {
                warn!(backend = %self.shared.name, "{error}");
                let permanent = error.is_permanent();
                self.on(Event::SpawnFailed {
                    why: error.to_string(),
                    permanent,
                });
            }
        }
    }

    pub(super) fn on_step(&mut self, step: Step) {
        match step {
            Step::Send(lines) => {
                if let Some(connection) = &mut self.connection {
                    for line in lines {
                        connection.push_own(&line);
                    }
                }
            }
            Step::Wait => {}
            Step::Done(facts) => {
                self.shake = None;
                self.probe_due = None;
                self.remembered = Some(facts.era);
                self.shared.publish_tools(facts.tools.clone(), self.incarnation);
                self.facts = Some(*facts);
                if let Some(started) = self.started {
                    if self.starts.len() == 16 {
                        self.starts.pop_front();
                    }
                    self.starts.push_back(started.elapsed());
                }
                self.begin_listening();
                if std::mem::take(&mut self.fetch_again) {
                    self.refresh_tools();
                }
                self.send_level();
                self.on(Event::Ready);
            }
            Step::Failed(why) => {
                warn!(backend = %self.shared.name, "handshake failed: {why}");
                self.shake = None;
                self.on(Event::Broken { why });
            }
        }
    }

    fn open(&mut self) {
        // The start that led here is counted already; with none before it no state was lost.
        if self.settings.state == config::StateKind::Volatile && self.starts.len() > 1 {
            // Whoever was held meant the state of the incarnation that is gone.
            self.shared
                .gate
                .fail_held(&CallError::from(Reason::StateLost).at(&self.shared.name));
        }
        self.publish();
        self.shared.set_condition(self.seat, Condition::Ready, &[]);
    }

    /// The incarnation is gone: every call it had goes back to the gate or is lost.
    fn settle(&mut self, why: &str) {
        let written = self.connection.take().map_or(0, |c| c.written());
        self.shake = None;
        self.fetch = None;
        self.fetch_again = false;
        self.facts = None;
        self.probe_due = None;
        self.closed = None;
        self.pid = None;
        let (mut returning, mut settled) = (Vec::new(), Vec::new());
        let (mut lost, mut replayed) = (0_usize, 0_usize);
        for entry in self.pending.drain() {
            let sent = entry.end.is_some_and(|end| end <= written);
            if sent && !entry.replay {
                lost += 1;
                settled.push((entry.reply, Settled::Lost { why: why.to_owned() }));
            } else {
                replayed += usize::from(sent);
                returning.push((entry.agent, entry.ticket, entry.bytes));
                settled.push((entry.reply, Settled::Returned { replayed: sent }));
            }
        }
        if !settled.is_empty() {
            info!(backend = %self.shared.name, incarnation = self.incarnation, why, lost, replayed, unsent = returning.len() - replayed, "calls in flight settled");
        }
        // The places first, the callers then: nothing may overtake those that go back.
        self.publish_down();
        self.shared.set_condition(self.seat, Condition::Down, &returning);
        for (reply, outcome) in settled {
            let _ = reply.send(outcome);
        }
    }

    fn give_up(&mut self, why: String) {
        let now = Instant::now();
        let (reason, retry) = match self.life.state() {
            State::CrashLoop { until, .. } => (Reason::CrashLoop(why), Some(until.saturating_duration_since(now))),
            _ => (Reason::Unavailable(why), None),
        };
        let mut error = CallError::from(reason).at(&self.shared.name);
        error.retry_after = retry;
        error.incarnation = Some(self.incarnation);
        warn!(backend = %self.shared.name, replica = self.replica, "{}", error.message());
        self.shared
            .set_condition(self.seat, Condition::GivenUp(Box::new(error)), &[]);
    }

    fn publish_down(&self) {
        self.phase.send_if_modified(|phase| {
            phase.live = None;
            true
        });
    }

    fn publish(&self) {
        let mut starts: Vec<_> = self.starts.iter().copied().collect();
        starts.sort_unstable();
        let live = self
            .facts
            .as_ref()
            .filter(|_| self.life.takes_calls() && self.closed.is_none())
            .map(|facts| Live {
                incarnation: self.incarnation,
                era: facts.era,
                logging: facts.has("logging"),
            });
        self.phase.send_replace(Phase {
            state: self.life.state().clone(),
            incarnation: self.incarnation,
            pid: self.pid,
            live,
            restarts: self.life.restarted(),
            started: self.started,
            usual_start: starts
                .get((starts.len() * 9 / 10).min(starts.len().saturating_sub(1)))
                .copied(),
            version: self.facts.as_ref().map(|f| f.version.clone()),
        });
    }
}

/// A random number in 0..1 for the jitter of pauses.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    // Without randomness the pauses have no jitter, which is no reason to fail.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
