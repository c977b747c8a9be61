//! What a connection is doing, and how long it may: the deadlines that hyper does not have.
//!
//! hyper's own header timeout cannot tell a half-sent head from a kept connection that is merely idle, costs a
//! timer per request, and there is none for bodies and writes. Here socket and service leave marks in a
//! [`Watch`]; the connection's task reads them after every poll, and holds one timer that in the common case is
//! never touched by a request.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::Listen;

/// A kept connection may be idle for so long. Longer than an agent's usual pause between two calls: a client
/// that sends into a connection that is just being closed has lost its request.
const IDLE: Duration = Duration::from_secs(75);

/// How long what a refused client still sends is read and thrown away, so that it gets to see the refusal:
/// closing a socket with unread input resets it, and a reset overtakes the reply.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Accepted; its first head is not complete.
    First,
    /// Between requests, and nothing of the next one has come.
    Idle,
    /// A part of a later request's head is there.
    Head,
    /// A part of a body is missing.
    Body,
    /// The body took too long: its reader gives up.
    Late,
    /// The front is at work, or its reply is being sent.
    Busy,
    /// The last reply was sent; waiting for the client to hang up.
    Closing,
}

/// Marks of one connection. Its socket, service and task all run in one task, so they only ever meet in turn;
/// atomics are the cheapest way to say that to the compiler.
#[derive(Debug)]
pub(super) struct Watch {
    number: u64,
    phase: AtomicU8,
    phases: AtomicU32,
    closes: AtomicBool,
    stalled: AtomicBool,
    stalls: AtomicU32,
}

impl Watch {
    /// The marks of connection `number`, just accepted.
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            phase: AtomicU8::new(Phase::First as u8),
            phases: AtomicU32::new(0),
            closes: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            stalls: AtomicU32::new(0),
        }
    }

    /// The connection's number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// What the connection is doing.
    pub(super) fn phase(&self) -> Phase {
        const PHASES: [Phase; 7] = [
            Phase::First,
            Phase::Idle,
            Phase::Head,
            Phase::Body,
            Phase::Late,
            Phase::Busy,
            Phase::Closing,
        ];
        PHASES[usize::from(self.phase.load(Relaxed))]
    }

    /// It does something else now; the time for it begins.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.phases.store(self.phases.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The socket gave something.
    pub(super) fn read(&self) {
        if self.phase() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// The body's reader has to wait. Time is counted from the first wait, or a trickle would never be late.
    pub(super) fn wait_for_body(&self) {
        if self.phase() != Phase::Body {
            self.enter(Phase::Body);
        }
    }

    /// The body is complete, or given up.
    pub(super) fn stop_waiting_for_body(&self) {
        if self.phase() != Phase::Busy {
            self.enter(Phase::Busy);
        }
    }

    /// The next reply is the last one.
    pub(super) fn close_after_reply(&self) {
        self.closes.store(true, Relaxed);
    }

    /// The reply is over.
    pub(super) fn replied(&self) {
        let next = if self.closes.load(Relaxed) {
            Phase::Closing
        } else {
            Phase::Idle
        };
        self.enter(next);
    }

    /// The socket took some bytes (`true`), or none (`false`).
    pub(super) fn wrote(&self, some: bool) {
        if some {
            self.stalled.store(false, Relaxed);
        } else if !self.stalled.load(Relaxed) {
            self.stalled.store(true, Relaxed);
            self.stalls.store(self.stalls.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    fn stalled(&self) -> bool {
        self.stalled.load(Relaxed)
    }
}

/// How long each phase may last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) body: Duration,
    pub(super) write: Duration,
}

impl Limits {
    /// Those of the configuration.
    pub(super) fn new(listen: &Listen) -> Self {
        Self {
            head: listen.header_timeout,
            // An operator who allows heads more time than that wants slow clients served.
            idle: IDLE.max(listen.header_timeout),
            body: listen.body_timeout,
            write: listen.write_timeout,
        }
    }

    fn of(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::First | Phase::Head => Some(self.head),
            Phase::Idle => Some(self.idle),
            Phase::Body => Some(self.body),
            Phase::Closing => Some(LINGER),
            Phase::Late | Phase::Busy => None,
        }
    }
}

/// Which limit was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// That of the phase.
    Phase(Phase),
    /// The client does not read.
    Write,
}

