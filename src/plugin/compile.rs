//! Component to machine code, in a child process of its own: a compiler needs a hundred times the memory of the
//! router, and a hostile component may make it loop. The router itself only maps what the child wrote.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::Cache;
use super::componentise::{component_of, encode, is_to_become_one};
use super::engine::compiling_engine;
use super::error::Problem;
use super::hands::Hands;
use super::load::read_at_most;
use crate::aside::write_private;

/// The hidden subcommand that compiles one component: `pointsman compile-component IN OUT`.
pub const COMPILE_COMMAND: &str = "compile-component";

/// The one that makes a core module a component: `pointsman componentise-module IN OUT`.
pub const COMPONENTISE_COMMAND: &str = "componentise-module";

/// Who compiles.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// This program, called with [`COMPILE_COMMAND`], the input and the output.
    Child(PathBuf),
    /// This process, on a thread: for tests, of the router and of plugins.
    InProcess,
}

/// Compiled components of one engine.
pub(super) struct Workshop {
    engine: Engine,
    compiler: Compiler,
    cache: Cache,
    timeout: Duration,
    compatibility: u64,
    /// One that hangs leaves room for another.
    places: Semaphore,
    pub(super) hands: Hands,
    /// Components that are compiled now, by digest: nobody compiles one twice.
    busy: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Compilers that run at once at most.
const COMPILERS: usize = 2;

/// What the child's words begin with when it is the component's fault.
const INVALID: &str = "invalid component: ";

/// Bytes that a component may have besides twice what its module has.
const SWELLING: usize = 1 << 20;

/// Address space of the child at most. Eighteen megabytes of Python need less than half of it.
#[cfg(unix)]
const CHILD_MEMORY: u64 = 4 << 30;

/// What the hidden subcommand does. Its error goes to stderr, with exit status 1, for the parent to read.
pub fn compile_main(input: &Path, output: &Path) -> Result<(), String> {
    #[cfg(unix)]
    restrain();
    let bytes = std::fs::read(input).map_err(|e| format!("{}: {e}", input.display()))?;
    let code = compile(&bytes).map_err(|e| format!("{INVALID}{e}"))?;
    write_private(output, &code).map_err(|e| format!("{}: {e}", output.display()))
}

/// What the other hidden subcommand does; its error is told in the same way.
pub fn componentise_main(input: &Path, output: &Path) -> Result<(), String> {
    #[cfg(unix)]
    restrain();
    let bytes = std::fs::read(input).map_err(|e| format!("{}: {e}", input.display()))?;
    let component = encode(&bytes).map_err(|e| format!("{INVALID}{e}"))?;
    write_private(output, &component).map_err(|e| format!("{}: {e}", output.display()))
}

/// Makes this process a quiet neighbour: the backends and the router come first. Where it cannot be had, it is
/// not worth failing for.
#[cfg(unix)]
fn restrain() {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let _ = nice(10);
    let most = Rlimit {
        current: Some(CHILD_MEMORY),
        maximum: Some(CHILD_MEMORY),
    };
    let _ = setrlimit(Resource::As, most);
}

fn compile(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let compiled = compiling_engine().and_then(|engine| engine.precompile_component(bytes));
    compiled.map_err(|e| format!("{e:#}"))
}

impl Workshop {
    pub(super) fn new(engine: Engine, compiler: Compiler, cache: Cache, timeout: Duration) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            compatibility: hasher.finish(),
            engine,
            compiler,
            cache,
            timeout,
            places: Semaphore::new(COMPILERS),
            hands: Hands::new(),
            busy: Mutex::default(),
        }
    }

    /// The component of these bytes, from the cache where it has it.
    pub(super) async fn component(&self, digest: &str, bytes: Vec<u8>) -> Result<Component, Problem> {
        let turn = self.turn(digest);
        let _alone = turn.lock().await;
        let entry = self.cache.entry(digest, self.compatibility);
        if entry.exists() {
            match self.map(entry.clone()).await {
                Ok(component) => {
                    Cache::touch(&entry);
                    return Ok(component);
                }
                // Half a disk, another wasmtime: nothing that compiling anew would not mend.
                Err(error) => tracing::warn!(%error, file = %entry.display(), "a compiled component is unusable"),
            }
        }
        // Nobody closes it, so there is always a place in the end.
        let _place = self.places.acquire().await;
        let output = self.cache.scratch("cwasm")?;
        match &self.compiler {
            Compiler::Child(program) => {
                let made = self.in_child(COMPILE_COMMAND, program, bytes, output.path()).await?;
                made.map_err(Problem::Invalid)?;
            }
            Compiler::InProcess => {
                let (path, engine) = (output.path().to_owned(), self.engine.clone());
                let work = move || -> Result<(), Problem> {
                    let code = engine.precompile_component(&bytes);
                    let code = code.map_err(|e| Problem::Invalid(format!("{e:#}")))?;
                    Ok(write_private(&path, &code)?)
                };
                tokio::task::spawn_blocking(work)
                    .await
                    .map_err(|e| Problem::Compile(e.to_string()))??;
            }
        }
        let place = entry.clone();
        self.hands.run(move || output.keep_as(&place)).await??;
        if let Err(error) = self.cache.prune() {
            tracing::warn!(%error, "old compiled components could not be removed");
        }
        self.map(entry).await
    }

    /// Whose turn it is to look for a component in the cache, and to put it there.
    fn turn(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|_, turn| turn.strong_count() > 0);
        let known = busy.get(digest).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            busy.insert(digest.to_owned(), Arc::downgrade(&turn));
            turn
        })
    }

    /// The component that a file means. Modules are made one where they are compiled too: not in the router.
    pub(super) async fn made_component(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let Compiler::Child(program) = &self.compiler else {
            let work = move || component_of(&bytes).map(Cow::into_owned);
            let made = tokio::task::spawn_blocking(work).await;
            return made.map_err(|e| Problem::NotComponentised(e.to_string()))?;
        };
        if !is_to_become_one(&bytes)? {
            return Ok(bytes);
        }
        let most = bytes.len().saturating_mul(2).saturating_add(SWELLING);
        let output = self.cache.scratch("component")?;
        match self.in_child(COMPONENTISE_COMMAND, program, bytes, output.path()).await {
            Ok(made) => made.map_err(Problem::NotComponentised)?,
            Err(Problem::Compile(why)) => return Err(Problem::NotComponentised(why)),
            Err(other) => return Err(other),
        }
        let path = output.path().to_owned();
        self.hands.run(move || read_at_most(&path, most)).await?
    }

    /// Has a subcommand of ours make `output`. The inner error says what is wrong with the plugin.
    async fn in_child(
        &self,
        command: &str,
        program: &Path,
        bytes: Vec<u8>,
        output: &Path,
    ) -> Result<Result<(), String>, Problem> {
        // The child reads the very bytes that the digest is of, whatever happens to the plugin's file meanwhile.
        let input = self.cache.scratch("wasm")?;
        let path = input.path().to_owned();
        self.hands.run(move || write_private(&path, &bytes)).await??;
        #[expect(
            clippy::disallowed_methods,
            reason = "the compiler is this program itself, not a backend"
        )]
        let mut child = tokio::process::Command::new(program);
        // It needs nothing of the environment, and there may be secrets in it. Windows cannot start one without.
        if cfg!(unix) {
            child.env_clear();
        }
        let child = child
            .arg(command)
            .arg(input.path())
            .arg(output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output();
        let done = tokio::time::timeout(self.timeout, child)
            .await
            .map_err(|_| Problem::CompileTimeout(self.timeout))?
            .map_err(|e| Problem::Compile(format!("{}: {e}", program.display())))?;
        if done.status.success() {
            return Ok(Ok(()));
        }
        let said = String::from_utf8_lossy(&done.stderr);
        let said = said.trim();
        match said.strip_prefix(INVALID) {
            Some(why) => Ok(Err(why.to_owned())),
            None => Err(Problem::Compile(format!(
                "the compiler ended with {}: {said}",
                done.status
            ))),
        }
    }

    async fn map(&self, path: PathBuf) -> Result<Component, Problem> {
        let engine = self.engine.clone();
        let map = move || {
            // SAFETY: the file is the output of `Engine::precompile_component`, written under a fresh name by our
            // own child and then renamed, in a folder that only this user may enter (`Cache::open` refuses any
            // other). Entries are replaced by renaming and removed by name, never written to, so the mapping
            // stays as it is.
            #[expect(unsafe_code, reason = "maps machine code of our own making")]
            let component = unsafe { Component::deserialize_file(&engine, &path) };
            component.map_err(|e| Problem::Compile(format!("{e:#}")))
        };
        self.hands.run(map).await?
    }
}
