//! From a component file to a build that is proven to start: discovered, verified, inspected, compiled, probed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use super::bindings::EveryHook;
use super::bindings::exports::pointsman::policy::{
    lifecycle, observe, route, select, settle, transform_list, transform_request, transform_response,
};
use super::breaker::Breaker;
use super::cache::{Cache, with_advice};
use super::capability::{Common, Powers, Registry};
use super::compile::{Compiler, Workshop};
use super::engine::{MAX_MEMORY, engine, metered_engine};
use super::error::{LoadError, Problem, SetupError};
use super::fault::Fault;
use super::host::State;
use super::inspect::{Surface, inspect};
use super::instance::{Blueprint, Indices, Instance, ShapeMismatch, ticks};
use super::lane::Lane;
use super::loaded::{Loaded, within};
use super::patience::Patience;
use super::pool::Pool;
use super::status::Counters;
use super::store::Store;
use super::ticker::Ticker;
use super::wasi::{has_stub, with_stubs};
use crate::config::{self, Locked, Policies, Source, sha256_of};
use crate::policy::{Directory, Hook};

/// Wall-clock time for the first `init` of a build.
const PROBE_WALL: Duration = Duration::from_secs(5);

/// The one host of all plugins: engine, clock, compiler.
pub struct Host {
    linker: Linker<State>,
    ticker: Arc<Ticker>,
    lane: Lane,
    workshop: Workshop,
    store: Store,
    max_component: usize,
    breaker: u32,
    known: Mutex<BTreeMap<String, Known>>,
    pub(super) common: Arc<Common>,
    is_metered: bool,
    trips: Arc<Notify>,
}

/// What is remembered of a plugin name.
#[derive(Default)]
struct Known {
    counters: Arc<Counters>,
    latest: Weak<Loaded>,
}

impl Host {
    /// Starts the engine and its clock, and opens the cache.
    pub fn new(policies: &Policies, compiler: Compiler) -> Result<Arc<Self>, SetupError> {
        Self::with(engine(), policies, compiler, false)
    }

    /// The same with guests that count fuel and are slower for it, compiled in this process.
    pub fn metered(policies: &Policies) -> Result<Arc<Self>, SetupError> {
        Self::with(metered_engine(), policies, Compiler::InProcess, true)
    }

