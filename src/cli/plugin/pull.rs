//! `pointsman plugin pull`: components from elsewhere into the store.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::{Whom, print, show};
use crate::config::{self, LOCK_FILE, LockEntry, Locked, Policies, Source};
use crate::fetch::{FetchError, Fetched, fetch};
use crate::plugin::{Anatomy, Store};

/// `pointsman plugin pull`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Pull {
    /// oci://REGISTRY/NAME:TAG, oci://REGISTRY/NAME@sha256:DIGEST or https://HOST/FILE.wasm.
    #[arg(required_unless_present = "config", value_name = "REFERENCE")]
    references: Vec<String>,
    /// The configuration whose plugins are wanted; and whose store it is.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Pull {
    pub(super) fn run(&self) -> Result<(), String> {
        let config = self.config.as_deref().map(loaded).transpose()?;
        let policies = config
            .as_ref()
            .map_or_else(Policies::default, |config| config.policies.clone());
        let puller = Puller::new(&policies);
        for reference in &self.references {
            let Fetched { bytes, sha256, .. } = puller.pull(reference, None)?;
            let size = bytes.len();
            print(&format!(
                "{reference}: {size} bytes\n\n[plugins.NAME]\nfrom = \"{reference}\"\nsha256 = \"{sha256}\""
            ));
        }
        let Some(config) = config else { return Ok(()) };
        if self.references.is_empty() {
            return wanted(&config, &puller);
        }
        Ok(())
    }
}

/// Pulls what a configuration needs.
fn wanted(config: &config::Config, puller: &Puller) -> Result<(), String> {
    let mut troubles = Vec::new();
    let mut there = Vec::new();
    let mut count = 0;
    for (name, plugin) in &config.plugins {
        let Source::Pulled(from) = &plugin.source else { continue };
        count += 1;
        match Wanted::of(plugin).and_then(|wanted| puller.ensure(from, wanted)) {
            Ok(said) => {
                print(&format!("{name}: {said}"));
                there.push(name.as_str());
            }
            Err(error) => troubles.push(format!("plugin {name}: {error}")),
        }
    }
    if count == 0 {
        print("no plugin has a `from`: there is nothing to pull");
    }
    tell_router(config, &there);
    if troubles.is_empty() {
        Ok(())
    } else {
        Err(troubles.join("\n"))
    }
}

/// Tells the router of this configuration to look again, if it runs and refused one of these plugins: it watches the
/// configuration and the lock, but not the store.
pub(super) fn tell_router(config: &config::Config, there: &[&str]) {
    let whom = Whom {
        port: config.listen.address.port(),
        socket: config.router.admin_socket.clone(),
    };
    // Most who pull have none that runs.
    let Ok(status) = whom.ask(&json!({ "command": "status" })) else {
        return;
    };
    if !there.iter().any(|name| status["rejected"].get(name).is_some()) {
        return;
    }
    match whom.ask(&json!({ "command": "reload" })) {
        Ok(outcome) => print(&format!("the running router was told: {}", show::reloaded(&outcome).0)),
        Err(why) => print(&format!(
            "the running router was not told; run `pointsman reload`: {why}"
        )),
    }
}

/// A configuration, whatever its lock says of single plugins.
pub(super) fn loaded(path: &Path) -> Result<config::Config, String> {
    let loaded = config::load(path).map_err(|problems| format!("the configuration is wrong:\n{problems}"))?;
    Ok(loaded.config)
}

/// Which component it must be, and who says so.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// The configuration, by its SHA-256.
    Configured(&'a str),
    /// The lock.
    Locked(&'a LockEntry),
}

impl<'a> Wanted<'a> {
    /// The component that a plugin with a reference means.
    fn of(plugin: &'a config::Plugin) -> Result<Option<Self>, String> {
        match (&plugin.locked, &plugin.sha256) {
            (Locked::Stale(why), _) => Err(format!("{why}: run `pointsman plugin lock`")),
            (Locked::To(entry), Some(sha256)) if entry.sha256 != *sha256 => Err(format!(
                "`sha256` in the configuration is {sha256}, and {LOCK_FILE} has {}: one of them is wrong",
                entry.sha256
            )),
            (Locked::To(entry), _) => Ok(Some(Self::Locked(entry))),
            (Locked::No, sha256) => Ok(sha256.as_deref().map(Self::Configured)),
        }
    }

    fn sha256(self) -> &'a str {
        match self {
            Self::Configured(sha256) => sha256,
            Self::Locked(entry) => &entry.sha256,
        }
    }

    fn manifest(self) -> Option<&'a str> {
        match self {
            Self::Configured(_) => None,
            Self::Locked(entry) => entry.manifest.as_deref(),
        }
    }

    /// Who says so, and what helps where another one is meant.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Configured(_) => (
                "`sha256` in the configuration",
                "change it there if the new one is meant",
            ),
            Self::Locked(_) => (LOCK_FILE, "`pointsman plugin lock --update` takes the new one"),
        }
    }
}

/// Fetches into the store.
pub(super) struct Puller {
    store: Store,
    /// Bytes of a component at most.
    pub(super) most: usize,
}

impl Puller {
    pub(super) fn new(policies: &Policies) -> Self {
        Self {
            store: Store::at(policies.store.as_deref()),
            most: policies.max_component,
        }
    }

    /// Fetches a component, which must be this one if it is said which.
    pub(super) fn pull(&self, from: &str, wanted: Option<Wanted<'_>>) -> Result<Fetched, String> {
        let manifest = wanted.and_then(Wanted::manifest);
        let runtime = super::runtime()?;
        let fetched = runtime.block_on(async {
            match fetch(from, manifest, self.most).await {
                // Registries forget manifests that have no tag; what has it by now may hold the same component.
                Err(FetchError::Missing(..)) if manifest.is_some() => fetch(from, None, self.most).await,
                fetched => fetched,
            }
        });
        // Whoever was asked for a password, or for an address, may still be silent.
        runtime.shutdown_background();
        let fetched = fetched.map_err(|error| error.to_string())?;
        if let Some(wanted) = wanted.filter(|wanted| wanted.sha256() != fetched.sha256) {
            let (found, sha256, (who, hint)) = (&fetched.sha256, wanted.sha256(), wanted.words());
            return Err(format!(
                "{from} is another component now: its SHA-256 is {found}, and {who} wants {sha256}; {hint}"
            ));
        }
        // A page that says where to log in is no component, and is not kept.
        Anatomy::of(&fetched.bytes).map_err(|problem| format!("{from}: {problem}"))?;
        let put = self.store.put(&fetched.sha256, &fetched.bytes);
        put.map_err(|(path, error)| format!("{}: {error}", path.display()))?;
        Ok(fetched)
    }

    /// Sees to it that this component is in the store: what was done.
    pub(super) fn ensure(&self, from: &str, wanted: Option<Wanted<'_>>) -> Result<String, String> {
        if wanted.is_some_and(|wanted| self.store.get(wanted.sha256()).is_some()) {
            return Ok(format!("{from} is there"));
        }
        let size = self.pull(from, wanted)?.bytes.len();
        Ok(format!("{from} pulled, {size} bytes"))
    }
}
