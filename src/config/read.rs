//! A typed reader over the spanned TOML tree: every key asked for is known, every other one is a problem.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::doc::Doc;
use super::item::{Item, kind};
use super::problem::key_hint;
use super::remote;

/// A table while it is read.
pub(super) struct Table<'d> {
    pub(super) doc: &'d Doc<'d>,
    table: &'d DeTable<'d>,
    /// Dotted, as in its header; empty for the whole file.
    path: String,
    span: Range<usize>,
    known: Vec<&'static str>,
    /// Keys that were a problem of their own already.
    refused: Vec<&'static str>,
    /// Whether the keys are names that were all read.
    open: bool,
}

impl<'d> Table<'d> {
    /// The table at `path`, which stands at `span`.
    pub(super) fn new(doc: &'d Doc<'d>, table: &'d DeTable<'d>, path: String, span: Range<usize>) -> Self {
        doc.notes.put(&path, doc.place(span.start));
        Self {
            doc,
            table,
            path,
            span,
            known: Vec::new(),
            refused: Vec::new(),
            open: false,
        }
    }

    /// The dotted path of a member.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Where its header stands.
    pub(super) fn at(&self) -> usize {
        self.span.start
    }

    /// How messages name this table.
    fn label(&self) -> String {
        if self.path.is_empty() {
            "at the top level".to_owned()
        } else {
            format!("in [{}]", self.path)
        }
    }

    /// A member by its key; asking makes the key known.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.known.push(key);
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        let item = Item {
            doc: self.doc,
            value: value.get_ref(),
            at: value.span().start,
            label: format!("`{key}`"),
            path: self.path_of(key),
        };
        self.doc
            .notes
            .put(&self.path_of(key), self.doc.place(name.span().start));
        Some(item)
    }

    /// Reads a member into its place; where it is not there or wrong, the place keeps what it has.
    pub(super) fn read<T>(&mut self, key: &'static str, into: &mut T, parse: impl FnOnce(&Item<'d>) -> Option<T>) {
        if let Some(value) = self.take(key).and_then(|item| parse(&item)) {
            *into = value;
        }
    }

    /// Whether a member is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.iter().any(|(name, _)| name.get_ref() == key)
    }

    /// Notes a problem where a member that must be there is not.
    pub(super) fn require(&self, key: &str) {
        if !self.has(key) {
            self.doc
                .fault(self.span.start, format!("`{key}` is missing {}", self.label()), None);
        }
    }

    /// Notes a problem where a member is there that cannot be had here, saying why; tells
    /// whether it is.
    pub(super) fn refuse(&mut self, key: &'static str, why: &str) -> bool {
        if let Some((name, _)) = self.table.iter().find(|(name, _)| name.get_ref() == key) {
            self.refused.push(key);
            self.doc
                .fault(name.span().start, format!("`{key}` {}: {why}", self.label()), None);
            return true;
        }
        false
    }

    /// Reads a sub-table.
    pub(super) fn section(&mut self, key: &'static str, read: impl FnOnce(&mut Table<'d>)) {
        self.known.push(key);
        let table = self.table;
        if let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref() == key) {
            self.enter(key, name.span(), value.get_ref(), read);
        }
    }

    /// Reads a sub-table whose settings all have defaults: `true` gives these, `false` is as if it were not there.
    pub(super) fn grant<T: Default>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Table<'d>, &mut T),
    ) -> Option<T> {
        self.known.push(key);
        let (name, value) = self.table.iter().find(|(name, _)| name.get_ref() == key)?;
        let mut one = T::default();
        match value.get_ref() {
            DeValue::Boolean(given) => return given.then_some(one),
            table => self.enter(key, name.span(), table, |t| read(t, &mut one)),
        }
        Some(one)
    }

    /// Reads every sub-table of a sub-table, by name.
    pub(super) fn each(&mut self, key: &'static str, mut read: impl FnMut(&str, &mut Table<'d>)) {
        self.section(key, |outer| {
            let table = outer.table;
            for (name, value) in table {
                outer.enter(name.get_ref(), name.span(), value.get_ref(), |inner| {
                    read(name.get_ref(), inner)
                });
            }
            outer.open = true;
        });
    }

    fn enter(&self, key: &str, span: Range<usize>, value: &'d DeValue<'d>, read: impl FnOnce(&mut Table<'d>)) {
        let path = self.path_of(key);
        match value {
            DeValue::Table(table) => {
                let mut inner = Table::new(self.doc, table, path, span);
                read(&mut inner);
                inner.finish();
            }
            other => {
                let message = format!("[{path}] must be a table, not {}", kind(other));
                self.doc.fault(span.start, message, None);
            }
        }
    }

    /// The members as text by name, with placeholders replaced: an environment.
    pub(super) fn variables(&mut self, into: &mut BTreeMap<String, String>) {
        self.members(into, |doc, at, name| doc.check_variable(at, name));
    }

    /// The members as text by name, with placeholders replaced.
    pub(super) fn texts(&mut self, into: &mut BTreeMap<String, String>) {
        self.members(into, |_, _, _| true);
    }

    fn members(&mut self, into: &mut BTreeMap<String, String>, is_good: impl Fn(&Doc<'d>, usize, &str) -> bool) {
        for (name, value) in self.table {
            let at = name.span().start;
            let item = Item {
                doc: self.doc,
                value: value.get_ref(),
                at: value.span().start,
                label: format!("`{}`", name.get_ref()),
                path: self.path_of(name.get_ref()),
            };
            if is_good(self.doc, at, name.get_ref())
                && let Some(value) = item.expanded()
            {
                into.insert(name.get_ref().to_string(), value);
            }
        }
        self.open = true;
    }

    /// The members as headers of requests, with placeholders replaced.
    pub(super) fn headers(&mut self, into: &mut BTreeMap<String, String>) {
        let mut values = BTreeMap::new();
        self.variables(&mut values);
        for (name, value) in values {
            match remote::header_fault(&name, &value) {
                None => {
                    into.insert(name, value);
                }
                Some(why) => self.doc.fault(self.at(), format!("the header `{name}` {why}"), None),
            }
        }
    }

    /// Notes every key that nobody asked for, and which one was probably meant.
    pub(super) fn finish(&self) {
        for (name, _) in self.table {
            let word = name.get_ref().as_ref();
            if !self.open && !self.known.contains(&word) && !self.refused.contains(&word) {
                let message = format!("unknown key `{word}` {}", self.label());
                self.doc.fault(name.span().start, message, key_hint(word, &self.known));
            }
        }
    }
}
