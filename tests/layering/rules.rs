//! The rules, each with the words it fails with.

use std::fmt;

use crate::source::{Code, Written};

/// From the ground up. On floors 1 and 3 a module may use what stands to its left, on floor 2 nothing beside it,
/// on floor 4 everything.
const FLOORS: [&[&str]; 5] = [
    &["wire"],
    &["error", "call", "policy", "config", "seal", "aside"],
    &["transport", "auth", "process", "remote", "plugin", "fetch", "watch"],
    &["backend", "catalog", "router", "session", "reload"],
    &[
        "telemetry",
        "shutdown",
        "admin",
        "demo",
        "keys",
        "app",
        "connect",
        "cli",
        "main",
        "lib",
    ],
];

const MOST_LINES: usize = 400;

/// One file under `src/`, its path from the root of the package with forward slashes.
pub struct SourceFile {
    pub path: String,
    pub text: String,
}

/// A broken rule, as it is shown.
#[derive(Debug)]
pub struct Broken {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// Everything that is broken in these files.
pub fn check(files: &[SourceFile]) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut read = Vec::new();
    for file in files {
        let mut say = |line, rule: String| {
            broken.push(Broken {
                file: file.path.clone(),
                line,
                rule,
            })
        };
        let lines = file.text.lines().count();
        if lines > MOST_LINES {
            say(
                MOST_LINES + 1,
                format!("{lines} lines: no file has more than {MOST_LINES}"),
            );
        }
        if !file.text.starts_with("//! ") {
            say(1, "the first line says what the file is for, after `//! `".to_owned());
        }
        match Code::of(&file.text) {
            Ok(code) => read.push((file, code)),
            Err(error) => say(error.span().start().line, format!("this is not Rust: {error}")),
        }
    }
    let tests: Vec<String> = read
        .iter()
        .flat_map(|(file, code)| test_files(&file.path, code))
        .collect();
    for (file, code) in read
        .iter()
        .filter(|(file, _)| !tests.iter().any(|t| within(&file.path, t)))
    {
        let mut say = |line, rule: String| {
            broken.push(Broken {
                file: file.path.clone(),
                line,
                rule,
            })
        };
        for method in ["unwrap", "expect"] {
            for line in code.calls_of(method) {
                say(
                    line,
                    format!("no `.{method}(` outside tests: return an error, or handle the case"),
                );
            }
        }
        let Some(place) = Place::of(&file.path) else {
            say(
                1,
                "this module has no floor: give it one in tests/layering/rules.rs".to_owned(),
            );
            continue;
        };
        for written in code.paths() {
            if let Some(rule) = place.neighbours(&written).or_else(|| place.outsiders(&written)) {
                say(written.line, rule);
            }
        }
    }
    broken
}

/// Where a file stands.
struct Place<'a> {
    path: &'a str,
    module: &'a str,
    floor: usize,
    /// How many modules deep the file is: 0 for the crate root.
    depth: usize,
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Option<Place<'a>> {
        let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let parts: Vec<&str> = inside.split('/').collect();
        let module = *parts.first()?;
        let depth = match inside {
            "lib" | "main" => 0,
            _ if inside.ends_with("/mod") => parts.len() - 1,
            _ => parts.len(),
        };
        let (floor, _) = position(module)?;
        Some(Place {
            path,
            module,
            floor,
            depth,
        })
    }

    /// What is wrong with naming another module of ours.
    fn neighbours(&self, written: &Written) -> Option<String> {
        let other = self.top_level(&written.path)?;
        if other == self.module || self.floor == 4 {
            return None;
        }
        let Some((floor, column)) = position(other) else {
            return Some(format!(
                "`crate::{other}` is no module with a floor: name the module it lives in"
            ));
        };
        let (_, own) = position(self.module)?;
        let module = self.module;
        match self.floor {
            _ if floor > self.floor => Some(format!(
                "floor {} may not look up: {module} uses {other} on floor {floor}",
                self.floor
            )),
            2 if floor == 2 => Some(format!("floor 2 is blind to its neighbours: {module} uses {other}")),
            1 | 3 if floor == self.floor && column > own => Some(format!(
                "floor {floor} looks only to its left ({}): {module} uses {other}",
                FLOORS[floor].join(", ")
            )),
            _ => None,
        }
    }

    /// The top-level module that a path names, through `crate` or through enough `super`s.
    fn top_level<'p>(&self, path: &'p [String]) -> Option<&'p str> {
        let up = path.iter().take_while(|part| *part == "super").count();
        let rest = match path.first().map(String::as_str) {
            Some("crate") => &path[1..],
            Some("pointsman") if self.module == "main" => &path[1..],
            Some("super") if up == self.depth => &path[up..],
            _ => return None,
        };
        let other = rest.first()?;
        // What `super` reaches may also be an item of this file, seen from a module inside it.
        (up == 0 || position(other).is_some()).then_some(other)
    }

    /// What is wrong with naming a crate here.
    fn outsiders(&self, written: &Written) -> Option<String> {
        let path: Vec<&str> = written.path.iter().map(String::as_str).collect();
        let named = path.join("::");
        let wasmtime = path[0].starts_with("wasmtime");
        if self.floor < 2 && (path[0] == "tokio" || wasmtime) {
            return Some(format!(
                "floors 0 and 1 are pure, without tokio and wasmtime: `{named}`"
            ));
        }
        if wasmtime && self.module != "plugin" {
            return Some(format!("wasmtime is named only under src/plugin/: `{named}`"));
        }
        if path[0] == "notify" && path.len() > 1 && self.path != "src/watch.rs" {
            return Some(format!("notify is named only in src/watch.rs: `{named}`"));
        }
        let spawns = matches!(
            path.as_slice(),
            ["tokio", "process", ..] | ["std", "process", "Command" | "*", ..] | ["process", "Command", ..]
        );
        // The demo server plays, among others, a server that leaves a process of its own behind.
        let may_spawn = matches!(self.module, "process" | "demo") || self.path == "src/plugin/compile.rs";
        if spawns && !may_spawn {
            return Some(format!(
                "child processes are named only under src/process/ and src/demo/, and in src/plugin/compile.rs: `{named}`"
            ));
        }
        None
    }
}

/// Floor and column of a top-level module.
fn position(module: &str) -> Option<(usize, usize)> {
    FLOORS
        .iter()
        .enumerate()
        .find_map(|(floor, modules)| Some((floor, modules.iter().position(|m| *m == module)?)))
}

/// The places, without `.rs`, of the modules that a file declares for tests only.
fn test_files(path: &str, code: &Code) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => stem,
    };
    code.test_modules
        .iter()
        .map(|module| format!("{folder}/{module}"))
        .collect()
}

fn within(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
