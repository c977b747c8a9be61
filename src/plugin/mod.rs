//! Policy components: the only place that knows WebAssembly.
//!
//! ```text
//!  file -> read -> inspect -> compile (child, cache) -> link -> probe -> Loaded        load.rs
//!  Loaded = one build: Blueprint, Pool of warm Instances, Breaker, Counters            loaded.rs
//!  Generation = chains of Loaded per hook; implements crate::policy::Policy            set.rs
//!  a hook call: breaker -> permit -> Instance -> armed, asked, checked -> back         loaded.rs, instance.rs
//! ```
//!
//! A guest is disposable: an instance is out of its pool while it is asked, and only a good answer puts it back.
//! A fault, a timeout or a caller that went away drop it with its store.

mod anatomy;
mod bindings;
mod borrows;
mod breaker;
mod cache;
mod capability;
mod chain;
mod compile;
mod componentise;
mod engine;
mod error;
mod fault;
mod hands;
mod host;
mod inspect;
mod instance;
mod lane;
mod limiter;
mod listing;
mod load;
mod loaded;
mod noting;
mod observing;
mod patience;
mod pool;
mod question;
mod scope;
mod set;
mod settling;
mod status;
mod store;
mod ticker;
mod trial;
mod voice;
mod wasi;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use anatomy::Anatomy;
pub use borrows::drop_borrows_early;
pub use capability::{Capability, Registry};
pub use chain::{Absent, Builds, PipelineError};
pub use compile::{COMPILE_COMMAND, COMPONENTISE_COMMAND, Compiler, compile_main, componentise_main};
pub use componentise::componentise;
pub use engine::MAX_MEMORY;
pub use error::{LoadError, Problem, SetupError, Stage};
pub use inspect::CONTRACT;
pub use load::Host;
pub use loaded::Loaded;
pub use set::Generation;
pub use status::PluginStatus;
pub use store::Store;
pub use trial::{Asked, Decision, Failure, Trial};

use crate::config::Pipelines;

/// The default components, which are also the golden components of their contract.
const EMBEDDED: [(&str, &[u8]); 4] = [
    ("default-route", include_bytes!("../../plugins/dist/default-route.wasm")),
    ("default-names", include_bytes!("../../plugins/dist/default-names.wasm")),
    ("least-busy", include_bytes!("../../plugins/dist/least-busy.wasm")),
    ("redact", include_bytes!("../../plugins/dist/redact.wasm")),
];

/// A component that is embedded in the binary.
pub fn embedded(name: &str) -> Option<&'static [u8]> {
    EMBEDDED.into_iter().find(|(n, _)| *n == name).map(|(_, bytes)| bytes)
}

impl Host {
    /// Strings loaded plugins together to the generation with this number.
    pub fn generation(
        &self,
        number: u64,
        pipelines: &Pipelines,
        loaded: BTreeMap<String, Arc<Loaded>>,
    ) -> Result<Arc<Generation>, Vec<PipelineError>> {
        let absent = BTreeMap::new();
        self.generation_of(number, pipelines, Builds { loaded, absent })
    }

    /// The same where not all plugins could be loaded.
    pub fn generation_of(
        &self,
        number: u64,
        pipelines: &Pipelines,
        builds: Builds,
    ) -> Result<Arc<Generation>, Vec<PipelineError>> {
        Generation::new(number, pipelines, builds).map(Arc::new)
    }
}
