//! Why a plugin was not loaded, and at which stage: these words are what the operator reads.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::capability::Capability;
use super::inspect::CONTRACT;
use crate::policy::{FaultKind, Hook};

/// The steps from a file to a build that is proven to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The file is found and read.
    Discover,
    /// It is a component, of an allowed size.
    Verify,
    /// It imports nothing but the contract, and exports a hook.
    Inspect,
    /// It is compiled.
    Compile,
    /// One instance starts, and takes the configuration.
    Probe,
}

impl Stage {
    /// Its word in status and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Verify => "verify",
            Self::Inspect => "inspect",
            Self::Compile => "compile",
            Self::Probe => "probe",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A plugin that was not loaded.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin}: rejected at {}: {problem}", problem.stage())]
pub struct LoadError {
    /// Its name in the configuration.
    pub plugin: String,
    /// What is wrong.
    pub problem: Problem,
}

impl LoadError {
    /// The stage that it did not pass.
    pub fn stage(&self) -> Stage {
        self.problem.stage()
    }
}

/// What is wrong with a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("{} cannot be read: {}", .0.display(), .1)]
    Read(PathBuf, #[source] std::io::Error),
    /// Whoever has the file does not answer.
    #[error(
        "its file, or the cache's, has not come for {0} s: does the file system answer? then `pointsman reload` tries again"
    )]
    Stalled(u64),
    /// There is no embedded component of this name.
    #[error("there is no embedded component {:?}; there are: {}", .0, super::EMBEDDED.map(|(name, _)| name).join(", "))]
    NotEmbedded(String),
    /// More memory was configured than an instance can have.
    #[error("memory is configured to {configured} bytes; an instance can have {most} at most")]
    MemoryLimit {
        /// What the configuration says.
        configured: usize,
        /// What is possible.
        most: usize,
    },
    /// The file is larger than `max-component`.
    #[error("the file is larger than {0} bytes (policies.max-component)")]
    TooLarge(usize),
    /// It is another one than the configuration pins.
    #[error(
        "its SHA-256 is {found}, and the configuration wants {wanted}: if it is meant, change `sha256` or run `pointsman plugin lock`"
    )]
    Digest {
        /// What the configuration says.
        wanted: String,
        /// That of the bytes.
        found: String,
    },
    /// `plugins.lock` does not say which component it is.
    #[error("{0}: run `pointsman plugin lock`")]
    NotLocked(String),
    /// It is not in the store.
    #[error("{from} is not here, as {}: run `pointsman plugin pull --config FILE`, which tells the router too", .path.display())]
    NotPulled {
        /// Its reference.
        from: String,
        /// Where it would be.
        path: PathBuf,
    },
    /// It is something else altogether.
    #[error("this is not a WebAssembly file; it must be a component, built as plugins/README.md says")]
    NotWasm,
    /// It is a core module.
    #[error(
        "this is a core WebAssembly module, not a component: build it with `plugins/build.sh FOLDER OUT.wasm`, or turn it into one with `wasm-tools component new`"
    )]
    CoreModule,
    /// It is a core module that cannot become the component that it is to be.
    #[error(
        "this is a core WebAssembly module with a component type, and cannot be made a component: {0}; build it for wasm32-unknown-unknown, as plugins/README.md says"
    )]
    NotComponentised(String),
    /// It ends too early.
    #[error("the file is truncated: it ends in the middle of something at byte {0}")]
    Truncated(usize),
    /// The parser or the compiler refuses it.
    #[error("this is not a valid component: {0}")]
    Invalid(String),
    /// It wants what nobody has here.
    #[error(
        "it imports what this router does not offer: {}; of pointsman:policy@{CONTRACT} it may import types, {}",
        .0.join(", "),
        Capability::ALL.map(Capability::as_str).join(", ")
    )]
    Imports(Vec<String>),
    /// It wants WASI, of which there are only stubs, and not unasked.
    #[error(
        "it imports WASI, as ordinary builds for wasm32-wasip2 do ({}): build it with `pointsman plugin build`, or add \
         `wasi = true` to its grants for stubs (no files, no environment; what it prints goes to the log)",
        .0.join(", ")
    )]
    Wasi(Vec<String>),
    /// It was built for a later contract than this router's.
    #[error(
        "it imports {}, and this router knows pointsman:policy@{CONTRACT}: a later router is needed",
        .0.join(", ")
    )]
    Newer(Vec<String>),
    /// It wants what its configuration does not grant.
    #[error(
        "it imports {}, which is not granted: add {} to its grants",
        .0.iter().map(|c| format!("pointsman:policy/{c}")).collect::<Vec<_>>().join(", "),
        .0.iter().map(|c| format!("`{}`", c.example())).collect::<Vec<_>>().join(" and ")
    )]
    NotGranted(Vec<Capability>),
    /// What a grant needs of the system is not there.
    #[error("{0}")]
    Setup(#[from] SetupError),
    /// It exports no hook of this contract.
    #[error(
        "it exports none of {}; it exports: {}",
        Hook::ALL.iter().skip(1).map(|h| format!("pointsman:policy/{h}@0.1")).collect::<Vec<_>>().join(", "),
        if .0.is_empty() { "nothing".to_owned() } else { .0.join(", ") }
    )]
    NoHook(Vec<String>),
    /// Names fit, types do not.
    #[error("it was built for another shape of the contract: {0}")]
    Shape(String),
    /// Names fit, and it needs of some interface what only a later contract has.
    #[error("it was built for pointsman:policy@{contract}, and this router knows {CONTRACT}: {why}")]
    NewerShape {
        /// The contract that it names.
        contract: String,
        /// What is missing.
        why: String,
    },
    /// There is a configuration and nobody to take it.
    #[error("it has a config, but exports no lifecycle to take it")]
    NoInit,
    /// The compiler took too long.
    #[error("compiling took longer than {} s (policies.compile-timeout)", .0.as_secs_f64())]
    CompileTimeout(Duration),
    /// The compiler failed, or its output is unusable.
    #[error("compiling failed: {0}")]
    Compile(String),
    /// The cache of compiled components cannot be written.
    #[error("the cache of compiled components: {0}")]
    Cache(#[from] std::io::Error),
    /// `init` refused the configuration, or is faulty.
    #[error("init {}: {}", match .0 { FaultKind::Error => "refuses the config", _ => "failed" }, .1)]
    Init(FaultKind, String),
    /// `init` never came back.
    #[error("init took longer than {} s", .0.as_secs_f64())]
    ProbeTimeout(Duration),
}