    fn with(
        engine: wasmtime::Result<Engine>,
        policies: &Policies,
        compiler: Compiler,
        is_metered: bool,
    ) -> Result<Arc<Self>, SetupError> {
        let engine = engine.map_err(|e| SetupError::Engine(format!("{e:#}")))?;
        let cache = Cache::open_for(policies.cache.as_deref()).map_err(|(folder, e)| SetupError::Cache(folder, e))?;
        let mut linker = Linker::new(&engine);
        EveryHook::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)
            .map_err(|e| SetupError::Engine(format!("{e:#}")))?;
        let workers = tokio::runtime::Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
        let lane = Lane::new(workers);
        Ok(Arc::new(Self {
            linker,
            ticker: Arc::new(Ticker::start(engine.clone(), lane.clone()).map_err(SetupError::Clock)?),
            lane,
            workshop: Workshop::new(engine, compiler, cache, policies.compile_timeout),
            store: Store::at(policies.store.as_deref()),
            max_component: policies.max_component,
            breaker: policies.breaker,
            known: Mutex::new(BTreeMap::new()),
            common: Common::new(),
            is_metered,
            trips: Arc::default(),
        }))
    }

    /// The numbers that plugins report.
    pub fn registry(&self) -> &Arc<Registry> {
        self.common.registry()
    }

    /// Waits until a build is switched off after faults in a row; which one, it says itself.
    pub async fn tripped(&self) {
        self.trips.notified().await;
    }

    /// From now on plugins can look at these backends.
    pub fn show(&self, directory: Arc<dyn Directory>) {
        self.common.show(directory);
    }

    /// Loads one plugin. Where neither its component nor its configuration changed since the last time, and that
    /// build is still in use, this is that build, warm.
    pub async fn load(&self, name: &str, plugin: &config::Plugin) -> Result<Arc<Loaded>, LoadError> {
        self.try_load(name, plugin).await.map_err(|problem| LoadError {
            plugin: name.to_owned(),
            problem,
        })
    }

    async fn try_load(&self, name: &str, plugin: &config::Plugin) -> Result<Arc<Loaded>, Problem> {
        if plugin.memory > MAX_MEMORY {
            return Err(Problem::MemoryLimit {
                configured: plugin.memory,
                most: MAX_MEMORY,
            });
        }
        if let Locked::Stale(why) = &plugin.locked {
            return Err(Problem::NotLocked(why.clone()));
        }
        let hands = &self.workshop.hands;
        let (place, most) = (self.place(plugin)?, self.max_component);
        let hashed = move || {
            let bytes = read(&place, most)?;
            // The digest is that of the file, whatever it is made into.
            Ok::<_, Problem>((sha256_of(&bytes), bytes))
        };
        let (digest, bytes) = hands.run(hashed).await??;
        // Nobody looks into other bytes than those that are wanted.
        if let Some(wanted) = plugin.digests().find(|wanted| *wanted != digest) {
            let wanted = wanted.to_owned();
            return Err(Problem::Digest { wanted, found: digest });
        }
        let (counters, latest) = self.known(name);
        if let Some(latest) = latest.filter(|l| l.digest == digest && l.settings == *plugin) {
            return Ok(latest);
        }
        let bytes = self.workshop.made_component(bytes).await?;
        let grants = plugin.grants.clone();
        let verify = move || (inspect(&bytes, &grants), bytes);
        let (surface, bytes) = hands.run(verify).await?;
        let surface = surface?;
        for export in &surface.strangers {
            tracing::debug!(plugin = name, export, "the component exports something that is no hook");
        }
        let component = self.workshop.component(&digest, bytes).await.map_err(|e| match e {
            Problem::Cache(e) => Problem::Cache(with_advice(e)),
            other => other,
        })?;
        let (pre, indices) = self.link(&component, &surface)?;
        let config = config_text(plugin, &indices)?;
        let label: Arc<str> = name.into();
        let loaded = Loaded {
            digest,
            hooks: indices.hooks(),
            imports: surface.imports,
            settings: plugin.clone(),
            blueprint: Blueprint {
                pre,
                indices,
                config,
                memory: plugin.memory,
                output: plugin.output,
                ticks: ticks(plugin.cpu),
                patience: Patience::new(plugin.instances),
                lane: self.lane.clone(),
                is_metered: self.is_metered,
                powers: Arc::new(Powers::new(&label, &plugin.grants, &self.common)?),
            },
            pool: Pool::new(plugin.instances, plugin.reuse),
            ticker: Arc::clone(&self.ticker),
            counters,
            breaker: Mutex::new(Breaker::new(self.breaker)),
            troubled: AtomicBool::new(false),
            tripped: AtomicBool::new(false),
            trips: Arc::clone(&self.trips),
            observer: OnceLock::new(),
            name: label,
        };
        self.probe(&loaded).await?;
        let loaded = Arc::new(loaded);
        self.remember(name, &loaded);
        Ok(loaded)
    }

    /// Proves that the build starts, in the very way in which it will be started.
    async fn probe(&self, loaded: &Loaded) -> Result<(), Problem> {
        let create = async {
            let _running = self.ticker.running();
            let failed = |fault: Fault| Problem::Init(fault.kind, fault.message);
            let bare = Instance::bare(&loaded.blueprint).await.map_err(|e| {
                if e.is::<ShapeMismatch>() {
                    Problem::Shape(e.root_cause().to_string())
                } else {
                    failed(Fault::of_error(&e))
                }
            })?;
            bare.init(&loaded.blueprint).await.map_err(failed)
        };
        let instance = within(PROBE_WALL, pin!(create))
            .await
            .ok_or(Problem::ProbeTimeout(PROBE_WALL))?;
        // It is as good as any other: the first call need not wait for another one.
        loaded.pool.put(instance?);
        Ok(())
    }

    fn known(&self, name: &str) -> (Arc<Counters>, Option<Arc<Loaded>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(name.to_owned()).or_default();
        (Arc::clone(&known.counters), known.latest.upgrade())
    }

    fn remember(&self, name: &str, loaded: &Arc<Loaded>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(name.to_owned()).or_default().latest = Arc::downgrade(loaded);
    }

    /// Where a component is. Which one a reference means is settled already: nothing is asked over the network.
    fn place(&self, plugin: &config::Plugin) -> Result<Place, Problem> {
        Ok(match &plugin.source {
            Source::Embedded(name) => Place::Binary(name.clone()),
            Source::File(path) => Place::File(path.clone()),
            Source::Pulled(from) => match plugin.digests().next() {
                Some(digest) => Place::Store(from.clone(), self.store.path(digest)),
                None => return Err(Problem::NotLocked(format!("nothing says which component {from} is"))),
            },
        })
    }

    /// Checks the component's types against the contract, hook by hook.
    fn link(&self, component: &Component, surface: &Surface) -> Result<(InstancePre<State>, Indices), Problem> {
        let shape = |e: wasmtime::Error| match &surface.later {
            Some(contract) => Problem::NewerShape {
                contract: contract.clone(),
                why: format!("{e:#}"),
            },
            None => Problem::Shape(format!("{e:#}")),
        };
        let stubbed = match surface.imports.iter().any(|import| has_stub(import)) {
            true => Some(with_stubs(&self.linker, component).map_err(shape)?),
            false => None,
        };
        let linker = stubbed.as_ref().unwrap_or(&self.linker);
        let pre = linker.instantiate_pre(component).map_err(shape)?;
        let mut indices = Indices::default();
        for hook in &surface.hooks {
            match hook {
                Hook::Lifecycle => indices.lifecycle = Some(lifecycle::GuestIndices::new(&pre).map_err(shape)?),
                Hook::Route => indices.route = Some(route::GuestIndices::new(&pre).map_err(shape)?),
                Hook::Select => indices.select = Some(select::GuestIndices::new(&pre).map_err(shape)?),
                Hook::TransformRequest => {
                    indices.transform_request = Some(transform_request::GuestIndices::new(&pre).map_err(shape)?);
                }
                Hook::TransformResponse => {
                    indices.transform_response = Some(transform_response::GuestIndices::new(&pre).map_err(shape)?);
                }
                Hook::TransformList => {
                    indices.transform_list = Some(transform_list::GuestIndices::new(&pre).map_err(shape)?);
                }
                Hook::Settle => indices.settle = Some(settle::GuestIndices::new(&pre).map_err(shape)?),
                Hook::Observe => indices.observe = Some(observe::GuestIndices::new(&pre).map_err(shape)?),
            }
        }
        Ok((pre, indices))
    }
}

