//! The end of the router in two steps: first drain, then now.

use tokio::sync::watch;

/// How far the end has come. Phases only go forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Business as usual.
    #[default]
    Running,
    /// Nothing new is taken; what runs may end in its time.
    Draining,
    /// Everything ends at once.
    Now,
}

/// Announces the end. Clones announce to the same subscribers.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

impl Shutdown {
    /// Business as usual, and nobody listens to signals yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One step forward: what a signal does. The first drains, the second ends it now.
    pub fn trigger(&self) {
        self.phase.send_modify(|phase| {
            *phase = match phase {
                Phase::Running => Phase::Draining,
                Phase::Draining | Phase::Now => Phase::Now,
            }
        });
    }

    /// Straight to the end, as when the time for draining is over.
    pub fn force(&self) {
        self.phase.send_replace(Phase::Now);
    }

    /// A subscriber; it also sees what was announced before.
    pub fn subscribe(&self) -> Subscriber {
        Subscriber {
            phase: self.phase.subscribe(),
        }
    }

    /// From now on SIGTERM and SIGINT (Ctrl-C on Windows) trigger, for as long as the runtime lives.
    ///
    /// When this has returned, no such signal ends the process by itself any more.
    #[cfg(unix)]
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};

        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    else => return,
                };
                shutdown.on_signal(name);
            }
        });
        Ok(())
    }

    /// From now on Ctrl-C and Ctrl-Break trigger, for as long as the runtime lives.
    #[cfg(windows)]
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        use tokio::signal::windows::{ctrl_break, ctrl_c};

        let (mut c, mut pause) = (ctrl_c()?, ctrl_break()?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = c.recv() => "Ctrl-C",
                    Some(()) = pause.recv() => "Ctrl-Break",
                    else => return,
                };
                shutdown.on_signal(name);
            }
        });
        Ok(())
    }

    fn on_signal(&self, name: &str) {
        self.trigger();
        match *self.phase.borrow() {
            Phase::Now => tracing::warn!(signal = name, "ending now"),
            _ => tracing::info!(signal = name, "draining; once more ends it now"),
        }
    }
}

/// Hears of the end. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Subscriber {
    phase: watch::Receiver<Phase>,
}

impl Subscriber {
    /// How far the end has come.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Resolves when nothing new is to be taken any more, and at once when that was announced before.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when everything is to end at once.
    pub async fn now(&self) {
        self.reached(Phase::Now).await;
    }

    async fn reached(&self, wanted: Phase) {
        let mut phase = self.phase.clone();
        if phase.wait_for(|phase| *phase >= wanted).await.is_err() {
            // Nobody is left who could announce it. To resolve would be to announce it ourselves.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn first_drains_then_ends() {
        let shutdown = Shutdown::new();
        let early = shutdown.subscribe();
        assert_eq!(early.phase(), Phase::Running);
        assert!(early.draining().now_or_never().is_none());

        let waiting = tokio::spawn({
            let early = early.clone();
            async move { early.draining().await }
        });
        shutdown.trigger();
        waiting.await.unwrap();
        assert_eq!(early.phase(), Phase::Draining);
        assert!(early.now().now_or_never().is_none());

        shutdown.clone().trigger();
        early.now().await;
        shutdown.trigger();
        let late = shutdown.subscribe();
        assert!(late.now().now_or_never().is_some() && late.draining().now_or_never().is_some());
    }

    #[tokio::test]
    async fn force_skips_draining_and_a_lost_handle_announces_nothing() {
        let shutdown = Shutdown::new();
        let subscriber = shutdown.subscribe();
        shutdown.force();
        subscriber.draining().await;
        subscriber.now().await;

        let subscriber = Shutdown::new().subscribe();
        assert!(subscriber.draining().now_or_never().is_none());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn signals_trigger() {
        let shutdown = Shutdown::new();
        let subscriber = shutdown.subscribe();
        shutdown.listen_to_signals().unwrap();
        let us = rustix::process::getpid();
        rustix::process::kill_process(us, rustix::process::Signal::TERM).unwrap();
        subscriber.draining().await;
        rustix::process::kill_process(us, rustix::process::Signal::INT).unwrap();
        subscriber.now().await;
    }
}
