//! Reload: a changed file is loaded aside, proven and swapped in; what fails is reported and changes nothing.
//!
//! A bad plugin never holds up a good configuration, and a bad configuration never touches running plugins.

mod apply;
mod handle;
mod loading;
mod parts;
mod pipeline;
mod plugins;
mod probation;
mod swap;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::config::{self, Config, Problems};
use crate::plugin::{Builds, Generation, Host, Loaded};
use crate::watch::{Hint, Watcher};

use self::handle::Shown;
pub use self::handle::{Reload, ReloadStatus};
use self::loading::Loads;
pub use self::parts::Parts;
pub use self::pipeline::words as misfit_words;
use self::probation::Probation;

/// Under this name the pipeline as a whole is refused; no plugin can have it.
pub const PIPELINE: &str = "[pipeline]";

/// Reads the configuration anew, from wherever it came.
pub type Reader = Arc<dyn Fn() -> Result<config::Loaded, Problems> + Send + Sync>;

/// The reloader: owns the configuration in force, the loaded plugins and the watcher.
pub struct Reloader {
    reader: Reader,
    config: Config,
    /// The one that the router was started with: what `[listen]` and `[router]` are in force.
    booted: Config,
    files: Vec<PathBuf>,
    host: Arc<Host>,
    /// What is in force of the plugins.
    builds: Builds,
    loads: Loads,
    /// Those of them that are young.
    probation: Probation<Arc<Loaded>>,
    /// Who wants to know when no load is under way any more.
    waiting: Vec<oneshot::Sender<()>>,
    pipelines: config::Pipelines,
    generations: Vec<Weak<Generation>>,
    number: u64,
    parts: Parts,
    status: Arc<Mutex<Shown>>,
    asks: mpsc::Receiver<oneshot::Sender<()>>,
}

impl Reloader {
    /// Takes over a configuration that was loaded: its plugins are proven first, then its backends start. An
    /// error is a plugin that cannot be loaded, in words.
    pub async fn start(
        reader: Reader,
        loaded: config::Loaded,
        host: Arc<Host>,
        parts: Parts,
    ) -> Result<(Reload, Self), String> {
        let (asks_sender, asks) = mpsc::channel(4);
        let status = Arc::new(Mutex::new(Shown::default()));
        let mut reloader = Self {
            reader,
            config: Config {
                backends: BTreeMap::new(),
                ..loaded.config.clone()
            },
            booted: loaded.config.clone(),
            files: loaded.files,
            host,
            builds: Builds::default(),
            loads: Loads::default(),
            probation: Probation::new(loaded.config.policies.young),
            waiting: Vec::new(),
            pipelines: config::Pipelines::default(),
            generations: Vec::new(),
            number: 0,
            parts,
            status: Arc::clone(&status),
            asks,
        };
        reloader.load_plugins(&Hint::new());
        while reloader.loads.are_under_way() {
            reloader.loads.next().await;
        }
        if let Some(why) = reloader.unfit_to_start() {
            return Err(why);
        }
        reloader.take_up();
        reloader.note_warnings(&loaded.warnings);
        reloader.apply(loaded.config).await;
        Ok((
            Reload {
                asks: asks_sender,
                status,
            },
            reloader,
        ))
    }

    /// Runs until the router ends. `hints` are the watcher's.
    pub async fn run(mut self, mut watcher: Option<(Watcher, mpsc::Receiver<Hint>)>) {
        let mut known = Hint::new();
        loop {
            if let Some((watcher, _)) = &mut watcher {
                let files = self.watched();
                let new: Hint = files.difference(&known).cloned().collect();
                // A component is one file; a configuration may be several, which are edited together.
                watcher.set(files.clone(), self.plugin_files());
                known = files;
                if !new.is_empty() {
                    // They were read before they were watched: of a change in between nobody tells.
                    self.reload(&new).await;
                    continue;
                }
            }
            tokio::select! {
                hint = async { match &mut watcher { Some((_, hints)) => hints.recv().await, None => std::future::pending().await } } => match hint {
                    Some(hint) => self.reload(&hint).await,
                    None => watcher = None,
                },
                ask = self.asks.recv() => match ask {
                    Some(done) => {
                        self.waiting.push(done);
                        let all = self.watched();
                        self.reload(&all).await;
                    }
                    None => return,
                },
                () = self.loads.next() => self.take_up(),
                () = self.host.tripped() => self.put_back(),
                now = at(self.probation.next_end()) => self.probation.end(now),
            }
        }
    }

    fn plugin_files(&self) -> BTreeSet<PathBuf> {
        let files = self.config.plugins.values().filter_map(|p| match &p.source {
            config::Source::File(path) => Some(path.clone()),
            config::Source::Embedded(_) | config::Source::Pulled(_) => None,
        });
        files.collect()
    }

    fn watched(&self) -> BTreeSet<PathBuf> {
        self.files.iter().cloned().chain(self.plugin_files()).collect()
    }

    async fn reload(&mut self, changed: &Hint) {
        let plugin_files = self.plugin_files();
        if changed.iter().any(|path| !plugin_files.contains(path)) {
            self.reload_config().await;
        }
        self.load_plugins(changed);
        self.take_up();
    }
}

/// Waits for a point in time, and gives it; forever where there is none.
async fn at(then: Option<Instant>) -> Instant {
    let Some(then) = then else {
        return std::future::pending().await;
    };
    tokio::time::sleep_until(then).await;
    then
}
