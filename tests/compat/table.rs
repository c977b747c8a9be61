//! The table as text.

use std::fmt::Write;

use serde_json::Value;

use crate::clients::FEATURES;
use crate::places::Place;

/// How a feature went with a client at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Works,
    /// The client has no such feature, and why.
    Absent(String),
    /// The protocol's code, or a word of ours, and what was said.
    Failed {
        code: String,
        detail: String,
    },
}

/// All clients at one place.
pub struct Table {
    pub place: &'static Place,
    pub rows: Vec<(&'static str, Vec<(&'static str, Cell)>)>,
}

const HEAD: &str = "\
# Which clients work with which servers

Written by `tests/compat`, which runs published clients against one server with and without the router between them, and
fails when the outcome is another one than here. The same server program stands behind the router in four ways: in each
era (*legacy*: up to 2025-11-25, *modern*: 2026-07-28), over stdio and over HTTP.

`ok`: it works. `-`: the client has no such feature, see the end. Anything else is the code that the client was given,
or `late` for nothing within half a minute, with the words below the table.
";

impl Table {
    /// Still without rows.
    pub fn new(place: &'static Place) -> Table {
        Table {
            place,
            rows: Vec::new(),
        }
    }

    /// Its part of the document.
    pub fn text(&self) -> String {
        let mut text = format!("## {}\n\n", self.place.name);
        let row = |text: &mut String, cells: &[&str]| {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        row(&mut text, &[&["client"], &FEATURES[..]].concat());
        row(&mut text, &["---"; FEATURES.len() + 1]);
        for (client, cells) in &self.rows {
            let cells: Vec<&str> = cells.iter().map(|(_, cell)| cell.short()).collect();
            row(&mut text, &[&[*client], &cells[..]].concat());
        }
        let failed = |(client, feature, cell): &(&'static str, &'static str, &Cell)| match cell {
            Cell::Failed { code, detail } => {
                let words = format!("{feature}: `{code}` {}", detail.replace('\n', " "));
                Some((words, *client))
            }
            _ => None,
        };
        notes(self.cells().filter_map(|c| failed(&c)), &mut text);
        text
    }

    /// Every cell, with its client and its feature.
    pub fn cells(&self) -> impl Iterator<Item = (&'static str, &'static str, &Cell)> {
        let rows = self.rows.iter();
        rows.flat_map(|(client, cells)| cells.iter().map(|(feature, cell)| (*client, *feature, cell)))
    }
}

impl Cell {
    /// From a line that a client printed.
    pub fn read(line: &Value) -> Cell {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        match (line.get("skip"), &line["ok"]) {
            (Some(_), _) => Cell::Absent(text("skip")),
            (None, Value::Bool(true)) => Cell::Works,
            _ => Cell::Failed {
                code: text("code"),
                detail: text("detail"),
            },
        }
    }

    fn short(&self) -> &str {
        match self {
            Cell::Works => "ok",
            Cell::Absent(_) => "-",
            Cell::Failed { code, .. } => code,
        }
    }
}

/// The whole document.
pub fn document(tables: &[Table]) -> String {
    let mut text = HEAD.to_owned();
    for table in tables {
        let _ = write!(text, "\n{}", table.text());
    }
    text.push_str("\n## What clients do not have\n");
    let absent = |(client, feature, cell): (&'static str, &'static str, &Cell)| match cell {
        Cell::Absent(why) => Some((format!("{feature}: {why}"), client)),
        _ => None,
    };
    notes(tables.iter().flat_map(Table::cells).filter_map(absent), &mut text);
    text
}

/// What was said, each once, with the clients that were told it.
fn notes(said: impl Iterator<Item = (String, &'static str)>, text: &mut String) {
    let mut notes: Vec<(String, Vec<&str>)> = Vec::new();
    for (words, client) in said {
        match notes.iter_mut().find(|(w, _)| *w == words) {
            Some((_, clients)) if clients.contains(&client) => {}
            Some((_, clients)) => clients.push(client),
            None => notes.push((words, vec![client])),
        }
    }
    if !notes.is_empty() {
        text.push('\n');
    }
    for (words, clients) in notes {
        let _ = writeln!(text, "- {words} ({})", clients.join("; "));
    }
}
