//! From files to a checked configuration: the main file, what it includes, and what the pieces mean together.

use std::io;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::doc::{Doc, Notes, Place};
use super::problem::{Problem, Problems};
use super::read::Table;
use super::sections::{self, Gathered};
use super::{Backend, Config, Source, check, defaults, lock, mcp_servers};

/// What a configuration is made of besides its own text.
pub struct Outside<'a> {
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// Looks an environment variable up.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Outside<'static> {
    /// The file system and the environment of this process.
    pub fn real() -> Self {
        Self {
            read: &|path| std::fs::read_to_string(path),
            env: &|name| std::env::var(name).ok(),
        }
    }
}

/// A configuration with what it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration, checked.
    pub config: Config,
    /// Every file it depends on, the main file first: included files, and files of plugins, keys and tokens, whether they are there or not.
    pub files: Vec<PathBuf>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Problem>,
}

/// Loads a TOML file with everything it includes.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let outside = Outside::real();
    let text = read(path, &outside)?;
    parse(&text, path, &outside)
}

/// Loads an `mcpServers` file as desktop clients keep it; everything else has its default.
pub fn load_mcp_servers(path: &Path) -> Result<Loaded, Problems> {
    let outside = Outside::real();
    let text = read(path, &outside)?;
    parse_mcp_servers(&text, path, &outside)
}

/// `load` for text that is at hand; `path` is its name in problems, and relative paths start from its folder.
pub fn parse(text: &str, path: &Path, outside: &Outside<'_>) -> Result<Loaded, Problems> {
    let notes = Notes::default();
    let mut gathered = Gathered::default();
    let mut files = vec![absolute(path)];
    toml_file(text, path, outside, &notes, &mut gathered, sections::main);
    let includes = std::mem::take(&mut gathered.includes);
    for (file, place) in includes {
        if files.contains(&file) {
            notes.fault(place, format!("`{}` is included twice", file.display()), None);
            continue;
        }
        files.push(file.clone());
        include(&file, place, outside, &notes, &mut gathered);
    }
    if let Some(lock) = lock::apply(&mut gathered.config, &folder(path), outside, &notes) {
        notes.depends_on(&lock);
    }
    finish(gathered.config, files, notes)
}

/// `load_mcp_servers` for text that is at hand.
pub fn parse_mcp_servers(text: &str, path: &Path, outside: &Outside<'_>) -> Result<Loaded, Problems> {
    let notes = Notes::default();
    let mut config = Config {
        pipeline: defaults::pipeline(),
        ..Config::default()
    };
    json_file(text, path, outside, &notes, &Backend::default(), &mut config);
    finish(config, vec![absolute(path)], notes)
}

fn absolute(path: &Path) -> PathBuf {
    // It fails for an empty path or without a working directory only: reading will then tell.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path, outside: &Outside<'_>) -> Result<String, Problems> {
    (outside.read)(path).map_err(|error| {
        let notes = Notes::default();
        let hint = (error.kind() == io::ErrorKind::NotFound)
            .then(|| "check the path; `pointsman run` without a file starts two demo backends".to_owned());
        notes.fault(Place::whole(path), format!("cannot be read: {error}"), hint);
        Problems(notes.into_parts().0, vec![absolute(path)])
    })
}

/// Reads one included file, noting at `place` where it cannot be read.
fn include(file: &Path, place: Place, outside: &Outside<'_>, notes: &Notes, into: &mut Gathered) {
    let kind = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if !matches!(kind, "toml" | "json") {
        let hint = "an included file ends in `.toml`, or in `.json` for `mcpServers` of a desktop client";
        notes.fault(
            place,
            format!("cannot tell what `{}` holds", file.display()),
            Some(hint.to_owned()),
        );
        notes.mark_incomplete();
        return;
    }
    match (outside.read)(file) {
        Ok(text) if kind == "json" => {
            json_file(&text, file, outside, notes, &into.defaults, &mut into.config);
        }
        Ok(text) => toml_file(&text, file, outside, notes, into, sections::included),
        Err(error) => {
            notes.fault(place, format!("`{}` cannot be read: {error}", file.display()), None);
            notes.mark_incomplete();
        }
    }
}

fn toml_file(
    text: &str,
    shown: &Path,
    outside: &Outside<'_>,
    notes: &Notes,
    into: &mut Gathered,
    keys: fn(&mut Table<'_>, &mut Gathered),
) {
    let folder = folder(shown);
    let doc = Doc::new(shown, &folder, text, outside, notes);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let mut table = Table::new(&doc, table.get_ref(), String::new(), 0..0);
        keys(&mut table, into);
        table.finish();
        return;
    }
    // What could be saved of a broken file is not read: its keys would be reported as missing or unknown.
    notes.mark_incomplete();
    for error in errors {
        doc.fault(error.span().map_or(0, |span| span.start), error.message(), None);
    }
}

fn json_file(text: &str, shown: &Path, outside: &Outside<'_>, notes: &Notes, general: &Backend, into: &mut Config) {
    let folder = folder(shown);
    let doc = Doc::new(shown, &folder, text, outside, notes);
    mcp_servers::read(&doc, general, into.listen.address, &mut into.backends);
}

fn folder(file: &Path) -> PathBuf {
    absolute(file).parent().map(Path::to_owned).unwrap_or_default()
}

/// Adds what is there without being asked for, checks the whole, and gives it out if there is no problem.
fn finish(mut config: Config, mut files: Vec<PathBuf>, notes: Notes) -> Result<Loaded, Problems> {
    defaults::add_plugins(&mut config);
    check::check(&config, &notes);
    for file in notes.files() {
        if !files.contains(&file) {
            files.push(file);
        }
    }
    let (problems, warnings) = notes.into_parts();
    if !problems.is_empty() {
        return Err(Problems(problems, files));
    }
    for plugin in config.plugins.values() {
        if let Source::File(file) = &plugin.source
            && !files.contains(file)
        {
            files.push(file.clone());
        }
    }
    Ok(Loaded {
        config,
        files,
        warnings,
    })
}
