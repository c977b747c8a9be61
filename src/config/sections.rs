//! Which keys every table has, and what their values may be.

use std::path::PathBuf;
use std::time::Duration;

use super::doc::Place;
use super::item::Item;
use super::read::Table;
use wildmatch::WildMatch;

use super::{Backend, Config, Endpoint, Exposure, Listen, Patterns, Pipeline, Plugin, Router, Sessions, Tls};
use super::{auth, defaults, plugin, remote};
use crate::policy::Hook;
use crate::wire::Kind;

pub(super) const NONE: Duration = Duration::ZERO;
pub(super) const TICK: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// Longer than anyone means; beyond it sums of dates would have to be checked.
pub(super) const LONG: Duration = Duration::from_secs(30 * 24 * 3600);

pub(super) const KIB: u64 = 1024;
const GIB: u64 = 1 << 30;

/// What the files said, before it is checked as a whole.
#[derive(Default)]
pub(super) struct Gathered {
    /// The configuration so far.
    pub(super) config: Config,
    /// What every backend starts from.
    pub(super) defaults: Backend,
    /// Files to be read next, with the place that names them.
    pub(super) includes: Vec<(PathBuf, Place)>,
}

pub(super) fn duration(least: Duration, most: Duration) -> impl Fn(&Item<'_>) -> Option<Duration> {
    move |item| item.duration(least, most)
}

pub(super) fn bytes(least: u64) -> impl Fn(&Item<'_>) -> Option<usize> {
    move |item| item.size(least, 64 * GIB)
}

/// The keys of the main file.
pub(super) fn main(table: &mut Table<'_>, into: &mut Gathered) {
    let config = &mut into.config;
    table.section("listen", |t| listen(t, &mut config.listen));
    table.section("router", |t| router(t, &mut config.router));
    table.section("sessions", |t| sessions(t, &mut config.sessions));
    table.each("auth", |name, t| {
        t.doc.claim(t.at(), "auth", name, false);
        config.auth.insert(name.to_owned(), auth::section(t));
    });
    table.section("policies", |t| plugin::policies(t, &mut config.policies));
    config.pipeline = defaults::pipeline();
    table.section("pipeline", |t| pipeline(t, &mut config.pipeline));
    let general = &mut into.defaults;
    table.section("backend-defaults", |t| {
        for key in ["command", "args"].into_iter().chain(remote::KEYS) {
            t.refuse(key, "every backend has its own");
        }
        settings(t, general);
    });
    if let Some(item) = table.take("include") {
        for item in item.items().unwrap_or_default() {
            let place = item.doc.place(item.at);
            if let Some(path) = item.path() {
                into.includes.push((path, place));
            }
        }
    }
    shared(table, into);
}

/// The keys of an included file.
pub(super) fn included(table: &mut Table<'_>, into: &mut Gathered) {
    for key in [
        "listen",
        "router",
        "sessions",
        "auth",
        "policies",
        "pipeline",
        "backend-defaults",
        "include",
    ] {
        table.refuse(key, "it belongs into the main file");
    }
    shared(table, into);
}

/// The keys of both.
fn shared(table: &mut Table<'_>, into: &mut Gathered) {
    let Gathered { config, defaults, .. } = into;
    table.each("backends", |name, t| {
        let mut one = defaults.clone();
        one.remote = remote::section(t);
        match &one.remote {
            Some(remote) => {
                for key in ["command", "args", "env", "cwd", "replicas"] {
                    t.refuse(
                        key,
                        "the server is somewhere else, and has a target for each of its URLs",
                    );
                }
                one.replicas = remote.targets();
                one.env.clear();
                one.cwd = None;
            }
            None => t.require("command"),
        }
        t.read("command", &mut one.command, Item::program);
        t.read("args", &mut one.args, |item| item.list(Item::expanded));
        settings(t, &mut one);
        t.doc.claim(t.at(), "backend", name, config.backends.contains_key(name));
        config.backends.entry(name.to_owned()).or_insert(one);
    });
    table.each("endpoints", |name, t| {
        let mut one = Endpoint::default();
        endpoint(t, &mut one);
        t.doc
            .claim(t.at(), "endpoint", name, config.endpoints.contains_key(name));
        config.endpoints.entry(name.to_owned()).or_insert(one);
    });
    table.each("plugins", |name, t| {
        let mut one = Plugin::default();
        plugin::section(t, &mut one);
        t.doc.claim(t.at(), "plugin", name, config.plugins.contains_key(name));
        config.plugins.entry(name.to_owned()).or_insert(one);
    });
}

