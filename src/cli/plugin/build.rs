//! `pointsman plugin build`: from a crate to a component, with cargo and nothing else.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::print;
use crate::plugin::{Anatomy, componentise};
use crate::process::run_tool;

/// What policies are compiled for: it has no system to import.
const TARGET: &str = "wasm32-unknown-unknown";

/// Flags for the machine of whoever builds, which are none for WebAssembly.
const FOREIGN: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// `pointsman plugin build`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Build {
    /// The crate's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component goes; without it NAME.wasm in the crate's folder.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Build {
    pub(super) fn run(&self) -> Result<(), String> {
        let folder = &self.folder;
        let name = package(folder)?;
        has_target(folder)?;
        let module = cargo(folder)?;
        let bytes = std::fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))?;
        let component = componentise(&bytes).map_err(|problem| problem.to_string())?;
        let anatomy = Anatomy::of(&component).map_err(|problem| problem.to_string())?;
        if let Some(refusal) = anatomy.refusal {
            return Err(format!("it was built, but the router would refuse it: {refusal}"));
        }
        let out = self.out.clone().unwrap_or_else(|| folder.join(format!("{name}.wasm")));
        put(&out, &component).map_err(|error| format!("{}: {error}", out.display()))?;
        let hooks: Vec<&str> = anatomy.hooks.iter().map(|hook| hook.as_str()).collect();
        print(&format!(
            "{}: {} bytes; hooks {}",
            out.display(),
            component.len(),
            hooks.join(", ")
        ));
        Ok(())
    }
}

/// The name of the crate in a folder.
fn package(folder: &Path) -> Result<String, String> {
    let path = folder.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "{}: {error}; name the folder of a crate, or make one: pointsman plugin new NAME",
            path.display()
        )
    })?;
    let manifest: toml::Table = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name")?.as_str());
    name.map(str::to_owned)
        .ok_or_else(|| format!("{}: it has no package: name the folder of a crate", path.display()))
}

/// Whether the compiler can make WebAssembly here. Cargo says it too, but not what to do.
fn has_target(folder: &Path) -> Result<(), String> {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let asked = ["--print", "target-libdir", "--target", TARGET];
    let (good, said) = run_tool(&compiler, &asked, folder, &[]).map_err(|error| unstarted(&compiler, &error))?;
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
    let (good, said) = run_tool(&program, &args, folder, &FOREIGN).map_err(|error| unstarted(&program, &error))?;
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

/// Writes a file in one step: a router that watches it never sees half of it.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".tmp");
    std::fs::write(&aside, bytes)?;
    std::fs::rename(&aside, path)
}
