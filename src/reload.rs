//! Reload: a changed file is loaded aside, proven and swapped in; what fails is reported and changes nothing.
//!
//! A bad plugin never holds up a good configuration, and a bad configuration never touches running plugins.

mod handle;
mod parts;
mod pipeline;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::backend::Backend;
use crate::catalog::Endpoint;
use crate::config::{self, Config, DEFAULT_ENDPOINT, Problems};
use crate::error::Reason;
use crate::plugin::{Generation, Host, Loaded};
use crate::policy::{Event, Policy};
use crate::watch::{Hint, Watcher};

use self::handle::Shown;
pub use self::handle::{Reload, ReloadStatus};
pub use self::parts::Parts;
pub use self::pipeline::words as misfit_words;

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
    loaded: BTreeMap<String, Arc<Loaded>>,
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
            loaded: BTreeMap::new(),
            pipelines: config::Pipelines::default(),
            generations: Vec::new(),
            number: 0,
            parts,
            status: Arc::clone(&status),
            asks,
        };
        let rejected = reloader.load_plugins(&loaded.config, true).await;
        if !rejected.is_empty() {
            return Err(rejected.into_values().collect::<Vec<_>>().join("\n"));
        }
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
                watcher.set(files.clone());
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
                        let all = self.watched();
                        self.reload(&all).await;
                        let _ = done.send(());
                    }
                    None => return,
                },
            }
        }
    }

    fn watched(&self) -> BTreeSet<PathBuf> {
        let plugins = self.config.plugins.values().filter_map(|p| match &p.source {
            config::Source::File(path) => Some(path.clone()),
            config::Source::Embedded(_) => None,
        });
        self.files.iter().cloned().chain(plugins).collect()
    }

    async fn reload(&mut self, changed: &Hint) {
        let plugin_files: BTreeSet<PathBuf> = self
            .config
            .plugins
            .values()
            .filter_map(|p| match &p.source {
                config::Source::File(path) => Some(path.clone()),
                config::Source::Embedded(_) => None,
            })
            .collect();
        if changed.iter().any(|path| !plugin_files.contains(path)) {
            self.reload_config().await;
        }
        let config = self.config.clone();
        self.load_plugins(&config, false).await;
        // Whoever waits for the reload sees what it did.
        let endpoints = self.parts.router.endpoints();
        join_all(endpoints.values().map(|e| e.fresh_view())).await;
    }

    async fn reload_config(&mut self) {
        if let Some(tls) = &self.parts.tls {
            tls.renew().await;
        }
        let reader = Arc::clone(&self.reader);
        let read = tokio::task::spawn_blocking(move || reader()).await;
        let loaded = match read {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(problems)) => {
                let text = problems.to_string();
                let known = self.show(|s| s.config_error.replace(text.clone()));
                if known.is_none_or(|known| known != text) {
                    warn!("the changed configuration is refused and nothing was changed:\n{text}");
                }
                // It may be an included file that is mended, one that the present configuration does not have.
                let files = problems.1.into_iter().filter(|f| !self.files.contains(f));
                self.files.extend(files.collect::<Vec<_>>());
                return;
            }
            Err(panic) => {
                warn!("the changed configuration could not be read: {panic}");
                return;
            }
        };
        self.show(|s| s.config_error = None);
        self.note_warnings(&loaded.warnings);
        self.files = loaded.files;
        if loaded.config == self.config {
            return;
        }
        let waiting: Vec<String> = config::diff(&self.booted, &loaded.config)
            .needs_restart()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let known = self.show(|s| std::mem::replace(&mut s.needs_restart, waiting.clone()));
        if !waiting.is_empty() && waiting != known {
            warn!(
                "changed, and in force after a restart of the router: {}",
                waiting.join(", ")
            );
        }
        self.apply(loaded.config).await;
        self.show(|s| s.applied += 1);
    }

    /// Brings backends and endpoints to `config`.
    async fn apply(&mut self, config: Config) {
        let changes = config::diff(&self.config, &config);
        // Before anything new can be reached; what can be reached until then is guarded as it was.
        self.parts.guard.prepare(&config);
        let mut backends = (*self.parts.router.backends()).clone();
        for name in &changes.backends_added {
            if let Some(settings) = config.backends.get(name) {
                info!(backend = name, "added");
                let (spawner, observer) = (Arc::clone(&self.parts.spawner), self.parts.router.policies().observer());
                let backend = Backend::start_observed(name, settings.clone(), spawner, observer);
                backends.insert(name.clone(), backend);
            }
        }
        let removed: Vec<_> = changes
            .backends_removed
            .iter()
            .filter_map(|name| backends.remove(name))
            .collect();
        let touched: BTreeSet<&String> = changes
            .backends_respawn
            .iter()
            .chain(&changes.backends_retuned)
            .chain(&changes.replicas_changed)
            .collect();
        for name in touched {
            if let (Some(settings), Some(backend)) = (config.backends.get(name), backends.get(name)) {
                let respawn = changes.backends_respawn.contains(name);
                info!(backend = name, respawn, "changed");
                backend.reconfigure(settings.clone(), respawn).await;
            }
        }
        self.parts.router.set_backends(backends.clone());
        self.set_endpoints(&config, &backends).await;
        self.parts.guard.configure(&config);
        for backend in removed {
            info!(backend = %backend.name(), "removed");
            backend.refuse(Reason::Unavailable("it was removed from the configuration".into()));
            tokio::spawn(async move {
                backend
                    .stop(Reason::Unavailable("it was removed from the configuration".into()))
                    .await
            });
        }
        self.config = config;
    }

    async fn set_endpoints(&self, config: &Config, backends: &BTreeMap<String, Arc<Backend>>) {
        let default = config.endpoints.get(DEFAULT_ENDPOINT).cloned().unwrap_or_default();
        let members = |settings: &config::Endpoint| match &settings.backends {
            None => backends.values().cloned().collect(),
            Some(names) => names
                .iter()
                .filter_map(|n| backends.get(n).cloned())
                .collect::<Vec<_>>(),
        };
        let mut wanted = vec![(String::new(), None, default.clone(), members(&default))];
        for (name, settings) in config.endpoints.iter().filter(|(name, _)| *name != DEFAULT_ENDPOINT) {
            wanted.push((name.clone(), None, settings.clone(), members(settings)));
        }
        for (name, backend) in backends {
            let settings = config::Endpoint {
                backends: Some(vec![name.clone()]),
                // The path names the backend: nothing that is added can rename its tools.
                names: config::Names::Plain,
                ..default.clone()
            };
            wanted.push((name.clone(), Some(name.as_str()), settings, vec![Arc::clone(backend)]));
        }
        let old = self.parts.router.endpoints();
        let mut endpoints = BTreeMap::new();
        for (name, backend, settings, members) in wanted {
            // The same endpoint goes on under its name: sessions and streams hold on to it.
            let endpoint = match old.get(&name).filter(|e| e.backend.as_deref() == backend) {
                Some(endpoint) => {
                    endpoint.update(settings, members);
                    Arc::clone(endpoint)
                }
                None => Endpoint::new(
                    &name,
                    backend,
                    settings,
                    members,
                    self.parts.router.policies().changes(),
                ),
            };
            endpoints.insert(name, endpoint);
        }
        // Shown before they are asked for.
        join_all(endpoints.values().map(|e| e.fresh_view())).await;
        self.parts.router.set_endpoints(endpoints);
    }

    /// Loads what changed of the plugins of `config` and makes a new generation of it. Where a plugin is
    /// refused its last good build goes on; the refusals are returned.
    async fn load_plugins(&mut self, config: &Config, first: bool) -> BTreeMap<String, String> {
        let (mut loaded, mut rejected) = (BTreeMap::new(), BTreeMap::new());
        let pipelines = config.pipelines();
        for (name, settings) in &config.plugins {
            match self.host.load(name, settings).await {
                Ok(build) => {
                    loaded.insert(name.clone(), build);
                }
                Err(error) => {
                    warn!(plugin = name, "refused: {error}");
                    rejected.insert(name.clone(), error.to_string());
                    if let Some(last_good) = self.loaded.get(name) {
                        loaded.insert(name.clone(), Arc::clone(last_good));
                    }
                }
            }
        }
        if first && !rejected.is_empty() {
            // There is nothing to go on with: the caller gives up, for reasons that are told all at once.
            let misfits = self.host.generation(0, &pipelines, loaded).err().unwrap_or_default();
            let words = misfit_words(&misfits, &rejected);
            if !words.is_empty() {
                rejected.insert(PIPELINE.to_owned(), words.join("\n"));
            }
            return rejected;
        }
        let same = loaded.len() == self.loaded.len()
            && loaded
                .iter()
                .all(|(n, l)| self.loaded.get(n).is_some_and(|old| Arc::ptr_eq(old, l)));
        let changed = first || !same || pipelines != self.pipelines || !rejected.is_empty();
        if first || !same || pipelines != self.pipelines {
            match self.host.generation(self.number + 1, &pipelines, loaded.clone()) {
                Ok(generation) => self.activate(generation, loaded, pipelines),
                Err(misfits) => {
                    let mut words = misfit_words(&misfits, &rejected);
                    if words.is_empty() {
                        // A refused plugin is all of it, and even so the pipeline is not in force.
                        words = misfit_words(&misfits, &BTreeMap::new());
                    }
                    let words = words.join("\n");
                    warn!("the policies stay as they are: {words}");
                    rejected.insert(PIPELINE.to_owned(), words);
                }
            }
        }
        self.show(|s| s.rejected.clone_from(&rejected));
        let policies = self.parts.router.policies().current();
        if changed && policies.observes() {
            policies.tell(Event::reload(self.number, &rejected), None);
        }
        rejected
    }

    fn activate(
        &mut self,
        generation: Arc<Generation>,
        loaded: BTreeMap<String, Arc<Loaded>>,
        pipelines: config::Pipelines,
    ) {
        self.number = generation.generation();
        self.loaded = loaded;
        self.pipelines = pipelines;
        self.parts
            .router
            .policies()
            .swap(Arc::clone(&generation) as Arc<dyn Policy>);
        let number = self.number;
        // Before the count: status must not keep the generation before alive.
        self.shown().generation = Some(Arc::clone(&generation));
        self.generations.retain(|old| old.strong_count() > 0);
        self.generations.push(Arc::downgrade(&generation));
        let surplus = self
            .generations
            .len()
            .saturating_sub(self.config.policies.generations.max(1));
        for old in self.generations.drain(..surplus) {
            if let Some(old) = old.upgrade() {
                warn!(
                    generation = old.generation(),
                    "retired with calls still running: too many generations are alive"
                );
                old.retire();
            }
        }
        info!(generation = number, "policies active");
        let alive = self.generations.clone();
        let mut shown = self.shown();
        shown.status.generation = number;
        shown.alive = alive;
    }
}