/// The configuration as `init` gets it. Without an `init` there must be none: it would be ignored in silence.
fn config_text(plugin: &config::Plugin, indices: &Indices) -> Result<String, Problem> {
    let empty = plugin.config.is_null() || plugin.config.as_object().is_some_and(serde_json::Map::is_empty);
    if indices.lifecycle.is_none() && !empty {
        return Err(Problem::NoInit);
    }
    Ok(if empty {
        "{}".to_owned()
    } else {
        plugin.config.to_string()
    })
}

/// Where the bytes of a component are.
enum Place {
    /// In this program, by name.
    Binary(String),
    File(PathBuf),
    /// In the store, by the reference that it was pulled with.
    Store(String, PathBuf),
}

/// The bytes of a component, or an error where it has more than `most`.
fn read(place: &Place, most: usize) -> Result<Vec<u8>, Problem> {
    let bytes = match place {
        Place::Binary(name) => super::embedded(name)
            .ok_or_else(|| Problem::NotEmbedded(name.clone()))?
            .to_vec(),
        Place::File(path) => read_at_most(path, most)?,
        Place::Store(from, path) => match read_at_most(path, most) {
            Err(Problem::Read(path, error)) if error.kind() == std::io::ErrorKind::NotFound => {
                let from = from.clone();
                return Err(Problem::NotPulled { from, path });
            }
            read => read?,
        },
    };
    if bytes.len() > most {
        return Err(Problem::TooLarge(most));
    }
    Ok(bytes)
}

/// The bytes of a file, or an error where it holds more than `most`.
pub(super) fn read_at_most(path: &Path, most: usize) -> Result<Vec<u8>, Problem> {
    let unreadable = |error| Problem::Read(path.to_owned(), error);
    // Before it is opened: that of a pipe would wait for somebody who writes.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("it is not a file")));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err(Problem::TooLarge(most));
    }
    Ok(bytes)
}
