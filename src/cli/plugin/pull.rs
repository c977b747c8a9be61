//! `pointsman plugin pull`: components from elsewhere into the store.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::print;
use crate::config::{self, Locked, Policies, Source};
use crate::fetch::{Fetched, fetch};
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
        let puller = Puller::new(&policies)?;
        for reference in &self.references {
            let (digest, size) = puller.pull(reference, None)?;
            print(&format!(
                "{reference}: {size} bytes\n\n[plugins.NAME]\nfrom = \"{reference}\"\nsha256 = \"{digest}\""
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
    let mut count = 0;
    for (name, plugin) in &config.plugins {
        let Source::Pulled(from) = &plugin.source else { continue };
        count += 1;
        let done = match (&plugin.locked, plugin.digests().next()) {
            (Locked::Stale(why), _) => Err(format!("{why}: run `pointsman plugin lock`")),
            (_, Some(digest)) => puller.ensure(from, digest),
            (_, None) => Err("nothing says which component it is: run `pointsman plugin lock`".to_owned()),
        };
        match done {
            Ok(said) => print(&format!("{name}: {said}")),
            Err(error) => troubles.push(format!("plugin {name}: {error}")),
        }
    }
    if count == 0 {
        print("no plugin has a `from`: there is nothing to pull");
    }
    if troubles.is_empty() {
        Ok(())
    } else {
        Err(troubles.join("\n"))
    }
}

/// A configuration, whatever its lock says of single plugins.
pub(super) fn loaded(path: &Path) -> Result<config::Config, String> {
    let loaded = config::load(path).map_err(|problems| format!("the configuration is wrong:\n{problems}"))?;
    Ok(loaded.config)
}

/// Fetches into the store.
pub(super) struct Puller {
    store: Store,
    most: usize,
    runtime: tokio::runtime::Runtime,
}

impl Puller {
    pub(super) fn new(policies: &Policies) -> Result<Self, String> {
        Ok(Self {
            store: Store::at(policies.store.as_deref()),
            most: policies.max_component,
            runtime: super::runtime()?,
        })
    }

    /// Whether the component with this digest is in the store, whole.
    pub(super) fn has(&self, digest: &str) -> bool {
        self.store.get(digest).is_some()
    }

    /// Fetches a component that must have this digest, if one is given: its digest and size.
    pub(super) fn pull(&self, from: &str, wanted: Option<&str>) -> Result<(String, usize), String> {
        let fetched = self.runtime.block_on(fetch(from, None, self.most));
        let Fetched {
            bytes, sha256: found, ..
        } = fetched.map_err(|error| error.to_string())?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(format!(
                "{from} is another component now: its SHA-256 is {found}, and {wanted} is wanted; \
                 `pointsman plugin lock --update` takes the new one"
            ));
        }
        // A page that says where to log in is no component, and is not kept.
        Anatomy::of(&bytes).map_err(|problem| format!("{from}: {problem}"))?;
        let put = self.store.put(&found, &bytes);
        put.map_err(|(path, error)| format!("{}: {error}", path.display()))?;
        Ok((found, bytes.len()))
    }

    /// Sees to it that this component is in the store: what was done.
    pub(super) fn ensure(&self, from: &str, digest: &str) -> Result<String, String> {
        if self.has(digest) {
            return Ok(format!("{from} is there"));
        }
        let (_, size) = self.pull(from, Some(digest))?;
        Ok(format!("{from} pulled, {size} bytes"))
    }
}