fn listen(t: &mut Table<'_>, into: &mut Listen) {
    t.read("address", &mut into.address, Item::address);
    t.read("auth", &mut into.auth, |item| {
        item.text().map(|name| Some(name.to_owned()))
    });
    t.read("public-url", &mut into.public_url, |item| auth::origin(item).map(Some));
    t.section("tls", |t| {
        let file = |t: &mut Table<'_>, key| {
            t.require(key);
            let path = t.take(key)?.path()?;
            t.doc.notes.depends_on(&path);
            Some(path)
        };
        if let (Some(cert), Some(key)) = (file(t, "cert"), file(t, "key")) {
            into.tls = Some(Tls { cert, key });
        }
    });
    t.read("allowed-hosts", &mut into.allowed_hosts, |item| {
        item.words_like(
            |word| !word.contains(['/', ' ']),
            "is no host",
            "write it like \"router.lan\"",
        )
    });
    t.read("allowed-origins", &mut into.allowed_origins, |item| {
        let origin = |word: &str| {
            word.split_once("://")
                .is_some_and(|(_, host)| !host.is_empty() && !host.contains('/'))
        };
        item.words_like(origin, "is no origin", "write it like \"https://app.example\"")
    });
    t.read("max-connections", &mut into.max_connections, Item::capacity);
    t.read("max-body", &mut into.max_body, bytes(KIB));
    t.read("header-timeout", &mut into.header_timeout, duration(TICK, HOUR));
    t.read("body-timeout", &mut into.body_timeout, duration(TICK, HOUR));
    t.read("stream-after", &mut into.stream_after, duration(NONE, HOUR));
    t.read("keep-alive", &mut into.keep_alive, duration(TICK, HOUR));
    t.read("stream-capacity", &mut into.stream_capacity, Item::capacity);
    t.read("retry", &mut into.retry, duration(NONE, HOUR));
    t.read("poll-after", &mut into.poll_after, or_never);
    t.read("write-timeout", &mut into.write_timeout, duration(TICK, HOUR));
}

fn router(t: &mut Table<'_>, into: &mut Router) {
    t.read("workers", &mut into.workers, |item| item.number(0, 1024));
    t.read("grace", &mut into.grace, duration(NONE, HOUR));
    t.read("admin-socket", &mut into.admin_socket, |item| item.path().map(Some));
    t.read("key-file", &mut into.key_file, |item| item.path().map(Some));
    t.read("mcp-socket", &mut into.mcp_socket, |item| item.path().map(Some));
    t.read("list-wait", &mut into.list_wait, duration(NONE, HOUR));
}

/// A duration, or the word "never".
fn or_never(item: &Item<'_>) -> Option<Option<Duration>> {
    match item.value {
        toml::de::DeValue::String(text) if text == "never" => Some(None),
        _ => item.duration(TICK, LONG).map(Some),
    }
}

fn sessions(t: &mut Table<'_>, into: &mut Sessions) {
    t.read("capacity", &mut into.capacity, Item::capacity);
    t.read("bytes", &mut into.bytes, bytes(KIB));
    t.read("idle", &mut into.idle, duration(TICK, LONG));
    t.read("max-requests", &mut into.max_requests, Item::capacity);
    t.read("parked", &mut into.parked, Item::capacity);
    t.read("answer-wait", &mut into.answer_wait, duration(TICK, LONG));
    t.read("stream-events", &mut into.stream_events, Item::capacity);
    t.read("stream-bytes", &mut into.stream_bytes, bytes(KIB));
    t.read("streams", &mut into.streams, Item::capacity);
    t.read("stream-keep", &mut into.stream_keep, duration(TICK, HOUR));
}

fn pipeline(t: &mut Table<'_>, into: &mut Pipeline) {
    for hook in Hook::CHAINS {
        if let Some(names) = t.take(hook.as_str()).and_then(|item| item.words()) {
            into.set(hook, names);
        }
    }
}

