//! What a plugin may reach beside the call itself: each capability is an interface that it imports and a grant that its
//! configuration holds. Its imports are the request; without the grant it is not loaded.

mod address;
mod http;
mod kv;
mod metrics;
mod time;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use super::bindings::pointsman::policy::{clock, directory, log, random, secrets};
use super::error::SetupError;
use super::host::{State, whole};
use super::voice::Voice;
use crate::config::{Grants, HttpGrant, KvGrant, MetricsGrant, Secret};
use crate::policy::Directory;

use self::http::Outgoing;
use self::kv::{Store, Stores};
use self::metrics::Meter;
pub use self::metrics::Registry;
use self::time::Clock;

/// Bytes that one call of `random.bytes` may ask for.
const MOST_RANDOM: u32 = 4096;

/// An interface that is granted by configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// The router's log.
    Log,
    /// What time it is.
    Clock,
    /// Randomness.
    Random,
    /// Numbers for the operator.
    Metrics,
    /// A store that outlives instances.
    Kv,
    /// Which backends there are.
    Directory,
    /// Requests to other systems.
    Http,
    /// What they carry and nobody reads.
    Secrets,
}

impl Capability {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Log,
        Self::Clock,
        Self::Random,
        Self::Metrics,
        Self::Kv,
        Self::Directory,
        Self::Http,
        Self::Secrets,
    ];

    /// The name of its WIT interface, which is that of its grant.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Clock => "clock",
            Self::Random => "random",
            Self::Metrics => "metrics",
            Self::Kv => "kv",
            Self::Directory => "directory",
            Self::Http => "http",
            Self::Secrets => "secrets",
        }
    }

    /// Whether a plugin with these grants may import it.
    pub fn is_granted(self, grants: &Grants) -> bool {
        match self {
            Self::Log => grants.log,
            Self::Clock => grants.clock,
            Self::Random => grants.random,
            Self::Metrics => grants.metrics.is_some(),
            Self::Kv => grants.kv.is_some(),
            Self::Directory => grants.directory,
            Self::Http => grants.http.is_some(),
            Self::Secrets => !grants.secrets.is_empty(),
        }
    }

    /// Grants it, with the usual bounds: requests may go nowhere, and the one secret is empty.
    pub(super) fn grant(self, grants: &mut Grants) {
        match self {
            Self::Log => grants.log = true,
            Self::Clock => grants.clock = true,
            Self::Random => grants.random = true,
            Self::Directory => grants.directory = true,
            Self::Metrics => grants.metrics = Some(MetricsGrant::default()),
            Self::Kv => grants.kv = Some(KvGrant::default()),
            Self::Http => grants.http = Some(HttpGrant::default()),
            Self::Secrets => {
                let (file, text) = (None, String::new());
                grants.secrets.insert("NAME".to_owned(), Secret { file, text });
            }
        }
    }

    /// What is to be written into `[plugins.NAME.grants]` for it.
    pub fn example(self) -> &'static str {
        match self {
            Self::Http => "http = { allow = [\"https://HOST\"] }",
            Self::Secrets => "secrets.NAME = { value = \"${VARIABLE}\" }",
            Self::Log => "log = true",
            Self::Clock => "clock = true",
            Self::Random => "random = true",
            Self::Metrics => "metrics = true",
            Self::Kv => "kv = true",
            Self::Directory => "directory = true",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What all plugins share of the capabilities.
pub(super) struct Common {
    stores: Stores,
    registry: Arc<Registry>,
    directory: OnceLock<Arc<dyn Directory>>,
    clock: Clock,
}

impl Common {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            stores: Stores::default(),
            registry: Arc::default(),
            directory: OnceLock::new(),
            clock: Clock::new(),
        })
    }

    /// The numbers of all plugins.
    pub(super) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// From now on plugins can look at these backends. The first one counts.
    pub(super) fn show(&self, directory: Arc<dyn Directory>) {
        let _ = self.directory.set(directory);
    }

    /// From now on it is this time for plugins, since 1970, until it is put to another; without one it is the system's.
    pub(super) fn put_clock(&self, now: Option<Duration>) {
        self.clock.put(now);
    }

    /// Whatever is loaded from now on finds its store empty.
    pub(super) fn forget(&self) {
        self.stores.forget();
    }
}

