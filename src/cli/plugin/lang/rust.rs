//! Policies in Rust: a crate, built by cargo for a target that has no system to import.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Toolchain, USUAL_CONFIG};
use crate::process::Tool;

/// What policies are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

/// Flags for the machine of whoever builds, which are none for WebAssembly.
const FOREIGN: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Rust.
pub(super) struct Rust;

impl Toolchain for Rust {
    fn sign(&self) -> &'static str {
        "Cargo.toml"
    }

    fn source(&self) -> &'static str {
        "src/lib.rs"
    }

    fn files(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("Cargo.toml", include_str!("template/rust/manifest.txt")),
            ("src/lib.rs", include_str!("template/rust/policy.txt")),
            (".gitignore", "/target\n*.wasm\n"),
            USUAL_CONFIG,
        ]
    }

    // The macro takes the contract as the package itself, with a world that stands in the source.
    fn contract(&self) -> &'static str {
        "wit"
    }

    fn name(&self, folder: &Path) -> Result<String, String> {
        let path = folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let manifest: toml::Table = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = manifest
            .get("package")
            .and_then(|package| package.get("name")?.as_str());
        name.map(str::to_owned)
            .ok_or_else(|| format!("{}: it has no package: name the folder of a crate", path.display()))
    }

    fn build(&self, folder: &Path) -> Result<Vec<u8>, String> {
        has_target(folder)?;
        let module = cargo(folder)?;
        std::fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))
    }
}

/// Whether the compiler can make WebAssembly here. Cargo says it too, but not what to do.
fn has_target(folder: &Path) -> Result<(), String> {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let asked = ["--print", "target-libdir", "--target", TARGET];
    let (good, said) = Tool::new(&compiler, folder)
        .args(asked)
        .run()
        .map_err(|error| unstarted(&compiler, &error))?;
    let library = PathBuf::from(String::from_utf8_lossy(&said).trim());
    if good && library.is_dir() {
        return Ok(());
    }
    Err(format!(
        "the Rust compiler here lacks the target {TARGET}: run `rustup target add {TARGET}` in {}",
        folder.display()
    ))
}

fn unstarted(program: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return format!(
            "{program} is not there: install Rust from https://rustup.rs, then run `rustup target add {TARGET}`"
        );
    }
    format!("{program}: {error}")
}

/// Builds the crate, and finds the module that was made.
fn cargo(folder: &Path) -> Result<PathBuf, String> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = [
        "build",
        "--quiet",
        "--release",
        "--target",
        TARGET,
        "--message-format",
        "json-render-diagnostics",
    ];
    let (good, said) = Tool::new(&program, folder)
        .args(args)
        .without(&FOREIGN)
        .run()
        .map_err(|error| unstarted(&program, &error))?;
    if !good {
        return Err("cargo could not build it; what it says stands above".to_owned());
    }
    let manifest = folder
        .join("Cargo.toml")
        .canonicalize()
        .map_err(|error| error.to_string())?;
    module_in(&String::from_utf8_lossy(&said), &manifest).ok_or_else(|| {
        "the crate makes no WebAssembly module: add `crate-type = [\"cdylib\"]` to [lib] in its Cargo.toml".to_owned()
    })
}

/// The module among the messages of cargo, a line each, that the crate with this manifest made.
fn module_in(messages: &str, manifest: &Path) -> Option<PathBuf> {
    let made = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = made.filter(|message| {
        let path = message["manifest_path"].as_str().map(Path::new);
        message["reason"] == "compiler-artifact"
            && path.is_some_and(|path| path.canonicalize().is_ok_and(|path| path == manifest))
    });
    let module = |message: Value| {
        let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
        files.find(|file| file.ends_with(".wasm")).map(PathBuf::from)
    };
    own.filter_map(module).next_back()
}