/// What a backend and the defaults for all of them have in common.
fn settings(t: &mut Table<'_>, into: &mut Backend) {
    t.section("env", |t| t.variables(&mut into.env));
    t.section("labels", |t| t.texts(&mut into.labels));
    t.read("cwd", &mut into.cwd, |item| item.path().map(Some));
    t.read("replicas", &mut into.replicas, |item| item.number(1, 64));
    t.read("trusted", &mut into.trusted, Item::flag);
    t.read("era", &mut into.era, Item::word);
    t.read("state", &mut into.state, Item::word);
    t.read("scope", &mut into.scope, Item::word);
    t.read("session-targets", &mut into.session_targets, Item::capacity);
    t.read("session-idle", &mut into.session_idle, duration(TICK, LONG));
    t.read("server-requests", &mut into.server_requests, Item::word);
    t.read("max-in-flight", &mut into.max_in_flight, Item::capacity);
    t.read("call-timeout", &mut into.call_timeout, or_never);
    t.read("start-timeout", &mut into.start_timeout, duration(TICK, HOUR));
    t.read("stable-after", &mut into.stable_after, duration(NONE, HOUR));
    t.read("max-message", &mut into.max_message, bytes(KIB));
    t.read("stderr-bytes", &mut into.stderr_bytes, bytes(0));
    t.section("gate", |t| {
        let gate = &mut into.gate;
        t.read("capacity", &mut gate.capacity, Item::capacity);
        t.read("bytes", &mut gate.bytes, bytes(KIB));
        t.read("agent-capacity", &mut gate.agent_capacity, Item::capacity);
        t.read("agent-bytes", &mut gate.agent_bytes, bytes(KIB));
        t.read("wait", &mut gate.wait, duration(NONE, HOUR));
        t.read(
            "progress",
            &mut gate.progress,
            duration(Duration::from_millis(100), HOUR),
        );
    });
    t.section("backoff", |t| {
        t.read("min", &mut into.backoff.min, duration(NONE, HOUR));
        t.read("base", &mut into.backoff.base, duration(TICK, HOUR));
        t.read("max", &mut into.backoff.max, duration(TICK, HOUR));
    });
    t.section("crash-loop", |t| {
        let crash_loop = &mut into.crash_loop;
        t.read("deaths", &mut crash_loop.deaths, |item| item.number(1, 1000));
        t.read("within", &mut crash_loop.within, duration(TICK, LONG));
        t.read("probe", &mut crash_loop.probe, duration(TICK, LONG));
        t.read("probe-max", &mut crash_loop.probe_max, duration(TICK, LONG));
    });
    t.section("stop", |t| {
        t.read("drain", &mut into.stop.drain, duration(NONE, HOUR));
        t.read("eof", &mut into.stop.eof, duration(NONE, HOUR));
        t.read("term", &mut into.stop.term, duration(NONE, HOUR));
    });
}

fn endpoint(t: &mut Table<'_>, into: &mut Endpoint) {
    t.read("backends", &mut into.backends, |item| match item.value {
        toml::de::DeValue::String(text) if text == "all" => Some(None),
        _ => match item.words()? {
            none if none.is_empty() => item.fault("is empty", Some("leave it out for all backends".to_owned())),
            some => Some(Some(some)),
        },
    });
    t.read("auth", &mut into.auth, |item| {
        item.text().map(|name| Some(name.to_owned()))
    });
    t.read("scopes", &mut into.scopes, auth::scope_list);
    t.read("names", &mut into.names, Item::word);
    t.read("errors", &mut into.errors, Item::word);
    t.read("page-size", &mut into.page_size, Item::capacity);
    t.read("own-tools", &mut into.own_tools, Item::word);
    let Exposure { allow, deny } = &mut into.exposure;
    t.section("allow", |t| {
        for (kind, allow) in Kind::ALL.into_iter().zip(allow) {
            t.read(Exposure::word(kind), allow, |item| patterns(item).map(Some));
        }
    });
    t.section("deny", |t| {
        for (kind, deny) in Kind::ALL.into_iter().zip(deny) {
            t.read(Exposure::word(kind), deny, patterns);
        }
    });
    t.section("pipeline", |t| pipeline(t, &mut into.pipeline));
}

pub(super) fn patterns(item: &Item<'_>) -> Option<Patterns> {
    Some(item.words()?.iter().map(|text| WildMatch::new(text)).collect())
}
