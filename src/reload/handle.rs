//! The reloader from outside: asking for a look at the files, and what it did last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::Reloader;
use crate::config;
use crate::plugin::{Generation, PluginStatus};

/// What `pointsman status` shows of reloads.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReloadStatus {
    /// The active generation of policies.
    pub generation: u64,
    /// Generations that calls still use, the active one included.
    pub live_generations: usize,
    /// Its plugins.
    pub plugins: Vec<PluginStatus>,
    /// Plugins whose newest file was refused, and why; the last good one serves.
    pub rejected: BTreeMap<String, String>,
    /// Plugins of which there is no build at all, and what that does: `closed` or `open`.
    pub absent: BTreeMap<String, &'static str>,
    /// Plugins that are being loaded, or compiled, now.
    pub loading: Vec<String>,
    /// How often a changed configuration was applied.
    pub applied: u64,
    /// Why the newest configuration was refused.
    pub config_error: Option<String>,
    /// What is odd about the present one.
    pub warnings: Vec<String>,
    /// Tables that changed and wait for a restart of the router.
    pub needs_restart: Vec<String>,
}

/// A handle to the reloader.
#[derive(Clone)]
pub struct Reload {
    pub(super) asks: mpsc::Sender<oneshot::Sender<()>>,
    pub(super) status: Arc<Mutex<Shown>>,
}

/// What the reloader tells its handles.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) status: ReloadStatus,
    pub(super) generation: Option<Arc<Generation>>,
    /// Every generation that may still have calls.
    pub(super) alive: Vec<Weak<Generation>>,
}

impl Reload {
    /// Looks at every file now; returns when that is done.
    pub async fn now(&self) {
        let (done, finished) = oneshot::channel();
        if self.asks.send(done).await.is_ok() {
            // A reloader that ends meanwhile has nothing left to load.
            let _ = finished.await;
        }
    }

    /// What it did last.
    pub fn status(&self) -> ReloadStatus {
        let shown = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = shown.status.clone();
        status.plugins = shown.generation.as_ref().map(|g| g.status()).unwrap_or_default();
        status.live_generations = shown.alive.iter().filter(|g| g.strong_count() > 0).count();
        status
    }
}

impl Reloader {
    pub(super) fn note_warnings(&self, warnings: &[config::Problem]) {
        let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let known = self.show(|s| std::mem::replace(&mut s.warnings, texts.clone()));
        for text in texts.iter().filter(|t| !known.contains(t)) {
            warn!("{text}");
        }
    }

    pub(super) fn show<T>(&self, change: impl FnOnce(&mut ReloadStatus) -> T) -> T {
        change(&mut self.shown().status)
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, Shown> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
