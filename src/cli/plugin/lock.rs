//! `pointsman plugin lock`: which components a configuration means, written down.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;

use super::pull::{Puller, Wanted, tell_router};
use crate::cli::print;
use crate::config::{self, LOCK_FILE, LockEntry, Plugin, Source, locked_name, sha256_of};
use crate::fetch::Fetched;
use crate::plugin::Anatomy;

/// `pointsman plugin lock`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Lock {
    /// The configuration; the lock stands beside it.
    #[arg(short, long, value_name = "FILE", default_value = "pointsman.toml")]
    config: PathBuf,
    /// Ask again what this plugin's reference means; without a name, all of them. May be repeated.
    #[arg(long, value_name = "PLUGIN", num_args = 0..=1, default_missing_value = "")]
    update: Vec<String>,
    /// Write nothing, and fail if the lock is not as it would be written.
    #[arg(long)]
    check: bool,
}

impl Lock {
    pub(super) fn run(&self) -> Result<(), String> {
        let whole = std::path::absolute(&self.config).map_err(|error| format!("{}: {error}", self.config.display()))?;
        let folder = whole.parent().unwrap_or(Path::new("."));
        let path = folder.join(LOCK_FILE);
        let config = unlocked(&whole)?;
        if let Some(name) = self
            .update
            .iter()
            .find(|name| !name.is_empty() && !config.plugins.contains_key(*name))
        {
            return Err(format!("{} has no plugin {name}", self.config.display()));
        }
        let text = match std::fs::read_to_string(&path) {
            // Whatever else stands in the way, it may be a lock that somebody wants to keep.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", path.display()));
            }
            text => text.unwrap_or_default(),
        };
        let old = match config::Lock::parse(&text) {
            Ok(old) => old,
            Err(error) if self.check => return Err(format!("{}: {error}", path.display())),
            // What it said is lost; whoever reads the new one sees all of it as new.
            Err(_) => config::Lock::default(),
        };
        let puller = Puller::new(&config.policies);
        let mut new = config::Lock::default();
        let mut troubles = Vec::new();
        let mut pulled = Vec::new();
        for (name, plugin) in &config.plugins {
            let Some(from) = locked_name(&plugin.source, folder) else {
                continue;
            };
            let known = old.plugins.get(name).filter(|entry| entry.from == from);
            match self.entry(name, plugin, from, known, &puller) {
                Ok(entry) => {
                    new.plugins.insert(name.clone(), entry);
                    if matches!(plugin.source, Source::Pulled(_)) {
                        pulled.push(name.as_str());
                    }
                }
                Err(error) => troubles.push(format!("plugin {name}: {error}")),
            }
        }
        let tell = || {
            if !self.check {
                tell_router(&config, &pulled);
            }
        };
        if !troubles.is_empty() {
            tell();
            return Err(troubles.join("\n"));
        }
        let changes = changes(&old, &new);
        if self.check && !changes.is_empty() {
            return Err(format!("{LOCK_FILE} does not fit:\n{}", changes.join("\n")));
        }
        if changes.is_empty() {
            print(&format!(
                "{LOCK_FILE} is as it should be: {} plugins",
                new.plugins.len()
            ));
        } else {
            super::build::put(&path, new.render()?.as_bytes())
                .map_err(|error| format!("{}: {error}", path.display()))?;
            print(&format!("{} written:\n{}", path.display(), changes.join("\n")));
        }
        tell();
        Ok(())
    }

    /// The component that a plugin means. `known` is what the lock has of it.
    fn entry(
        &self,
        name: &str,
        plugin: &Plugin,
        from: String,
        known: Option<&LockEntry>,
        puller: &Puller,
    ) -> Result<LockEntry, String> {
        let found = match &plugin.source {
            Source::File(path) => {
                let told = |error: std::io::Error| format!("{}: {error}", path.display());
                // That of a pipe would wait for somebody who writes.
                if !std::fs::metadata(path).map_err(told)?.is_file() {
                    return Err(format!("{}: it is not a file", path.display()));
                }
                let bytes = read(path, puller.most).map_err(told)?;
                Anatomy::of(&bytes).map_err(|problem| format!("{}: {problem}", path.display()))?;
                LockEntry {
                    from,
                    sha256: sha256_of(&bytes),
                    manifest: None,
                }
            }
            Source::Pulled(_) => {
                let known = known.filter(|_| !self.update.iter().any(|update| update.is_empty() || update == name));
                match known {
                    Some(entry) if self.check => entry.clone(),
                    Some(entry) => {
                        puller.ensure(&from, Some(Wanted::Locked(entry)))?;
                        entry.clone()
                    }
                    None if self.check => return Err(format!("{from} is not in {LOCK_FILE}")),
                    None => {
                        let Fetched { sha256, manifest, .. } = puller.pull(&from, None)?;
                        LockEntry { from, sha256, manifest }
                    }
                }
            }
            Source::Embedded(_) => return Err("it is embedded".to_owned()),
        };
        match &plugin.sha256 {
            Some(wanted) if *wanted != found.sha256 => Err(format!(
                "its SHA-256 is {}, and the configuration wants {wanted}: change `sha256` there if it is meant",
                found.sha256
            )),
            _ => Ok(found),
        }
    }
}

/// The bytes of a component that is no larger than the router takes it.
fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more, to see whether there is more.
    File::open(path)?
        .take((most as u64).saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!(
            "it is larger than {most} bytes (policies.max-component)"
        )));
    }
    Ok(bytes)
}

/// A configuration without its lock, which is to be made or mended.
fn unlocked(path: &Path) -> Result<config::Config, String> {
    let real = config::Outside::real();
    let read = |file: &Path| match file.ends_with(LOCK_FILE) {
        true => Err(std::io::ErrorKind::NotFound.into()),
        false => (real.read)(file),
    };
    let text = (real.read)(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let outside = config::Outside { read: &read, ..real };
    let loaded = config::parse(&text, path, &outside);
    let loaded = loaded.map_err(|problems| format!("the configuration is wrong:\n{problems}"))?;
    Ok(loaded.config)
}

/// What is different, a line each.
fn changes(old: &config::Lock, new: &config::Lock) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, entry) in &new.plugins {
        let LockEntry { from, sha256, .. } = entry;
        match old.plugins.get(name) {
            Some(before) if before == entry => {}
            Some(before) if before.sha256 == *sha256 && before.from == *from => {
                lines.push(format!(
                    "  changed  {name}  {from}  the same component in another manifest"
                ));
            }
            Some(before) => lines.push(format!(
                "  changed  {name}  {from}  {} -> {}",
                short(&before.sha256),
                short(sha256)
            )),
            None => lines.push(format!("  new      {name}  {from}  {}", short(sha256))),
        }
    }
    let gone = old.plugins.keys().filter(|name| !new.plugins.contains_key(*name));
    lines.extend(gone.map(|name| format!("  gone     {name}")));
    lines
}

/// Enough of a digest for people.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
