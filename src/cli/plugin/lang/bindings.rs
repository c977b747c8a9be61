//! The bindings of languages that get them from us: generated from the `wit/` of a project, in this process.

use std::path::Path;

use wit_bindgen_core::wit_parser::{Resolve, WorldId, WorldKey};
use wit_bindgen_core::{Files, WorldGenerator};
use wit_component::StringEncoding;

use super::declarations::declarations;

/// The world that a project's `wit/` describes.
pub(super) struct World {
    resolve: Resolve,
    id: WorldId,
}

impl World {
    /// Reads `wit/` in a project's folder, where the package of the project has one world.
    pub(super) fn of(folder: &Path) -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let wit = folder.join("wit");
        let told = |error| format!("{}: {error:#}", wit.display());
        let (package, _) = resolve.push_dir(&wit).map_err(told)?;
        let id = resolve.select_world(&[package], None).map_err(told)?;
        Ok(Self { resolve, id })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.resolve.worlds[self.id].name
    }

    /// The full names of the interfaces of the contract that it has, each with its short one: that of `route`, and so on.
    pub(super) fn interfaces(&self) -> Vec<(String, String)> {
        let world = &self.resolve.worlds[self.id];
        self.named(world.imports.keys().chain(world.exports.keys()))
    }

    /// The short names of the hooks that it exports.
    pub(super) fn hooks(&self) -> Vec<String> {
        let exports = self.named(self.resolve.worlds[self.id].exports.keys());
        exports.into_iter().map(|(_, short)| short).collect()
    }

    fn named<'a>(&self, keys: impl Iterator<Item = &'a WorldKey>) -> Vec<(String, String)> {
        let pair = |name: String| {
            let short = name.strip_prefix("pointsman:policy/")?.split('@').next()?.to_owned();
            Some((name, short))
        };
        keys.filter_map(|key| pair(self.resolve.name_world_key(key))).collect()
    }

    /// What it has, in TypeScript.
    pub(super) fn declarations(&self) -> String {
        declarations(&self.resolve, self.id)
    }

    /// Notes in a module of a compiler that knows nothing of worlds that this one is meant.
    pub(super) fn embed(&self, module: &mut Vec<u8>) -> Result<(), String> {
        let done = wit_component::embed_component_metadata(module, &self.resolve, self.id, StringEncoding::UTF8);
        done.map_err(|error| format!("the world {}: {error:#}", self.name()))
    }

    /// Generates bindings for it, and writes those that are not there yet as they are to be.
    pub(super) fn generate(mut self, mut generator: Box<dyn WorldGenerator>, into: &Path) -> Result<(), String> {
        let mut files = Files::default();
        let done = generator.generate(&mut self.resolve, self.id, &mut files);
        done.map_err(|error| format!("no bindings for the world {}: {error:#}", self.name()))?;
        for (name, text) in files.iter() {
            let path = into.join(name);
            write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// Writes a file that is to hold this, unless it does: compilers go by the time of the last change.
pub(super) fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}
