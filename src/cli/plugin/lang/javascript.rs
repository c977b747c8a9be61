//! Policies in JavaScript and TypeScript: run by QuickJS, which componentize-qjs puts into the component.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bindings::{World, write};
use super::declarations::camel;
use super::exports::exports;
use super::{BUILD, Toolchain, USUAL_CONFIG, WORLD, build_folder, built, compile};
use crate::cli::say;
use crate::plugin::drop_borrows_early;
use crate::process::Tool;

/// Where the types of the contract are.
const TYPES: &str = "types/pointsman.d.ts";

/// A language of QuickJS.
pub(super) struct Npm {
    source: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// The module that the component is made of, which is the source where nothing is compiled.
    module: &'static str,
}

/// JavaScript, as modules.
pub(super) const JAVASCRIPT: Npm = Npm {
    source: "src/policy.js",
    files: &[
        ("src/policy.js", include_str!("template/js/policy.js")),
        ("package.json", include_str!("template/js/package.json")),
        ("jsconfig.json", include_str!("template/js/jsconfig.json")),
        IGNORED,
        USUAL_CONFIG,
        WORLD,
    ],
    module: "src/policy.js",
};

/// TypeScript, which its own compiler checks and makes JavaScript of.
pub(super) const TYPESCRIPT: Npm = Npm {
    source: "src/policy.ts",
    files: &[
        ("src/policy.ts", include_str!("template/ts/policy.ts")),
        ("package.json", include_str!("template/ts/package.json")),
        ("tsconfig.json", include_str!("template/ts/tsconfig.json")),
        IGNORED,
        USUAL_CONFIG,
        WORLD,
    ],
    module: "build/policy.js",
};

const IGNORED: (&str, &str) = (".gitignore", "/build\n/node_modules\n/types\n*.wasm\n");

impl Toolchain for Npm {
    fn sign(&self) -> &'static str {
        self.source
    }

    fn source(&self) -> &'static str {
        self.source
    }

    fn files(&self) -> &'static [(&'static str, &'static str)] {
        self.files
    }

    fn preparation(&self) -> Option<&'static str> {
        Some("npm install")
    }

    fn finish(&self, folder: &Path) -> Result<(), String> {
        types(folder)
    }

    fn name(&self, folder: &Path) -> Result<String, String> {
        package(folder)
    }

    fn build(&self, folder: &Path) -> Result<Vec<u8>, String> {
        self.component(folder, &["--stub-wasi"])
    }

    // What the interpreter prints when it ends goes nowhere where WASI is stubs of its own.
    fn build_debug(&self, folder: &Path) -> Result<Vec<u8>, String> {
        self.component(folder, &[])
    }
}

impl Npm {
    fn component(&self, folder: &Path, more: &[&str]) -> Result<Vec<u8>, String> {
        types(folder)?;
        build_folder(folder)?;
        if self.module != self.source {
            node(folder, "tsc", &["--project", "."], "typescript")?;
        }
        self.look_at_exports(folder)?;
        component(folder, self.module, more)
    }

    /// Says which hooks of the world the module seems to lack. The toolchain does not, and a call of one traps.
    fn look_at_exports(&self, folder: &Path) -> Result<(), String> {
        // What cannot be read is told by those who need it.
        let text = std::fs::read_to_string(folder.join(self.module)).unwrap_or_default();
        let Some(there) = exports(&text) else { return Ok(()) };
        let hooks = World::of(folder)?.hooks().into_iter().map(|hook| camel(&hook));
        for hook in hooks.filter(|hook| !there.contains(&hook.as_str())) {
            let source = self.source;
            say(&format!(
                "warning: {source} seems to lack `export const {hook} = …`, for wit/policy.wit exports that hook: what asks it traps"
            ));
        }
        Ok(())
    }
}

/// What the package in a folder is called.
fn package(folder: &Path) -> Result<String, String> {
    let path = folder.join("package.json");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let package: Value = serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = package["name"].as_str();
    name.map(str::to_owned)
        .ok_or_else(|| format!("{}: the package has no name", path.display()))
}

/// Writes down the types of the contract.
fn types(folder: &Path) -> Result<(), String> {
    let path = folder.join(TYPES);
    write(&path, World::of(folder)?.declarations().as_bytes()).map_err(|error| format!("{}: {error}", path.display()))
}

/// Puts a module and what it imports into a component with the interpreter.
fn component(folder: &Path, source: &str, more: &[&str]) -> Result<Vec<u8>, String> {
    let made = format!("{BUILD}/raw.wasm");
    let words = [&["--wit", "wit", "--js", source, "--sync", "--output", &made], more].concat();
    let done = node(folder, "componentize-qjs", &words, "componentize-qjs");
    // The interpreter looks for a file by the name of what the world lacks, and says that.
    done.map_err(|error| declared(folder).err().unwrap_or(error))?;
    drop_borrows_early(&built(&folder.join(made))?)
}

/// Whether what the sources import of the contract stands in the world too.
fn declared(folder: &Path) -> Result<(), String> {
    let world: Vec<String> = World::of(folder)?
        .interfaces()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let entries = std::fs::read_dir(folder.join("src")).map_err(|error| format!("src: {error}"))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        // What cannot be read is told by those who need it.
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        let values = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("import type"));
        let imported = values.filter_map(|line| {
            let (_, module) = line.split_once("from '").or_else(|| line.split_once("from \""))?;
            module.split(['\'', '"']).next()
        });
        for module in imported.filter(|module| module.starts_with("pointsman:")) {
            if !world.iter().any(|name| name == module) {
                return Err(format!(
                    "{} imports {module}, and wit/policy.wit does not: add `import {module};` to its world",
                    path.display()
                ));
            }
        }
    }
    Ok(())
}

/// Runs a program of a package that the project depends on.
fn node(folder: &Path, program: &str, words: &[&str], package: &str) -> Result<(), String> {
    let path = installed(folder, program).ok_or_else(|| {
        format!(
            "{program} is not there: run `npm install` in {} (the package is {package}; npm comes with Node.js, \
             https://nodejs.org)",
            folder.display()
        )
    })?;
    compile(Tool::new(&path, folder).args(words), &path, program)
}

/// A program of the packages of a project, which may be part of a larger one.
fn installed(folder: &Path, program: &str) -> Option<PathBuf> {
    let whole = folder.canonicalize().ok()?;
    let suffix = if cfg!(windows) { ".cmd" } else { "" };
    let mut places = whole
        .ancestors()
        .map(|place| place.join("node_modules/.bin").join(format!("{program}{suffix}")));
    places.find(|path| path.exists())
}
