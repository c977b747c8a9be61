//! Warm instances of one plugin: at most so many, each used at most so often.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::fault::Fault;
use super::instance::{Blueprint, Instance};
use crate::policy::FaultKind;

/// The instances that nobody uses now, and the right to use one.
pub(super) struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "an instance is large, and is moved in and out for every hook call"
    )]
    idle: Mutex<Vec<Box<Instance>>>,
    permits: Semaphore,
    reuse: u32,
}

/// An instance out of the pool. Dropping it discards the instance: only `give_back` returns it.
pub(super) struct Taken<'a> {
    pub(super) instance: Box<Instance>,
    pool: &'a Pool,
    // Given back after the instance is, so that whoever waited finds it.
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    /// An empty pool of at most `instances`, each for at most `reuse` hook calls.
    pub(super) fn new(instances: usize, reuse: u32) -> Self {
        Self {
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(instances.clamp(1, Semaphore::MAX_PERMITS)),
            reuse: reuse.max(1),
        }
    }

    /// The right to use an instance, where one is free.
    pub(super) fn permit_now(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.try_acquire().ok()
    }

    /// The right to use an instance; waits while all are in use.
    pub(super) async fn permit(&self) -> Result<SemaphorePermit<'_>, Fault> {
        let closed = |_| Fault::of_others(FaultKind::Retired, "the plugin was retired");
        self.permits.acquire().await.map_err(closed)
    }

    /// Takes a warm instance, or makes one.
    pub(super) async fn take<'a>(&'a self, permit: SemaphorePermit<'a>, from: &Blueprint) -> Result<Taken<'a>, Fault> {
        let warm = self.idle().pop();
        let instance = match warm {
            Some(instance) => instance,
            // Boxed: it is rare, and its future is several times as large as that of a hook call.
            None => Box::new(Box::pin(Instance::create(from)).await?),
        };
        Ok(Taken {
            instance,
            pool: self,
            _permit: permit,
        })
    }

    /// Puts a fresh instance in.
    pub(super) fn put(&self, instance: Instance) {
        self.idle().push(Box::new(instance));
    }

    /// Empties the pool.
    #[expect(clippy::vec_box, reason = "as they are kept")]
    pub(super) fn drain(&self) -> Vec<Box<Instance>> {
        std::mem::take(&mut *self.idle())
    }

    #[expect(clippy::vec_box, reason = "as they are kept")]
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Box<Instance>>> {
        // Nothing that runs under this lock can panic half-way.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken<'_> {
    /// Returns the instance after a call that went well, unless it has served long enough or grown too large.
    pub(super) fn give_back(mut self) {
        self.instance.uses += 1;
        if self.instance.uses < self.pool.reuse && !self.instance.is_swollen() {
            self.pool.idle().push(self.instance);
        }
    }
}
