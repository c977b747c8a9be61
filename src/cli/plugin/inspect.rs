//! `pointsman plugin inspect`: what a file is, without running any of it.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::heard::fit;
use super::{bytes_of, source_of, usual_name};
use crate::cli::print;
use crate::plugin::{Anatomy, CONTRACT, Capability};

/// `pointsman plugin inspect`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Inspect {
    /// The plugin's file, or `embedded:NAME`.
    file: String,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<(), String> {
        let source = source_of(&self.file);
        let anatomy = Anatomy::of(&bytes_of(&source)?).map_err(|problem| fit(&format!("{}: {problem}", self.file)))?;
        let name = usual_name(&source);
        if self.json {
            print(&format!("{:#}", told(&anatomy, &name)));
        } else {
            print(&words(&anatomy, &self.file, &name));
        }
        Ok(())
    }
}

fn kind(anatomy: &Anatomy) -> &'static str {
    if anatomy.is_module { "core module" } else { "component" }
}

/// What is to be written into a configuration, with these words for a name; `None` where nothing is needed.
fn grants(anatomy: &Anatomy, name: &str) -> Option<String> {
    // The log is granted unless it is taken away.
    let wanted = anatomy.capabilities.iter().filter(|c| **c != Capability::Log);
    let stubs = anatomy.wants_wasi.then_some("wasi = true");
    let lines: Vec<&str> = wanted.map(|capability| capability.example()).chain(stubs).collect();
    (!lines.is_empty()).then(|| format!("[plugins.{name}.grants]\n{}\n", lines.join("\n")))
}

fn told(anatomy: &Anatomy, name: &str) -> Value {
    json!({
        "kind": kind(anatomy),
        "size": anatomy.size,
        "sha256": anatomy.digest,
        "contract": anatomy.contract,
        "contract_known": anatomy.is_known,
        "router_contract": CONTRACT,
        "hooks": anatomy.hooks.iter().map(|hook| hook.as_str()).collect::<Vec<_>>(),
        "capabilities": anatomy.capabilities.iter().map(|c| c.as_str()).collect::<Vec<_>>(),
        "grants": grants(anatomy, name),
        "other_imports": anatomy.foreign,
        "other_exports": anatomy.strangers,
        "refused": anatomy.refusal.as_ref().map(ToString::to_string),
    })
}

fn words(anatomy: &Anatomy, file: &str, name: &str) -> String {
    let or_none = |words: Vec<&str>| match words.is_empty() {
        true => "none".to_owned(),
        false => words.join(", "),
    };
    let contract = match (&anatomy.contract, anatomy.is_known) {
        (Some(version), true) => format!("pointsman:policy@{version}, which this router knows"),
        (Some(version), false) => format!("pointsman:policy@{version}, and this router knows {CONTRACT}"),
        (None, _) => "it names none".to_owned(),
    };
    let kind = match anatomy.is_module {
        true => "core module with a component type; the router makes a component of it",
        false => kind(anatomy),
    };
    let rows = [
        ("kind", kind.to_owned()),
        ("size", format!("{} bytes", anatomy.size)),
        ("sha256", anatomy.digest.clone()),
        ("contract", contract),
        (
            "hooks",
            or_none(anatomy.hooks.iter().map(|hook| hook.as_str()).collect()),
        ),
        (
            "imports",
            or_none(anatomy.capabilities.iter().map(|c| c.as_str()).collect()),
        ),
        (
            "other imports",
            or_none(anatomy.foreign.iter().map(String::as_str).collect()),
        ),
        (
            "other exports",
            or_none(anatomy.strangers.iter().map(String::as_str).collect()),
        ),
    ];
    // Writing to a string cannot fail.
    let mut out = format!("{file}\n");
    for (what, value) in rows {
        let _ = writeln!(out, "  {what:<14} {value}");
    }
    if let Some(grants) = grants(anatomy, name) {
        let _ = write!(out, "\nIt needs these grants; as TOML, to be filled in:\n\n{grants}");
    }
    if let Some(refusal) = &anatomy.refusal {
        let _ = writeln!(out, "\nThe router refuses it: {}", fit(&refusal.to_string()));
    }
    out
}
