//! One build of a plugin, proven to start: its component, its configuration, its warm instances, its breaker.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::fault::Fault;
use super::instance::Blueprint;
use super::observing::Observer;
use super::pool::Pool;
use super::question::Question;
use super::status::{Counters, PluginStatus};
use super::ticker::Ticker;
use crate::config::{self, OnFault, Source};
use crate::policy::{Event, FaultKind, Hook};

/// One build of a plugin. Generations share it as long as neither the component nor the configuration changes,
/// so that a reload of something else leaves its instances warm.
pub struct Loaded {
    pub(super) name: Arc<str>,
    pub(super) digest: String,
    pub(super) hooks: Vec<Hook>,
    pub(super) imports: Vec<String>,
    pub(super) settings: config::Plugin,
    pub(super) blueprint: Blueprint,
    pub(super) pool: Pool,
    pub(super) ticker: Arc<Ticker>,
    pub(super) counters: Arc<Counters>,
    pub(super) breaker: Mutex<Breaker>,
    /// True while the breaker has anything to remember; the usual call then skips its lock.
    pub(super) troubled: AtomicBool,
    /// Whether its breaker ever tripped.
    pub(super) tripped: AtomicBool,
    /// Woken when it does.
    pub(super) trips: Arc<Notify>,
    /// Events on their way to it, once it is to hear of any.
    pub(super) observer: OnceLock<Observer>,
}

impl Loaded {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the component, in hexadecimal digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether it was made with these settings.
    pub fn is_of(&self, settings: &config::Plugin) -> bool {
        self.settings == *settings
    }

    /// Whether it was switched off after faults in a row, at any time.
    pub fn has_tripped(&self) -> bool {
        self.tripped.load(Relaxed)
    }

    /// Whether it is not switched off now, and does not have to prove itself after that.
    pub fn is_well(&self) -> bool {
        self.breaker().state(Instant::now()) == "closed"
    }

    /// The latest fault of the plugin, in any build.
    pub fn last_error(&self) -> Option<String> {
        self.counters.last_error()
    }

    /// The hooks it exports.
    pub fn hooks(&self) -> &[Hook] {
        &self.hooks
    }

    /// The interfaces it imports.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// What a fault in `hook` does.
    pub(super) fn on_fault(&self, hook: Hook) -> OnFault {
        // Without a selection the router takes the least busy target, and nothing is lost; any other hook may
        // be what keeps a call from where it must not go.
        self.settings.on_fault.unwrap_or(match hook {
            Hook::Select | Hook::Settle | Hook::Observe => OnFault::Open,
            _ => OnFault::Closed,
        })
    }

    /// Tells it of an event, without waiting.
    pub(super) fn tell(self: &Arc<Self>, event: Event) {
        self.observer
            .get_or_init(|| Observer::start(Arc::downgrade(self)))
            .tell(event);
    }

    /// Its status, as a part of `generation`.
    pub(super) fn status(&self, generation: u64) -> PluginStatus {
        PluginStatus {
            name: self.name.as_ref().to_owned(),
            source: match &self.settings.source {
                Source::File(path) => path.display().to_string(),
                Source::Embedded(name) => format!("embedded:{name}"),
                Source::Pulled(from) => from.clone(),
            },
            digest: self.digest.clone(),
            hooks: self.hooks.iter().map(|h| h.as_str()).collect(),
            imports: self.imports.clone(),
            generation,
            calls: self.counters.calls(),
            faults: self.counters.faults(),
            last_error: self.counters.last_error(),
            breaker: self.breaker().state(Instant::now()),
        }
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one question to one instance, within all bounds.
    pub(super) async fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Fault> {
        if self.troubled.load(Relaxed)
            && let Some(left) = self.breaker().off_for(Instant::now())
        {
            let message = format!(
                "switched off for another {:.1} s after faults in a row",
                left.as_secs_f64()
            );
            return Err(Fault::of_others(FaultKind::Error, message));
        }
        self.counters.called();
        let answer = self.ask_now(question).await;
        match &answer {
            Ok(_) if !self.troubled.load(Relaxed) => {}
            Ok(_) => {
                self.breaker().success();
                self.troubled.store(false, Relaxed);
            }
            Err(fault) if fault.blame => self.blame(Q::HOOK, fault),
            Err(_) => {}
        }
        answer
    }

    async fn ask_now<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Fault> {
        let mut left = self.settings.wall;
        let permit = match self.pool.permit_now() {
            Some(permit) => permit,
            None => {
                let began = Instant::now();
                // Boxed: it is rare, and would make every hook call's future larger.
                let permit = Box::pin(async { within(left, pin!(self.pool.permit())).await }).await;
                left = left.saturating_sub(began.elapsed());
                permit.unwrap_or_else(|| {
                    Err(Fault::of_others(
                        FaultKind::Wall,
                        "no instance was free within its wall-clock budget",
                    ))
                })?
            }
        };
        let call = pin!(async {
            let _running = self.ticker.running();
            let mut taken = self.pool.take(permit, &self.blueprint).await?;
            let answer = taken.instance.ask(question, &self.blueprint, left).await?;
            taken.give_back();
            Ok(answer)
        });
        within(left, call).await.unwrap_or_else(|| {
            // Who got an instance late was kept by others: that says nothing against the plugin.
            let fault = match left < self.settings.wall / 2 {
                true => Fault::of_others,
                false => Fault::of_plugin,
            };
            Err(fault(FaultKind::Wall, "took longer than its wall-clock budget"))
        })
    }

    #[cold]
    fn blame(&self, hook: Hook, fault: &Fault) {
        self.counters.failed(&format!("{hook}: {}", fault.message));
        self.troubled.store(true, Relaxed);
        let plugin = &*self.name;
        tracing::warn!(plugin, %hook, fault = %fault.message, "a policy failed");
        if self.breaker().fault(Instant::now()) {
            self.tripped.store(true, Relaxed);
            self.trips.notify_one();
            tracing::warn!(plugin, "the policy is switched off for a while after faults in a row");
        }
    }
}

impl Drop for Loaded {
    /// Nobody uses this build any more: its idle instances may say good-bye.
    fn drop(&mut self) {
        let idle = self.pool.drain();
        if idle.is_empty() || self.blueprint.indices.lifecycle.is_none() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let ticker = Arc::clone(&self.ticker);
        let (ticks, wall) = (self.blueprint.ticks, self.settings.wall);
        runtime.spawn(async move {
            for instance in idle {
                let _running = ticker.running();
                instance.shutdown(ticks, wall).await;
            }
        });
    }
}

/// The result of `future`, or `None` where it is not there within `limit`. Nearly every hook call is over at its
/// first poll: only those that are not pay for a look at the clock and a timer. The future comes pinned, or it would
/// be held twice.
pub(super) async fn within<F: Future>(limit: Duration, mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut timer = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(context).map(|()| None)
    })
    .await
}
