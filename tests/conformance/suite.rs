//! The official conformance suite: runs it, and reads what it wrote check by check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::fixture::{node, tool};

/// Far above the 12 s that a run takes: a broken one waits for its own deadlines, one after the other.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a check must not say.
const FAILED: [&str; 2] = ["FAILURE", "WARNING"];

/// A check as it must be the same in every run: id, name, status.
pub type Check = (String, String, String);

/// What one run of the suite said: the checks of each scenario, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub BTreeMap<String, Vec<Check>>);

/// A run of the suite with these arguments.
pub async fn run(args: &[&str]) -> String {
    run_with(args, &[]).await
}

/// The same with variables in its environment. It ends by itself; its exit code only repeats what the checks say.
pub async fn run_with(args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = tokio::process::Command::new(node())
        .envs(variables.iter().copied())
        .arg(tool("tests/clients/node_modules/.bin/conformance"))
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, output).await;
    let output = output.unwrap_or_else(|_| panic!("the suite is not done after {DEADLINE:?}: {args:?}"));
    let output = output.expect("the suite starts");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// What the suite says of the server at this address.
pub async fn server(url: &str, revision: &str) -> Report {
    at(url, &["--requirements", revision]).await
}

/// The same in one scenario.
pub async fn scenario(url: &str, revision: &str, scenario: &str) -> Report {
    at(url, &["--scenario", scenario, "--spec-version", revision]).await
}

async fn at(url: &str, which: &[&str]) -> Report {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_str().expect("the path is text");
    let said = run(&[&["server", "--url", url, "-o", out], which].concat()).await;
    let report = Report::read(folder.path(), "server-");
    assert!(!report.0.is_empty(), "the suite wrote no results:\n{said}");
    report
}

/// The scenarios that a revision requires of `whom`: `Server` or `Client`.
pub async fn required(revision: &str, whom: &str) -> BTreeSet<String> {
    listed(&run(&["list", "--requirements", revision]).await, whom)
}

/// All scenarios that there are for them.
pub async fn all(whom: &str) -> BTreeSet<String> {
    listed(&run(&["list"]).await, whom)
}

/// The list of the scenarios for `whom`, each on a line of its own: `- NAME`, and what versions it belongs to.
fn listed(said: &str, whom: &str) -> BTreeSet<String> {
    let (_, list) = said
        .split_once(&format!("{whom} scenarios"))
        .unwrap_or_else(|| panic!("the suite lists nothing for {whom}:\n{said}"));
    let names = list
        .lines()
        .skip(1)
        .map_while(|line| line.trim().strip_prefix("- ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// The scenarios that a revision names without requiring them, of `whom`: `server` or `client`.
pub async fn noted(revision: &str, whom: &str) -> BTreeSet<String> {
    let said = run(&["list", "--requirements", revision]).await;
    let mark = format!(" [{whom}]");
    let names = said
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- ")?.strip_suffix(&mark));
    names.map(str::to_owned).collect()
}

impl Report {
    /// Reads `PREFIX<scenario>-<time>/checks.json` for each scenario that ran.
    pub fn read(folder: &Path, prefix: &str) -> Report {
        let mut report = Report::default();
        for entry in std::fs::read_dir(folder).expect("the results can be read") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(scenario) = without_time(&name) else {
                // `auth/SCENARIO`: a folder in a folder.
                if entry.path().is_dir() {
                    let inner = Report::read(&entry.path(), "").0;
                    report.0.extend(
                        inner
                            .into_iter()
                            .map(|(scenario, checks)| (format!("{name}/{scenario}"), checks)),
                    );
                }
                continue;
            };
            let scenario = scenario.strip_prefix(prefix).unwrap_or(scenario).to_owned();
            report.0.insert(scenario, checks(&entry.path().join("checks.json")));
        }
        report
    }

    /// Whether a scenario ran, and nothing in it failed.
    pub fn passes(&self, scenario: &str) -> bool {
        self.0.get(scenario).is_some_and(|checks| !checks.is_empty()) && self.failed(scenario).is_empty()
    }

    /// The checks of a scenario that failed.
    pub fn failed(&self, scenario: &str) -> BTreeSet<&str> {
        let checks = self.0.get(scenario).into_iter().flatten();
        let failed = checks.filter(|(_, _, status)| FAILED.contains(&status.as_str()));
        failed.map(|(id, ..)| id.as_str()).collect()
    }

    /// Whether something was seen in it that is as it must be.
    pub fn succeeded(&self, scenario: &str) -> bool {
        let checks = self.0.get(scenario);
        checks.is_some_and(|checks| checks.iter().any(|(_, _, status)| status == "SUCCESS"))
    }

    /// The scenarios that are not the same in both, each with the checks that differ in words.
    pub fn difference(&self, other: &Report) -> BTreeMap<String, String> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let mut different = BTreeMap::new();
        for name in names {
            let empty = Vec::new();
            let (ours, theirs) = (self.0.get(name).unwrap_or(&empty), other.0.get(name).unwrap_or(&empty));
            if ours == theirs {
                continue;
            }
            let mut words = String::new();
            for (sign, here, there) in [('-', ours, theirs), ('+', theirs, ours)] {
                for (id, what, status) in here.iter().filter(|c| !there.contains(c)) {
                    let _ = writeln!(words, "    {sign} {status} {id} {what}");
                }
            }
            if words.is_empty() {
                words.push_str("    the same checks in another order or number\n");
            }
            different.insert(name.clone(), words);
        }
        different
    }
}

/// What one scenario's file says.
fn checks(file: &Path) -> Vec<Check> {
    let text = std::fs::read_to_string(file).expect("each scenario has checks");
    let checks: Vec<Value> = serde_json::from_str(&text).expect("checks are JSON");
    let part = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = checks
        .iter()
        .map(|c| (part(c, "id"), part(c, "name"), part(c, "status")));
    let mut checks: Vec<Check> = checks.collect();
    // No checks but a log: how often a client came back, and was told again where it is.
    checks.dedup_by(|one, before| one == before && one.0 == "incoming-sse-event");
    checks
}

/// `tools-list-2026-11-20T15-57-42-487Z` without the time.
fn without_time(name: &str) -> Option<&str> {
    let (at, _) = name.rmatch_indices("-20").find(|(at, _)| {
        let time = &name[at + 1..];
        time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T'
    })?;
    Some(&name[..at])
}

#[test]
fn names_of_results_lose_their_time() {
    assert_eq!(
        without_time("server-json-schema-2020-12-2026-11-20T15-57-43-827Z"),
        Some("server-json-schema-2020-12")
    );
    assert_eq!(without_time("server-json-schema-2020-12"), None);
}