/// The clock of one connection: when each mark was first seen, and one timer.
pub(super) struct Clock {
    limits: Limits,
    phase: (u32, Instant),
    stall: (u32, Instant),
    sleep: Pin<Box<Sleep>>,
    /// When the timer fires; `None`: not armed. It may fire too early, never too late, so that deadlines which
    /// move away, as those of a busy connection always do, cost nothing.
    armed: Option<Instant>,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            limits,
            phase: (0, now),
            stall: (0, now),
            sleep: Box::pin(tokio::time::sleep_until(now)),
            armed: None,
        }
    }

    /// Ready as soon as something takes too long; call it after every poll of the connection.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, watch: &Watch) -> Poll<Overdue> {
        loop {
            let due = self.due(watch);
            if let Some((at, _)) = due
                && self.armed.is_none_or(|armed| at < armed)
            {
                self.sleep.as_mut().reset(at);
                self.armed = Some(at);
            }
            let Some(armed) = self.armed else {
                return Poll::Pending;
            };
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if let Some((at, what)) = due
                && at <= armed
            {
                return Poll::Ready(what);
            }
        }
    }

    fn due(&mut self, watch: &Watch) -> Option<(Instant, Overdue)> {
        mark(&mut self.phase, watch.phases.load(Relaxed));
        let phase = watch.phase();
        // A limit too long to be added up is none.
        let due = self.limits.of(phase).and_then(|limit| self.phase.1.checked_add(limit));
        let due = due.map(|at| (at, Overdue::Phase(phase)));
        if !watch.stalled() {
            return due;
        }
        mark(&mut self.stall, watch.stalls.load(Relaxed));
        match (due, self.stall.1.checked_add(self.limits.write)) {
            (Some((at, _)), Some(stall)) if at <= stall => due,
            (_, Some(stall)) => Some((stall, Overdue::Write)),
            (_, None) => due,
        }
    }
}

/// Takes the time when the mark is a new one.
fn mark(seen: &mut (u32, Instant), now: u32) {
    if seen.0 != now {
        *seen = (now, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn clock() -> (Clock, Watch) {
        (Clock::new(Limits::new(&Listen::default())), Watch::new(1))
    }

    /// Waits until something is overdue; how long that took in seconds, and what it was.
    async fn overdue(clock: &mut Clock, watch: &Watch) -> (u64, Overdue) {
        let began = Instant::now();
        let what = std::future::poll_fn(|cx| clock.poll(cx, watch)).await;
        (began.elapsed().as_secs(), what)
    }

    /// Lets the clock see the marks, as a poll of the connection does, and time pass.
    async fn pass(clock: &mut Clock, watch: &Watch, time: Duration) {
        let early = tokio::time::timeout(time, overdue(clock, watch)).await;
        assert!(early.is_err(), "{early:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn every_phase_has_its_time() {
        let (mut clock, watch) = clock();
        assert_eq!(overdue(&mut clock, &watch).await, (10, Overdue::Phase(Phase::First)));
        for (phase, limit) in [
            (Phase::Idle, 75),
            (Phase::Body, 30),
            (Phase::Head, 10),
            (Phase::Closing, 2),
        ] {
            watch.enter(phase);
            assert_eq!(overdue(&mut clock, &watch).await, (limit, Overdue::Phase(phase)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_takes_as_long_as_it_takes_and_then_idleness_begins() {
        let (mut clock, watch) = clock();
        pass(&mut clock, &watch, secs(9)).await;
        watch.enter(Phase::Busy);
        pass(&mut clock, &watch, secs(10_000)).await;
        watch.replied();
        pass(&mut clock, &watch, secs(60)).await;
        watch.read();
        assert_eq!(overdue(&mut clock, &watch).await, (10, Overdue::Phase(Phase::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_does_not_prolong_a_body() {
        let (mut clock, watch) = clock();
        watch.enter(Phase::Busy);
        for _ in 0..29 {
            watch.wait_for_body();
            watch.read();
            pass(&mut clock, &watch, secs(1)).await;
        }
        assert_eq!(overdue(&mut clock, &watch).await, (1, Overdue::Phase(Phase::Body)));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_write_without_progress_is_overdue() {
        let (mut clock, watch) = clock();
        watch.enter(Phase::Busy);
        for _ in 0..5 {
            watch.wrote(false);
            pass(&mut clock, &watch, secs(29)).await;
            watch.wrote(true);
        }
        pass(&mut clock, &watch, secs(100)).await;
        watch.wrote(false);
        watch.wrote(false);
        assert_eq!(overdue(&mut clock, &watch).await, (30, Overdue::Write));
    }

    #[tokio::test(start_paused = true)]
    async fn endless_limits_are_none() {
        let listen = Listen {
            header_timeout: Duration::MAX,
            ..Listen::default()
        };
        let (mut clock, watch) = (Clock::new(Limits::new(&listen)), Watch::new(1));
        pass(&mut clock, &watch, secs(1_000_000)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_the_connection_closes() {
        let (mut clock, watch) = clock();
        watch.enter(Phase::Busy);
        watch.close_after_reply();
        watch.replied();
        assert_eq!(overdue(&mut clock, &watch).await, (2, Overdue::Phase(Phase::Closing)));
    }
}
