//! From a language to what its policy costs: a project, its sources, a component, figures.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What the policy is called in every language.
const NAME: &str = "measured";

/// A language that policies are written in.
pub struct Language {
    /// As `pointsman plugin new --lang` has it, and the folder of its sources here.
    pub name: &'static str,
    pub title: &'static str,
}

/// All of them, but for TypeScript, which is JavaScript when it runs.
pub const LANGUAGES: [Language; 5] = [
    Language {
        name: "rust",
        title: "Rust",
    },
    Language { name: "c", title: "C" },
    Language {
        name: "js",
        title: "JavaScript",
    },
    Language {
        name: "python",
        title: "Python",
    },
    Language {
        name: "go",
        title: "Go",
    },
];

/// Where it happens, and by what.
pub struct Place {
    pub program: PathBuf,
    pub folder: PathBuf,
}

impl Place {
    /// The component's size, and what was measured. An error is why not.
    pub fn measure(&self, language: &Language, rounds: u32) -> Result<(u64, Value), String> {
        let home = self.folder.join(language.name);
        let project = home.join(NAME);
        let told = |error: io::Error| format!("{}: {error}", home.display());
        if project.exists() {
            fs::remove_dir_all(&project).map_err(told)?;
        }
        fs::create_dir_all(&home).map_err(told)?;
        self.packages().map_err(told)?;
        self.plugin(&home, &["new", "--lang", language.name, NAME])?;
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/languages");
        lay_over(&own.join(language.name), &project).map_err(told)?;
        self.plugin(&project, &["build"])?;
        let file = format!("{NAME}.wasm");
        let size = fs::metadata(project.join(&file)).map_err(told)?.len();
        let rounds = rounds.to_string();
        let words = [
            "bench",
            &file,
            "--config",
            "pointsman.toml",
            "--json",
            "--rounds",
            &rounds,
        ];
        let report = self.plugin(&project, &words)?;
        let report = serde_json::from_str(&report).map_err(|e| format!("what was measured is no JSON: {e}"))?;
        Ok((size, report))
    }

    /// Instead of `npm install`, which needs a network: what `make tools` has installed.
    fn packages(&self) -> io::Result<()> {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/node_modules");
        let link = self.folder.join("node_modules");
        if !installed.exists() || link.exists() {
            return Ok(());
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(installed, link)?;
        Ok(())
    }

    /// Runs `pointsman plugin` in a folder; what it prints.
    fn plugin(&self, folder: &Path, words: &[&str]) -> Result<String, String> {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/languages/bin");
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(installed).chain(env::split_paths(&path)));
        #[expect(clippy::disallowed_methods, reason = "a program that measures, not the router")]
        let out = Command::new(&self.program)
            .arg("plugin")
            .args(words)
            .current_dir(folder)
            .env("PATH", path.map_err(|e| e.to_string())?)
            .env("CARGO_TARGET_DIR", self.folder.join("cargo"))
            .env("GOCACHE", self.folder.join("go-cache"))
            .env("GOTOOLCHAIN", "local")
            .env("ZIG_GLOBAL_CACHE_DIR", self.folder.join("zig-cache"))
            .output()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        if out.status.success() {
            return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
        }
        Err(reason(&String::from_utf8_lossy(&out.stderr)))
    }
}

/// One line of what a program said: its own last words, and where these point to its toolchain's, the first error there.
fn reason(said: &str) -> String {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines.clone().next_back().unwrap_or("it did not say why");
    let last = last.strip_prefix("pointsman: ").unwrap_or(last);
    match lines.find(|line| line.contains("error") && last.ends_with("stands above")) {
        Some(error) => format!("{last}: {error}"),
        None => last.to_owned(),
    }
}

/// Copies what is in one folder into another, in the place of what is there.
fn lay_over(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let into = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => lay_over(&entry.path(), &into)?,
            false => fs::copy(entry.path(), into).map(drop)?,
        }
    }
    Ok(())
}
