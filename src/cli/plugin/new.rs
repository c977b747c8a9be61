//! `pointsman plugin new`: a project with a policy that builds, and a fixture that it passes.

use std::io;
use std::path::PathBuf;

use clap::Args;

use super::lang::{self, Language};
use crate::cli::print;
use crate::plugin::{CONTRACT, embedded};

/// `pointsman plugin new`.
#[derive(Args, Debug)]
pub(in crate::cli) struct New {
    /// Its name, which is that of the folder too.
    name: String,
    /// The language it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    lang: Language,
}

impl New {
    pub(super) fn run(&self) -> Result<(), String> {
        let toolchain = self.lang.toolchain();
        let name = &self.name;
        let is_good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !is_good {
            return Err(format!(
                "{name:?} is no name for a policy: take small letters, digits and `-`, a letter first"
            ));
        }
        if embedded(name).is_some() {
            return Err(format!(
                "{name} is a policy that comes with the router: take another name"
            ));
        }
        let folder = PathBuf::from(name);
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => format!("{name} is there already: take another name, or remove it"),
            _ => format!("{name}: {error}"),
        };
        // Never into a folder that somebody has: nothing of theirs is overwritten.
        std::fs::create_dir(&folder).map_err(told)?;
        for (file, text) in lang::files(toolchain) {
            let path = folder.join(file);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(told)?;
            }
            let text = text.replace("@name", name).replace("@contract", CONTRACT);
            std::fs::write(&path, text).map_err(told)?;
        }
        toolchain.finish(&folder)?;
        let source = toolchain.source();
        let preparation = toolchain
            .preparation()
            .map_or(String::new(), |words| format!("\n  {words}"));
        print(&format!(
            "{name} is made: a policy in {name}/{source}, what it is to decide in {name}/fixtures. Then:\n
  cd {name}{preparation}
  pointsman plugin build
  pointsman plugin test {name}.wasm fixtures
  pointsman run --config pointsman.toml"
        ));
        Ok(())
    }
}