/// What the instances of one build can reach.
pub(super) struct Powers {
    voice: Voice,
    common: Arc<Common>,
    kv: Option<(Arc<Store>, KvGrant)>,
    meter: Option<Meter>,
    outgoing: Option<Outgoing>,
    secrets: BTreeMap<String, String>,
}

impl Powers {
    /// What `grants` say, for the plugin of this name.
    pub(super) fn new(plugin: &Arc<str>, grants: &Grants, common: &Arc<Common>) -> Result<Self, SetupError> {
        let kv = grants.kv.clone().map(|grant| {
            let namespace = grant.namespace.as_deref().unwrap_or(plugin);
            (common.stores.open(namespace), grant)
        });
        let secrets = grants.secrets.iter();
        Ok(Self {
            voice: Voice::new(Arc::clone(plugin)),
            kv,
            meter: grants.metrics.as_ref().map(|g| common.registry.meter(plugin, g.series)),
            outgoing: grants.http.as_ref().map(Outgoing::new).transpose()?,
            secrets: secrets
                .map(|(name, secret)| (name.clone(), secret.text.clone()))
                .collect(),
            common: Arc::clone(common),
        })
    }
}

impl Powers {
    /// A line in the router's log.
    pub(super) fn say(&self, level: &str, line: &str) {
        self.voice.say(level, line);
    }

    /// What time it is, since 1970.
    pub(super) fn now(&self) -> Duration {
        self.common.clock.now()
    }

    /// The moment by which things expire.
    fn instant(&self) -> Instant {
        self.common.clock.instant()
    }

    /// A time that only grows.
    pub(super) fn uptime(&self) -> Duration {
        self.common.clock.uptime()
    }
}

/// What its import was checked for at load.
fn lacking<T>(what: Capability) -> wasmtime::Result<T> {
    Err(wasmtime::format_err!("{what} is not granted"))
}

impl log::Host for State {
    fn log(&mut self, level: String, message: String) -> wasmtime::Result<()> {
        self.powers.say(&level, &message);
        Ok(())
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(whole(self.powers.now().as_millis()))
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        Ok(whole(self.powers.uptime().as_nanos()))
    }
}

impl random::Host for State {
    fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        if length > MOST_RANDOM {
            return Err(wasmtime::format_err!(
                "wanted {length} random bytes, {MOST_RANDOM} are allowed"
            ));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        getrandom::fill(&mut bytes).map_err(|e| wasmtime::format_err!("no randomness: {e}"))?;
        Ok(bytes)
    }

    fn number(&mut self) -> wasmtime::Result<u64> {
        getrandom::u64().map_err(|e| wasmtime::format_err!("no randomness: {e}"))
    }
}

impl secrets::Host for State {
    fn has(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.powers.secrets.contains_key(&name))
    }
}

impl directory::Host for State {
    fn backends(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(self
            .powers
            .common
            .directory
            .get()
            .map(|d| d.backends())
            .unwrap_or_default())
    }

    fn state(&mut self, backend: String) -> wasmtime::Result<Option<String>> {
        Ok(self.known(&backend).map(|known| known.state.to_owned()))
    }

    fn label(&mut self, backend: String, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.known(&backend).and_then(|known| known.labels.get(&name).cloned()))
    }

    fn targets(&mut self, backend: String) -> wasmtime::Result<u32> {
        Ok(self.known(&backend).map_or(0, |known| known.targets))
    }

    fn ready(&mut self, backend: String) -> wasmtime::Result<u32> {
        Ok(self.known(&backend).map_or(0, |known| known.ready))
    }

    fn held(&mut self, backend: String) -> wasmtime::Result<u32> {
        Ok(self.known(&backend).map_or(0, |known| known.held))
    }

    fn in_flight(&mut self, backend: String) -> wasmtime::Result<u32> {
        Ok(self.known(&backend).map_or(0, |known| known.in_flight))
    }
}

impl State {
    fn known(&self, backend: &str) -> Option<crate::policy::Entry> {
        self.powers.common.directory.get()?.backend(backend)
    }
}
