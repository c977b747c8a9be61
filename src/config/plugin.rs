//! `[plugins.NAME]` and `[policies]`: policy components, and what all of them share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use wildmatch::WildMatch;

use super::grants::grants;
use super::item::Item;
use super::lock::Locked;
use super::read::Table;
use super::sections::{HOUR, KIB, LONG, NONE, TICK, bytes, duration, patterns};
use super::sha256::sha256_text;
use super::{Grants, Patterns};

/// What happens to a call when a policy component fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFault {
    /// It goes on as if the component were not there.
    Open,
    /// It fails with 7010.
    Closed,
}

/// What happens while a policy component cannot be loaded and no earlier build of it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoadFailure {
    /// The router does not start; a running one keeps the policies that it has.
    RefuseStart,
    /// Whatever would ask it fails with 7010.
    Closed,
    /// It is passed by.
    Open,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file, watched.
    File(PathBuf),
    /// One that is embedded in the binary, by name.
    Embedded(String),
    /// One that `pointsman plugin pull` fetched, by the reference that it was fetched with.
    Pulled(String),
}

/// `[plugins.NAME]`: one policy component.
#[derive(Clone, Debug, PartialEq)]
pub struct Plugin {
    /// Where it comes from.
    pub source: Source,
    /// The SHA-256 that its bytes must have, in lower-case hexadecimal digits; `None` means any.
    pub sha256: Option<String>,
    /// The same as `plugins.lock` has it.
    pub locked: Locked,
    /// Given to its `init`, as JSON text.
    pub config: serde_json::Value,
    /// What a fault does; `None` means by hook: `select`, `settle` and `observe` open, all others closed.
    pub on_fault: Option<OnFault>,
    /// What happens while it cannot be loaded.
    pub on_load_failure: OnLoadFailure,
    /// CPU time of one hook call.
    pub cpu: Duration,
    /// Wall-clock time of one hook call.
    pub wall: Duration,
    /// Bytes of linear memory of one instance.
    pub memory: usize,
    /// Bytes that one hook call may return.
    pub output: usize,
    /// Instances at most.
    pub instances: usize,
    /// Hook calls before an instance is replaced; 1 means a fresh one for every call.
    pub reuse: u32,
    /// What it is asked about; everything where nothing is said.
    pub scope: PluginScope,
    /// What it may reach.
    pub grants: Grants,
}

impl Plugin {
    /// The SHA-256 sums that its component must have, all of them: the configured one, then that of the lock.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        let locked = match &self.locked {
            Locked::To(entry) => Some(entry.sha256.as_str()),
            Locked::No | Locked::Stale(_) => None,
        };
        self.sha256.as_deref().into_iter().chain(locked)
    }
}

/// `[plugins.NAME.scope]`: what a component is asked about. All that is given must fit.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct PluginScope {
    /// The backend.
    pub backends: Option<Patterns>,
    /// The tool, as the agent names it.
    pub tools: Option<Patterns>,
    /// Labels of who calls.
    pub agents: BTreeMap<String, WildMatch>,
}

/// `[policies]`: what all components share.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    /// Where compiled components are kept; `None` means the user's cache directory.
    pub cache: Option<PathBuf>,
    /// Where pulled components are kept; `None` means the user's data directory.
    pub store: Option<PathBuf>,
    /// Generations alive at most; the oldest one's calls then meet `on-fault`.
    pub generations: usize,
    /// Time for compiling one component.
    pub compile_timeout: Duration,
    /// Bytes of a component file at most.
    pub max_component: usize,
    /// Faults in a row that switch a plugin off for a while.
    pub breaker: u32,
    /// A build that is switched off so soon after it replaced another one is taken back; zero: it never is.
    pub young: Duration,
    /// Calls whose traces are kept at most; 0: no traces.
    pub trace_calls: usize,
    /// Bytes of traces at most.
    pub trace_bytes: usize,
}

