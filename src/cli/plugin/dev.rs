//! `pointsman plugin dev`: builds a policy whenever its project changes, asks its fixtures, and runs a router that swaps it in.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;

use super::build::{Build, put};
use super::lang::Language;
use super::test::Test;
use super::usual_name;
use crate::cli::run::Run;
use crate::cli::{print, say};
use crate::config::{self, Source};
use crate::watch::Look;

/// How often the project is looked at. It is small, files come and go in it, and editors write in steps.
const PAUSE: Duration = Duration::from_millis(200);

/// Folders beside the manifest that are made by tools: what changes there is no change of the policy.
const MADE: [&str; 6] = ["bindings", "build", "node_modules", "target", "types", "venv"];

/// The ends of the names of files beside the manifest that a policy is made of. Others lie there too: logs, databases.
const KINDS: [&str; 10] = ["c", "go", "h", "js", "json", "mod", "py", "rs", "toml", "ts"];

/// `pointsman plugin dev`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Dev {
    /// The project's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The router's configuration; without it `pointsman.toml` in the project's folder.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the router listens, whatever the configuration says; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = config::address)]
    listen: Option<SocketAddr>,
    /// Start no router: one that runs and has the file swaps it in by itself.
    #[arg(long, conflicts_with_all = ["config", "listen", "log"])]
    no_run: bool,
    /// What the router logs to stderr.
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "warn,pointsman::reload=info,pointsman::plugin=info"
    )]
    log: String,
}

/// What a project's own files look like.
type Sources = BTreeMap<PathBuf, Look>;

impl Dev {
    pub(super) fn run(&self) -> Result<(), String> {
        let mut seen = sources(&self.folder);
        // What does not build yet is said, and is no reason to go.
        while !round(&self.folder) {
            seen = changed(&self.folder, &seen);
        }
        if self.no_run {
            follow(&self.folder, seen);
        }
        let config = self
            .config
            .clone()
            .unwrap_or_else(|| self.folder.join("pointsman.toml"));
        let router = Run::of(config, self.listen, &self.log);
        let folder = self.folder.clone();
        thread::Builder::new()
            .name("build".to_owned())
            .spawn(move || follow(&folder, seen))
            .map_err(|error| error.to_string())?;
        // The router has the signals. What is being built then ends with the process: compilers are guarded.
        router.run()
    }
}

/// Builds after every change, for ever.
fn follow(folder: &Path, mut seen: Sources) -> ! {
    loop {
        seen = changed(folder, &seen);
        round(folder);
    }
}

/// Builds, asks the fixtures, and puts the component into place, where a router takes it up: whether it is there now.
fn round(folder: &Path) -> bool {
    match swapped(folder) {
        Ok(said) => {
            print(&said);
            true
        }
        Err(error) => {
            say(&format!("{error}\nnot swapped in; waiting for a change"));
            false
        }
    }
}

fn swapped(folder: &Path) -> Result<String, String> {
    let language = Language::of(folder)?;
    let place = Build::usual(folder, language)?;
    // Aside first: nobody is to meet a policy that its own fixtures refuse.
    let aside = folder.join(".dev.wasm");
    let tried = tried(folder, language, &aside, &place);
    let wrong = |error: io::Error| format!("{}: {error}", place.display());
    let put = tried.and_then(|()| {
        std::fs::read(&aside)
            .and_then(|bytes| put(&place, &bytes))
            .map_err(wrong)
    });
    // Not there where nothing was built.
    let _ = std::fs::remove_file(&aside);
    put.map(|()| format!("{} is in place", place.display()))
}

/// Builds into `aside`, and asks the fixtures about what is to be at `place`.
fn tried(folder: &Path, language: Language, aside: &Path, place: &Path) -> Result<(), String> {
    Build::of(folder, language, aside.to_owned()).make()?;
    let fixtures = folder.join("fixtures");
    if fixtures.is_dir() {
        Test::of(aside, &fixtures, usual_name(&Source::File(place.to_owned()))).run()?;
    }
    Ok(())
}

/// Waits until the project is another than `seen`, and has come to rest.
fn changed(folder: &Path, seen: &Sources) -> Sources {
    let mut last = sources(folder);
    loop {
        thread::sleep(PAUSE);
        let now = sources(folder);
        if now != *seen && now == last {
            return now;
        }
        last = now;
    }
}

/// The files that a policy is made of.
fn sources(project: &Path) -> Sources {
    let mut found = Sources::new();
    let mut folders = vec![project.to_owned()];
    while let Some(folder) = folders.pop() {
        let is_top = folder == project;
        // What cannot be read is as good as not there, and may be later.
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_made = (is_top && MADE.contains(&&*name)) || name == "__pycache__";
            if name.starts_with('.') || is_made {
                continue;
            }
            let is_kind = || {
                path.extension()
                    .is_some_and(|end| KINDS.iter().any(|kind| end == *kind))
            };
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if !is_top || is_kind() {
                let look = Look::at(&path);
                found.insert(path, look);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_no_source() {
        let home = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        for name in ["src/policy.js", "wit/policy.wit", "fixtures/route.toml", "package.json"] {
            put(name);
        }
        let before = sources(home.path());
        assert_eq!(before.len(), 4);
        for name in [
            "mine.wasm",
            "mine.wasm.tmp",
            "build/a.js",
            "node_modules/x/y.js",
            ".git/HEAD",
            "types/a.d.ts",
            "dev.log",
            "state.sqlite",
        ] {
            put(name);
        }
        assert_eq!(sources(home.path()), before);
        put("src/types/other.ts");
        assert_ne!(sources(home.path()), before);
    }
}
