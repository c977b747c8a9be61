//! `pointsman plugin build`: from a project to a component, with the toolchain of its language.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::lang::Language;
use crate::aside;
use crate::cli::print;
use crate::plugin::{Anatomy, componentise};

/// `pointsman plugin build`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Build {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Where the component goes; without it NAME.wasm in the project's folder.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The language it is written in, where its files leave that open.
    #[arg(long, value_enum)]
    lang: Option<Language>,
    /// For JavaScript and TypeScript: a component that says why it traps. It wants the grant `wasi = true`.
    #[arg(long)]
    debug: bool,
}

impl Build {
    /// Builds the project in a folder, which is in this language, into this file.
    pub(super) fn of(folder: &Path, language: Language, out: PathBuf) -> Self {
        Self {
            folder: folder.to_owned(),
            out: Some(out),
            lang: Some(language),
            debug: false,
        }
    }

    pub(super) fn run(&self) -> Result<(), String> {
        print(&self.make()?);
        Ok(())
    }

    /// Where the component of the project in a folder usually goes.
    pub(super) fn usual(folder: &Path, language: Language) -> Result<PathBuf, String> {
        Ok(folder.join(file_name(&language.toolchain().name(folder)?)?))
    }

    /// Builds it: what there is to say of the component.
    pub(super) fn make(&self) -> Result<String, String> {
        let folder = &self.folder;
        let language = self.lang.map_or_else(|| Language::of(folder), Ok)?;
        let toolchain = language.toolchain();
        let name = toolchain.name(folder)?;
        let built = match self.debug {
            true => toolchain.build_debug(folder)?,
            false => toolchain.build(folder)?,
        };
        let component = componentise(&built).map_err(|problem| problem.to_string())?;
        let anatomy = Anatomy::of(&component).map_err(|problem| problem.to_string())?;
        if let Some(refusal) = anatomy.refusal {
            return Err(format!("it was built, but the router would refuse it: {refusal}"));
        }
        let out = match &self.out {
            Some(out) => out.clone(),
            None => folder.join(file_name(&name)?),
        };
        put(&out, &component).map_err(|error| format!("{}: {error}", out.display()))?;
        let hooks: Vec<&str> = anatomy.hooks.iter().map(|hook| hook.as_str()).collect();
        Ok(format!(
            "{}: {} bytes; hooks {}",
            out.display(),
            component.len(),
            hooks.join(", ")
        ))
    }
}

/// What the component of a project is called: `@acme/guard` is `guard.wasm`.
fn file_name(project: &str) -> Result<String, String> {
    let name = project.rsplit('/').next().unwrap_or(project);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err(format!(
            "{project:?} makes no name for a file: say where the component goes with --out"
        ));
    }
    Ok(format!("{name}.wasm"))
}

/// Writes a file in one step: a router that watches it never sees half of it.
pub(super) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link goes on to lead there; what is no file is not for a component.
    let path = &match path.canonicalize() {
        Ok(there) if there.is_file() => there,
        Ok(_) => return Err(io::Error::other("it is there, and is no file")),
        Err(_) => path.to_owned(),
    };
    aside::put(path, bytes)
}