impl Problem {
    /// The stage that finds it.
    pub fn stage(&self) -> Stage {
        match self {
            Self::Read(..)
            | Self::Stalled(_)
            | Self::NotEmbedded(_)
            | Self::NotLocked(_)
            | Self::NotPulled { .. }
            | Self::MemoryLimit { .. } => Stage::Discover,
            Self::TooLarge(_)
            | Self::NotWasm
            | Self::CoreModule
            | Self::NotComponentised(_)
            | Self::Digest { .. }
            | Self::Truncated(_)
            | Self::Invalid(_) => Stage::Verify,
            Self::Imports(_)
            | Self::Wasi(_)
            | Self::Newer(_)
            | Self::NewerShape { .. }
            | Self::NotGranted(_)
            | Self::Setup(_)
            | Self::NoHook(_)
            | Self::Shape(_)
            | Self::NoInit => Stage::Inspect,
            Self::CompileTimeout(_) | Self::Compile(_) | Self::Cache(_) => Stage::Compile,
            Self::Init(..) | Self::ProbeTimeout(_) => Stage::Probe,
        }
    }
}

/// Why there can be no plugins at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The engine cannot start.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// Its clock cannot start.
    #[error("the clock of the WebAssembly engine cannot start: {0}")]
    Clock(#[source] std::io::Error),
    /// The system's certificates cannot be read, and a plugin may ask servers over TLS.
    #[error("the system's certificates cannot be read: {0}")]
    Roots(#[source] std::io::Error),
    /// The cache folder cannot be used.
    #[error("the cache of compiled components at {}: {}", .0.display(), .1)]
    Cache(PathBuf, #[source] std::io::Error),
}
