//! One file being read, and what was noted on the way: problems, and where every setting stands.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use super::load::Outside;
use super::problem::Problem;
use super::{expand, names};

/// A place in a file: line and column, from 1; line 0 is the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    file: PathBuf,
    line: usize,
    column: usize,
}

impl Place {
    /// The whole of `file`.
    pub(super) fn whole(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
        }
    }

    fn problem(self, message: String, hint: Option<String>) -> Problem {
        let Self { file, line, column } = self;
        Problem {
            file,
            line,
            column,
            message,
            hint,
        }
    }

    /// `file:line`, for messages about another place.
    pub(super) fn short(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// What is noted over all files. Cells, because every reader on the way down adds to it.
#[derive(Default)]
pub(super) struct Notes {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    places: RefCell<BTreeMap<String, Place>>,
    files: RefCell<Vec<PathBuf>>,
    incomplete: Cell<bool>,
}

impl Notes {
    /// Notes a problem at a place.
    pub(super) fn fault(&self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.problems.borrow_mut().push(place.problem(message.into(), hint));
    }

    /// Notes what is allowed, but hardly meant.
    pub(super) fn warn(&self, place: Place, message: impl Into<String>, hint: Option<String>) {
        self.warnings.borrow_mut().push(place.problem(message.into(), hint));
    }

    /// Remembers a file that the configuration depends on, whether it is there or not.
    pub(super) fn depends_on(&self, file: &Path) {
        self.files.borrow_mut().push(file.to_owned());
    }

    /// Those files.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// Remembers that part of the configuration could not be read: names that are missing now prove nothing.
    pub(super) fn mark_incomplete(&self) {
        self.incomplete.set(true);
    }

    /// Whether every file could be read.
    pub(super) fn complete(&self) -> bool {
        !self.incomplete.get()
    }

    /// Remembers where a setting stands; the first place stays.
    pub(super) fn put(&self, path: &str, place: Place) {
        self.places.borrow_mut().entry(path.to_owned()).or_insert(place);
    }

    /// Where exactly this setting stands, if it was given at all.
    pub(super) fn exact(&self, path: &str) -> Option<Place> {
        self.places.borrow().get(path).cloned()
    }

    /// Where a setting stands; for one that was not given its default for all backends, else the table around it.
    pub(super) fn near(&self, path: &str) -> Option<Place> {
        let mut inside = path;
        loop {
            let general = inside
                .strip_prefix("backends.")
                .and_then(|tail| tail.split_once('.'))
                .and_then(|(_, tail)| self.exact(&format!("backend-defaults.{tail}")));
            if let Some(place) = self.exact(inside).or(general) {
                return Some(place);
            }
            inside = inside.rsplit_once('.')?.0;
        }
    }

    /// Problems and warnings, in the order of their places.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort();
            list.dedup();
            list
        };
        (sorted(self.problems), sorted(self.warnings))
    }
}

/// One file with its text.
pub(super) struct Doc<'a> {
    /// Its name as the operator wrote it.
    pub(super) shown: &'a Path,
    /// The folder that relative paths start from; absolute.
    pub(super) folder: &'a Path,
    /// Its text.
    pub(super) text: &'a str,
    /// Environment and files.
    pub(super) outside: &'a Outside<'a>,
    /// What is noted.
    pub(super) notes: &'a Notes,
    /// Where its lines begin: places are asked for with every key.
    lines: Vec<usize>,
}

impl<'a> Doc<'a> {
    /// A file of which the text is at hand.
    pub(super) fn new(
        shown: &'a Path,
        folder: &'a Path,
        text: &'a str,
        outside: &'a Outside<'a>,
        notes: &'a Notes,
    ) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            shown,
            folder,
            text,
            outside,
            notes,
            lines: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The place of a byte of the text.
    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Place {
            file: self.shown.to_owned(),
            line,
            column: self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1,
        }
    }

    /// Notes a problem at a byte of the text.
    pub(super) fn fault(&self, offset: usize, message: impl Into<String>, hint: Option<String>) {
        self.notes.fault(self.place(offset), message, hint);
    }

    /// Takes the name of a new backend, endpoint or plugin: it must be a valid one, and not `taken`.
    pub(super) fn claim(&self, offset: usize, kind: &str, name: &str, taken: bool) {
        if let Some(fault) = names::fault(name) {
            let hint = names::suggestion(name).map(|other| format!("for example `{other}`"));
            self.fault(offset, format!("the {kind} name `{name}` {fault}"), hint);
        }
        if kind == "auth" && name == super::auth::OPEN {
            let hint = Some("`none` stands for no authentication at all".to_owned());
            self.fault(offset, "no [auth] can be named `none`", hint);
        }
        if kind == "backend" && name == "default" {
            let hint = Some("`default` is the endpoint with all backends".to_owned());
            self.fault(offset, "no backend can be named `default`", hint);
        }
        if taken {
            let first = self
                .notes
                .exact(&format!("{kind}s.{name}"))
                .map(|place| place.short())
                .unwrap_or_default();
            self.fault(
                offset,
                format!("the {kind} `{name}` is there twice"),
                Some(format!("first at {first}")),
            );
        }
        self.notes.put(&format!("{kind}s.{name}"), self.place(offset));
    }

    /// `text` with its placeholders replaced.
    pub(super) fn expand(&self, offset: usize, label: &str, text: &str) -> Option<String> {
        match expand::variables(text, self.outside.env) {
            Ok(text) => Some(text),
            Err(faults) => {
                for (message, hint) in faults {
                    self.fault(offset, format!("{label}: {message}"), hint);
                }
                None
            }
        }
    }

    /// `text` as a path: placeholders and `~` replaced, a relative one taken from the file's folder.
    pub(super) fn path(&self, offset: usize, label: &str, text: &str) -> Option<PathBuf> {
        let text = self.expand(offset, label, text)?;
        if text.is_empty() {
            self.fault(offset, format!("{label} is empty"), None);
            return None;
        }
        match expand::home(&text, self.outside.env) {
            // Collecting the components drops `.` parts.
            Ok(path) => Some(self.folder.join(path).components().collect()),
            Err((message, hint)) => {
                self.fault(offset, format!("{label}: {message}"), hint);
                None
            }
        }
    }

    /// `text` as a program: a bare name is left to `PATH`, anything else is a path.
    pub(super) fn program(&self, offset: usize, label: &str, text: &str) -> Option<String> {
        let expanded = self.expand(offset, label, text)?;
        if expanded.trim().is_empty() {
            self.fault(offset, format!("{label} is empty"), Some("name a program".to_owned()));
            return None;
        }
        if !expanded.contains(['/', MAIN_SEPARATOR]) {
            return Some(expanded);
        }
        match self.path(offset, label, text)?.into_os_string().into_string() {
            Ok(path) => Some(path),
            Err(_) => {
                self.fault(
                    offset,
                    format!("{label} is not UTF-8 once its folder is in front"),
                    None,
                );
                None
            }
        }
    }

    /// Whether `name` can be a variable of a process's environment.
    pub(super) fn check_variable(&self, offset: usize, name: &str) -> bool {
        let valid = !name.is_empty() && !name.contains(['=', '\0']);
        if !valid {
            self.fault(
                offset,
                format!("`{name}` cannot be the name of an environment variable"),
                None,
            );
        }
        valid
    }
}
