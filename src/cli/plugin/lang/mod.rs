//! The languages that policies are written in: what a new project of each holds, and how it becomes a component.
//!
//! Each is a file of its own, which implements `Toolchain`, and a folder of templates. The templates of Rust end in `.txt`,
//! so that no tool takes them for a part of this crate.

mod bindings;
mod c;
mod declarations;
mod exports;
mod go;
mod javascript;
mod preview1;
mod python;
mod rust;

use std::path::{Path, PathBuf};

use crate::process::Tool;

/// The contract, which every project has a copy of.
const CONTRACT_FILES: [(&str, &str); 4] = [
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("hooks.wit", include_str!("../../../../wit/hooks.wit")),
    ("capabilities.wit", include_str!("../../../../wit/capabilities.wit")),
    ("worlds.wit", include_str!("../../../../wit/worlds.wit")),
];

/// What projects have in the same words, unless their language has others; `@name` and `@contract` stand for what they say.
const COMMON_FILES: [(&str, &str); 2] = [
    ("fixtures/route.toml", include_str!("template/common/fixture.toml")),
    ("wit/README.md", include_str!("../../../../wit/README.md")),
];

/// The configuration to try the policy with, for languages that need no other limits than the usual ones.
const USUAL_CONFIG: (&str, &str) = ("pointsman.toml", include_str!("template/common/config.toml"));

/// What the policy imports and exports, for languages that take it from a file.
const WORLD: (&str, &str) = ("wit/policy.wit", include_str!("template/common/world.wit"));

/// Where toolchains put what they make, below a project's folder.
const BUILD: &str = "build";

/// A language, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Language {
    /// Rust, with nothing but cargo.
    Rust,
    /// JavaScript, with Node.js and componentize-qjs.
    Js,
    /// TypeScript, with the same and its compiler.
    Ts,
    /// Python, with componentize-py.
    Python,
    /// Go, with its own toolchain.
    Go,
    /// C, with clang and wasi-libc, the WASI SDK or zig.
    C,
}

/// What there is to know of a language.
pub(super) trait Toolchain {
    /// The file by which a folder is known to hold a project of this language.
    fn sign(&self) -> &'static str;

    /// The file with the policy in a new project.
    fn source(&self) -> &'static str;

    /// The files of a new project, beside those that all have.
    fn files(&self) -> &'static [(&'static str, &'static str)];

    /// Where the contract lies in a new project.
    fn contract(&self) -> &'static str {
        "wit/deps/pointsman-policy"
    }

    /// The command that brings what the project is built with, if there is one.
    fn preparation(&self) -> Option<&'static str> {
        None
    }

    /// What is left to do in a new project once its files are there.
    fn finish(&self, _folder: &Path) -> Result<(), String> {
        Ok(())
    }

    /// What the project in a folder is called.
    fn name(&self, folder: &Path) -> Result<String, String>;

    /// Builds what is in a folder: a component, or a core module that says which component it is to become.
    fn build(&self, folder: &Path) -> Result<Vec<u8>, String>;

    /// The same, and it says why it traps, for which it imports WASI.
    fn build_debug(&self, _folder: &Path) -> Result<Vec<u8>, String> {
        Err("--debug is for JavaScript and TypeScript".to_owned())
    }
}

impl Language {
    const ALL: [Self; 6] = [Self::Rust, Self::Js, Self::Ts, Self::Python, Self::Go, Self::C];

    pub(super) fn toolchain(self) -> &'static dyn Toolchain {
        match self {
            Self::Rust => &rust::Rust,
            Self::Js => &javascript::JAVASCRIPT,
            Self::Ts => &javascript::TYPESCRIPT,
            Self::Python => &python::Python,
            Self::Go => &go::Go,
            Self::C => &c::C,
        }
    }

    /// The language of the project in a folder.
    pub(super) fn of(folder: &Path) -> Result<Self, String> {
        let here = Self::ALL
            .into_iter()
            .filter(|l| folder.join(l.toolchain().sign()).exists());
        match here.collect::<Vec<_>>().as_slice() {
            [language] => Ok(*language),
            [] => Err(format!(
                "{}: there is no project here, which would have one of {}: name its folder, or make one: \
                 pointsman plugin new NAME",
                folder.display(),
                signs(&Self::ALL)
            )),
            several => Err(format!(
                "{}: this could be in several languages, for there are {}: say which with --lang",
                folder.display(),
                signs(several)
            )),
        }
    }
}

fn signs(languages: &[Language]) -> String {
    let signs = languages.iter().map(|language| language.toolchain().sign());
    signs.collect::<Vec<_>>().join(", ")
}

/// Everything that a new project holds, by path: later ones go before those that all have.
pub(super) fn files(toolchain: &dyn Toolchain) -> Vec<(String, &'static str)> {
    let contract = |(file, text): &(&str, &'static str)| (format!("{}/{file}", toolchain.contract()), *text);
    let own = |(file, text): &(&'static str, &'static str)| ((*file).to_owned(), *text);
    let common = COMMON_FILES.iter().chain(toolchain.files()).map(own);
    common.chain(CONTRACT_FILES.iter().map(contract)).collect()
}

/// What a project is called that says nothing of it: as its folder.
fn folder_name(folder: &Path) -> Result<String, String> {
    let told = |error| format!("{}: {error}", folder.display());
    let whole = folder.canonicalize().map_err(told)?;
    let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
    name.ok_or_else(|| {
        format!(
            "{}: it has no name: say where the component goes with --out",
            folder.display()
        )
    })
}

/// Makes the folder for what toolchains make.
fn build_folder(project: &Path) -> Result<(), String> {
    let path = project.join(BUILD);
    std::fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs a compiler to its end; `name` is what it is called where that is no good one.
fn compile(tool: Tool, program: &Path, name: &str) -> Result<(), String> {
    let (good, said) = tool.run().map_err(|error| format!("{}: {error}", program.display()))?;
    if good {
        return Ok(());
    }
    // Some speak of errors on their standard output, which is not shown while they run.
    let said = String::from_utf8_lossy(&said);
    let words = format!("{name} could not build it; what it says stands above\n{}", said.trim());
    Err(words.trim_end().to_owned())
}

/// What a toolchain has made.
fn built(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A program of a toolchain: in the project's own `.venv` or on the PATH, as a path that is good in any folder.
fn found(folder: &Path, name: &str) -> Option<PathBuf> {
    let own = folder.join(".venv").join(if cfg!(windows) { "Scripts" } else { "bin" });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let places = std::iter::once(own).chain(std::env::split_paths(&path));
    let program = places
        .map(|place| place.join(&file))
        .find(|program| program.is_file())?;
    // Not where links lead: what lies in a virtual environment has to be called by its name there.
    std::path::absolute(program).ok()
}
