//! What the tests of policy components share: a host, the guests, calls, candidates and targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue};
use pointsman::call::{AgentKey, Call, Introduction, Subject, Trail};
use pointsman::config::{Grants, HttpGrant, OnFault, Pipeline, Plugin, Policies, Secret, Source};
use pointsman::plugin::{Compiler, Generation, Host, LoadError, Loaded};
use pointsman::policy::{Candidate, Listed, Listing, TargetView};
use pointsman::wire::{Era, Kind, RawJson};
use serde_json::{Value, json};

/// A file below `plugins/target/`, which only a build makes.
pub fn built(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/target").join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make test` (or plugins/build.sh --test-guests)",
        path.display()
    );
    path
}

/// The binary under test, as compiler.
pub fn compiler() -> Compiler {
    Compiler::Child(env!("CARGO_BIN_EXE_pointsman").into())
}

/// A cache that the tests share, so that each guest is compiled once.
pub fn policies() -> Policies {
    Policies {
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache")),
        ..Policies::default()
    }
}

pub fn host() -> Arc<Host> {
    Host::new(&policies(), compiler()).unwrap()
}

/// One of the default components with this configuration. Times are generous: the machine that runs the tests is
/// busy.
pub fn embedded(name: &str, config: Value) -> Plugin {
    Plugin {
        source: Source::Embedded(name.to_owned()),
        config,
        cpu: std::time::Duration::from_millis(300),
        wall: std::time::Duration::from_secs(5),
        ..Plugin::default()
    }
}

/// A file with this configuration.
pub fn file(path: PathBuf, config: Value) -> Plugin {
    Plugin {
        source: Source::File(path),
        config,
        cpu: std::time::Duration::from_millis(300),
        wall: std::time::Duration::from_secs(5),
        ..Plugin::default()
    }
}

/// The test guest with these orders.
pub fn guest(orders: Value) -> Plugin {
    file(built("guests/guest-a.wasm"), orders)
}

/// The guest that uses what it is granted, as its calls order.
pub fn reach(grants: Grants) -> Plugin {
    Plugin {
        grants,
        ..closed(file(built("guests/reach.wasm"), json!({})))
    }
}

/// All that it imports: with the usual bounds, one secret, and nobody to send requests to.
pub fn everything() -> Grants {
    let tok = Secret {
        file: None,
        text: "s3cret".to_owned(),
    };
    Grants {
        clock: true,
        random: true,
        directory: true,
        metrics: Some(Default::default()),
        kv: Some(Default::default()),
        http: Some(HttpGrant {
            allow: vec!["http://127.0.0.1:9".to_owned()],
            ..Default::default()
        }),
        // Secrets are made by reading a configuration alone.
        secrets: [("tok".to_owned(), tok)].into(),
        ..Default::default()
    }
}

/// Fails closed.
pub fn closed(plugin: Plugin) -> Plugin {
    Plugin {
        on_fault: Some(OnFault::Closed),
        ..plugin
    }
}

/// Fails open.
pub fn open(plugin: Plugin) -> Plugin {
    Plugin {
        on_fault: Some(OnFault::Open),
        ..plugin
    }
}

/// Loads plugins and asks each for every hook it has, in this order.
pub async fn generation(host: &Host, plugins: &[(&str, Plugin)]) -> Result<Arc<Generation>, LoadError> {
    let mut loaded = BTreeMap::new();
    for (name, plugin) in plugins {
        loaded.insert((*name).to_owned(), host.load(name, plugin).await?);
    }
    let names: Vec<&str> = plugins.iter().map(|(name, _)| *name).collect();
    Ok(host.generation(1, &everywhere(&names, &loaded).into(), loaded).unwrap())
}

/// The pipeline that asks each plugin for every hook it has.
pub fn everywhere(names: &[&str], loaded: &BTreeMap<String, Arc<Loaded>>) -> Pipeline {
    use pointsman::policy::Hook;
    let having = |hook: Hook| {
        let with = names.iter().filter(|n| loaded[**n].hooks().contains(&hook));
        with.map(|n| (*n).to_owned()).collect()
    };
    Hook::CHAINS.map(|hook| (hook, having(hook))).into()
}

/// One plugin, alone.
pub async fn alone(plugin: Plugin) -> Arc<Generation> {
    generation(&host(), &[("p", plugin)]).await.unwrap()
}

/// A call of a modern agent with these params.
pub fn call(params: &str) -> Arc<Call> {
    Arc::new(parts(params))
}

/// A call that tells the test guest what to do.
pub fn order(orders: Value) -> Arc<Call> {
    call(&json!({ "_meta": { "test": orders } }).to_string())
}

pub fn parts(params: &str) -> Call {
    Call {
        id: 7,
        method: "tools/call".into(),
        subject: Some(Subject {
            kind: Kind::Tools,
            key: "tool".into(),
        }),
        endpoint: "".into(),
        path_backend: None,
        agent: AgentKey::Connection(3),
        principal: None,
        era: Era::Modern,
        headers: HeaderMap::new(),
        initialize: None,
        roots: None,
        params: RawJson::from(params.to_owned()).try_into().unwrap(),
        trail: Trail::default(),
    }
}

pub fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    pairs.iter().map(pair).collect()
}

/// What a legacy session said at its beginning.
pub fn introduction(pairs: &[(&'static str, &'static str)], meta: &str) -> Option<Arc<Introduction>> {
    Some(Arc::new(Introduction {
        headers: headers(pairs),
        meta: Some(RawJson::from(meta.to_owned())),
        client: None,
        ..Introduction::default()
    }))
}

/// Candidates by name; those with a `+` offer the tool.
pub fn candidates(names: &[&str]) -> Arc<[Candidate]> {
    let candidate = |name: &&str| Candidate {
        backend: name.trim_end_matches('+').into(),
        offers: name.ends_with('+'),
        state: "ready",
        held: 0,
        in_flight: 0,
        item: None,
        facts: None,
    };
    names.iter().map(candidate).collect()
}

/// Targets of one backend by their load.
pub fn targets(loads: &[u32]) -> Arc<[TargetView]> {
    let target = |(replica, in_flight): (u32, &u32)| TargetView {
        backend: "work".into(),
        replica,
        incarnation: 1,
        in_flight: *in_flight,
        answered: 0,
        latency: None,
        facts: None,
    };
    (0..).zip(loads).map(target).collect()
}

/// A list of tools of the backends `a`, `b`, …, each of which has these; a `*` stands for a list that is not known.
pub fn tools(naming: &'static str, have: &[&[&str]]) -> Arc<Listing> {
    let backends: Vec<Arc<str>> = ('a'..).zip(have).map(|(name, _)| name.to_string().into()).collect();
    let item = |backend, key: &&str| match *key {
        "*" => Listed::pending(backend),
        key => Listed::new(
            backend,
            key,
            RawJson::from(json!({ "name": key, "n": backend }).to_string()),
        ),
    };
    let of = |(backend, keys): (usize, &&[&str])| keys.iter().map(|key| item(backend, key)).collect::<Vec<_>>();
    Arc::new(Listing {
        kind: Kind::Tools,
        endpoint: "here".into(),
        path_backend: None,
        naming,
        backends: backends.into(),
        items: have.iter().enumerate().flat_map(of).collect(),
        skipped: false,
    })
}

/// The names in a list.
pub fn names(listing: &Listing) -> Vec<&str> {
    listing.items.iter().map(|item| &*item.name).collect()
}

/// What was logged.
#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Catches what this thread logs, as long as the guard is there.
    pub fn catch(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false);
        tracing::subscriber::set_default(subscriber.finish())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
