//! The clock that bounds guests' CPU time: a thread that advances the engine's epoch every millisecond while
//! guests run, and sleeps while none do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;
use wasmtime::Engine;

use super::lane::Lane;

/// The distance of two ticks.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest after which the thread parks itself.
const QUIET_TICKS: u32 = 100;

/// The ticking thread; it ends when this is dropped.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    started: AtomicU64,
    ended: AtomicU64,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// Says that a guest may be running, until dropped.
pub(super) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine, lane: Lane) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("policy-clock".to_owned())
            .stack_size(64 << 10)
            .spawn(move || theirs.run(&engine, &lane))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// To be held while a guest runs.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.started.fetch_add(1, SeqCst);
        // Either this sees that the thread parked, or the thread, which looks again after it said so, sees the
        // call that started: both orders are total.
        if self.shared.parked.load(SeqCst) {
            self.unpark();
        }
        Running(&self.shared)
    }

    #[cold]
    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// True while the thread sleeps.
    #[cfg(test)]
    fn is_parked(&self) -> bool {
        self.shared.parked.load(SeqCst)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.unpark();
        if let Some(thread) = self.thread.take() {
            // It ends within a tick; a panic in it has nothing left to harm.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, engine: &Engine, lane: &Lane) {
        let mut seen = self.started.load(SeqCst);
        let mut quiet = 0;
        let mut due = Instant::now();
        while !self.stop.load(SeqCst) {
            // From tick to tick, or a hundred ticks would last a tenth longer than they should. But what the machine
            // slept through is not made up for: two ticks in a row would end a guest that has hardly begun.
            let now = Instant::now();
            due = (due + TICK).max(now + TICK / 2);
            thread::sleep(due.duration_since(now));
            engine.increment_epoch();
            let started = self.started.load(SeqCst);
            lane.tick(started == seen);
            quiet = if started == seen && self.ended.load(SeqCst) == started {
                quiet + 1
            } else {
                0
            };
            seen = started;
            if quiet >= QUIET_TICKS {
                self.park(seen);
                quiet = 0;
            }
        }
    }

    fn park(&self, seen: u64) {
        self.parked.store(true, SeqCst);
        while self.started.load(SeqCst) == seen && !self.stop.load(SeqCst) {
            thread::park();
        }
        self.parked.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < Duration::from_secs(10), "{what} in vain");
            thread::sleep(TICK);
        }
    }

    #[test]
    fn it_sleeps_while_no_guest_runs_and_wakes_for_the_next() {
        let ticker = Ticker::start(Engine::default(), Lane::new(1)).unwrap();
        until("waited for it to park", || ticker.is_parked());
        let running = ticker.running();
        until("waited for it to wake", || !ticker.is_parked());
        thread::sleep(TICK * QUIET_TICKS * 2);
        assert!(!ticker.is_parked(), "it parked while a guest ran");
        drop(running);
        until("waited for it to park again", || ticker.is_parked());
    }
}
