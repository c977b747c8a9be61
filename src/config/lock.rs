//! `plugins.lock`: which component each plugin is, written by `pointsman plugin lock` and kept beside the configuration.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::doc::{Notes, Place};
use super::load::Outside;
use super::sha256::{sha256_digest, sha256_text};
use super::{Config, Source};

/// What the file is called.
pub const LOCK_FILE: &str = "plugins.lock";

const HEAD: &str = "# Written by `pointsman plugin lock`. A plugin whose component is another one is not loaded.\n\n";

/// What is known of a plugin's component beyond its own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Locked {
    /// Nothing.
    #[default]
    No,
    /// Which one it must be.
    To(LockEntry),
    /// The lock does not fit the configuration, in the operator's words.
    Stale(String),
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// By name of the plugin.
    #[serde(default)]
    pub plugins: BTreeMap<String, LockEntry>,
}

/// One plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LockEntry {
    /// Where its component comes from, as [`locked_name`] has it.
    pub from: String,
    /// The SHA-256 of its bytes, in lower-case hexadecimal digits.
    pub sha256: String,
    /// The digest of the manifest that has it in its registry, where `from` names a tag, which may move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

impl Lock {
    /// Reads its text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lock: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        for (name, entry) in &mut lock.plugins {
            let wrong = || format!("`{}` of plugin {name} is no SHA-256", entry.sha256);
            entry.sha256 = sha256_text(&entry.sha256).ok_or_else(wrong)?;
            if let Some(manifest) = &mut entry.manifest {
                let wrong = || format!("`{manifest}` of plugin {name} is no digest of a manifest");
                *manifest = format!("sha256:{}", sha256_digest(manifest).ok_or_else(wrong)?);
            }
        }
        Ok(lock)
    }

    /// Its text.
    pub fn render(&self) -> Result<String, String> {
        let text = toml::to_string(self).map_err(|error| error.to_string())?;
        Ok(format!("{HEAD}{text}"))
    }
}

/// How a source is named in a lock in `folder`; nothing for what is embedded, which cannot change.
pub fn locked_name(source: &Source, folder: &Path) -> Option<String> {
    match source {
        Source::Embedded(_) => None,
        // A lock goes to other machines with its configuration.
        Source::File(path) => Some(path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()),
        Source::Pulled(reference) => Some(reference.clone()),
    }
}

/// Adds what the lock of a configuration says to its plugins: the lock's file, if there are plugins that it could name.
pub(super) fn apply(config: &mut Config, folder: &Path, outside: &Outside<'_>, notes: &Notes) -> Option<PathBuf> {
    let is_lockable = |source: &Source| locked_name(source, folder).is_some();
    if !config.plugins.values().any(|plugin| is_lockable(&plugin.source)) {
        return None;
    }
    let path = folder.join(LOCK_FILE);
    let lock = match (outside.read)(&path) {
        Ok(text) => Lock::parse(&text).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    };
    let lock = lock.unwrap_or_else(|error| {
        notes.fault(
            Place::whole(&path),
            error,
            Some("`pointsman plugin lock` writes it anew".to_owned()),
        );
        None
    });
    for (name, plugin) in &mut config.plugins {
        let Some(from) = locked_name(&plugin.source, folder) else {
            continue;
        };
        let entry = lock.as_ref().and_then(|lock| lock.plugins.get(name));
        plugin.locked = match entry {
            Some(entry) if entry.from == from => Locked::To(entry.clone()),
            Some(entry) => Locked::Stale(format!(
                "it comes from {from}, and {LOCK_FILE} has it from {}",
                entry.from
            )),
            None if plugin.sha256.is_some() => Locked::No,
            None if matches!(plugin.source, Source::Pulled(_)) => Locked::Stale(format!(
                "nothing says which component {from} is: there is no `sha256`, and none in {LOCK_FILE}"
            )),
            None => {
                if lock.is_some() {
                    let place = notes
                        .near(&format!("plugins.{name}"))
                        .unwrap_or_else(|| Place::whole(&path));
                    let hint = Some("run `pointsman plugin lock`".to_owned());
                    notes.warn(
                        place,
                        format!("plugin {name} is not in {LOCK_FILE}: any component is taken"),
                        hint,
                    );
                }
                Locked::No
            }
        };
    }
    Some(path)
}