/// The keys of `[policies]`.
pub(super) fn policies(t: &mut Table<'_>, into: &mut Policies) {
    t.read("cache", &mut into.cache, |item| item.path().map(Some));
    t.read("store", &mut into.store, |item| item.path().map(Some));
    t.read("generations", &mut into.generations, |item| item.number(1, 64));
    t.read("compile-timeout", &mut into.compile_timeout, duration(TICK, HOUR));
    t.read("max-component", &mut into.max_component, bytes(KIB));
    t.read("breaker", &mut into.breaker, |item| item.number(1, u64::from(u32::MAX)));
    t.read("young", &mut into.young, duration(NONE, LONG));
    t.read("trace-calls", &mut into.trace_calls, |item| item.number(0, 100_000));
    t.read("trace-bytes", &mut into.trace_bytes, bytes(KIB));
}

/// A SHA-256, as `sha256sum` writes it.
fn digest(item: &Item<'_>) -> Option<String> {
    if let Some(sum) = sha256_text(item.text()?) {
        return Some(sum);
    }
    let hint = "write the 64 hexadecimal digits that `sha256sum FILE` prints";
    item.fault("is no SHA-256", Some(hint.to_owned()))
}

/// Where a component is pulled from.
fn reference(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    let host = text.split_once("://").and_then(|(_, rest)| rest.split('/').next());
    if host.is_some_and(|host| host.contains('@')) {
        let hint = "it would be in plugins.lock and in the log; registries get what `docker login` left";
        return item.fault("names a user", Some(hint.to_owned()));
    }
    if ["oci://", "https://", "http://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return Some(text.to_owned());
    }
    let hint = "write oci://REGISTRY/NAME:TAG or https://HOST/FILE.wasm; a file is named by `file`";
    item.fault("is no reference", Some(hint.to_owned()))
}

/// The keys of one plugin.
pub(super) fn section(t: &mut Table<'_>, into: &mut Plugin) {
    let sources = ["file", "embedded", "from"].map(|key| t.take(key));
    let mut given = ["file", "embedded", "from"]
        .into_iter()
        .zip(&sources)
        .filter_map(|(key, item)| Some((key, item.as_ref()?)));
    match (given.next(), given.next()) {
        (None, _) => t.require("file`, `embedded` or `from"),
        (Some((first, _)), Some((_, item))) => item
            .fault(&format!("and `{first}` exclude each other"), None)
            .unwrap_or_default(),
        _ => {}
    }
    let [file, embedded, from] = sources;
    if let Some(path) = file.and_then(|item| item.path()) {
        into.source = Source::File(path);
    }
    if let Some(name) = embedded.and_then(|item| item.text()) {
        into.source = Source::Embedded(name.to_owned());
    }
    if let Some(reference) = from.and_then(|item| reference(&item)) {
        into.source = Source::Pulled(reference);
    }
    t.read("sha256", &mut into.sha256, |item| digest(item).map(Some));
    t.read("config", &mut into.config, Item::json);
    t.read("on-fault", &mut into.on_fault, Item::word);
    t.read("on-load-failure", &mut into.on_load_failure, Item::word);
    t.read("cpu", &mut into.cpu, duration(TICK, HOUR));
    t.read("wall", &mut into.wall, duration(TICK, HOUR));
    t.read("memory", &mut into.memory, bytes(64 * KIB));
    t.read("output", &mut into.output, bytes(KIB));
    t.read("instances", &mut into.instances, |item| item.number(1, 10_000));
    t.section("scope", |t| {
        let scope = &mut into.scope;
        t.read("backends", &mut scope.backends, |item| patterns(item).map(Some));
        t.read("tools", &mut scope.tools, |item| patterns(item).map(Some));
        t.section("agents", |t| {
            let mut labels = BTreeMap::new();
            t.texts(&mut labels);
            let pattern = |(label, text): (String, String)| (label, WildMatch::new(&text));
            scope.agents = labels.into_iter().map(pattern).collect();
        });
    });
    t.section("grants", |t| grants(t, &mut into.grants));
    t.read("reuse", &mut into.reuse, |item| item.number(1, u64::from(u32::MAX)));
}
