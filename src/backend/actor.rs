//! The actor of one target: a thin loop around [`Life`], the handshake and the table of what is in flight.
//! It owns all three and the pipes; nobody else touches them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Sleep};
use tracing::info;

use super::asking::{Asking, Back};
use super::connection::{Connection, Io};
use super::handshake::{Facts, Handshake};
use super::listening::Listening;
use super::listing::Listing;
use super::over_http::Busy;
use super::pending::{Entry, Pending};
use super::shared::{Condition, Shared};
use super::state::{Event, Life, State};
use super::target::{Control, Counters, Phase, Settled, Submit, Work};
use crate::config;
use crate::process::StderrRing;
use crate::wire::Era;

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
    pub(super) listing: Listing,
    pub(super) listening: Listening,
    pub(super) asking: Asking,
    pub(super) asking_checked: Instant,
    pub(super) facts: Option<Facts>,
    pub(super) remembered: Option<Era>,
    pub(super) incarnation: u64,
    pub(super) started: Option<Instant>,
    pub(super) starts: VecDeque<Duration>,
    pub(super) probe_due: Option<Instant>,
    pub(super) closed: Option<(Instant, String)>,
    pub(super) busy: Busy,
    pub(super) level: Option<u8>,
    pub(super) pid: Option<u32>,
    pub(super) ended: Option<String>,
}

enum Wake {
    Control(Option<Control>),
    Io(Io),
    Work(usize),
    Back(Back),
    Time,
}

/// Lets all tasks that are ready now go first: callers among them share the next write. Tokio's own yield would ask
/// the system for further events too, which costs a lone caller a system call.
async fn one_turn() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
                    one_turn().await;
                    while batch.len() < BATCH
                        && let Ok(work) = self.work.try_recv()
                    {
                        batch.push(work);
                    }
                    for work in batch.drain(..) {
                        self.on_work(work);
                    }
                }
                Wake::Back(back) => self.on_back(back),
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
            asking,
            ..
        } = self;
        let room = connection.as_ref().is_none_or(|c| c.backlog() < MAX_BACKLOG);
        // Unbiased: a child that talks without end must starve neither the timer nor the calls.
        let others = async {
            tokio::select! {
                io = async { match connection { Some(c) => c.io().await, None => std::future::pending().await } } => Wake::Io(io),
                n = work.recv_many(batch, BATCH), if room && !work.is_closed() => Wake::Work(n),
                back = poll_fn(|context| asking.poll(context)) => Wake::Back(back),
                () = timer, if timed => Wake::Time,
            }
        };
        // What is said about the target itself is rare, and comes before the calls that may rely on it.
        tokio::select! {
            biased;
            message = control.recv(), if wants_control => Wake::Control(message),
            wake = others => wake,
        }
    }

    fn due(&self) -> Option<Instant> {
        let closed = self.closed.as_ref().map(|(at, _)| *at);
        [
            self.life.due(),
            self.probe_due,
            self.listing.due(),
            self.patience_ends(),
            self.listening_due(),
            closed,
        ]
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
        self.end_overdue_fetches(now);
        self.end_patience(now);
        self.listen_again(now);
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
            Control::Subscriptions => self.update_listening(),
            Control::Tell(notification) => {
                if self.facts.as_ref().is_some_and(|f| f.era == Era::Legacy) {
                    self.send_bounded(&notification);
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
                self.asking.call_ended(id);
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
            doubted,
            reply,
            sink,
        } = submit;
        if reply.is_closed() {
            return;
        }
        let takes = self.life.takes_calls() && incarnation == self.incarnation && self.closed.is_none();
        match &mut self.connection {
            Some(connection) if takes => {
                if doubted {
                    connection.doubt(id);
                }
                connection.push(Some(id), line);
                self.pending.insert(Entry {
                    id,
                    agent,
                    ticket,
                    bytes,
                    replay,
                    end: None,
                    since: Instant::now(),
                    reply,
                    sink,
                });
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
            Io::Remote(event) => self.on_remote(event),
            Io::Closed(why) => {
                if self.closed.is_none() {
                    self.shared.set_condition(self.seat, Condition::Down, &[]);
                    self.closed = Some((Instant::now() + self.end_wait(EXIT_WAIT), why));
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
}
