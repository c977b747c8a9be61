//! The other half of the suite: its servers behind the router, and it judges what the router sends them.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::iter;

use crate::suite::{self, Report};
use crate::support::PROGRAM;
use crate::support::fixture::{node, tool};
use crate::{LEGACY, MODERN};

/// Suites at a time.
const AT_A_TIME: usize = 2;

const OF_LEGACY: &[&str] = &[
    "initialize",
    "tools_call",
    "elicitation-sep1034-client-defaults",
    "sse-retry",
];

const OF_MODERN: &[&str] = &[
    "tools_call",
    "request-metadata",
    "sep-2322-client-request-state",
    "http-standard-headers",
    "http-custom-headers",
    "http-invalid-tool-headers",
    "json-schema-ref-no-deref",
];

/// All of these want a client that gets itself a token by OAuth. The router sends the credentials that its
/// configuration has, and gets none by itself yet.
const OAUTH: &str = "auth/";

/// One scenario: its checks.
async fn judged(revision: &str, scenario: &str) -> Report {
    let script = tool("tests/clients/through_router.mjs");
    let command = format!("{} {}", node().display(), script.display());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_str().expect("the path is text");
    let arguments = ["client", "--command", &command, "--scenario", scenario];
    let arguments = [&arguments[..], &["--spec-version", revision, "-o", out, "--verbose"]].concat();
    let said = suite::run_with(&arguments, &[("POINTSMAN_PROGRAM", PROGRAM)]).await;
    let report = Report::read(folder.path(), "");
    assert!(
        report.0.contains_key(scenario),
        "the suite wrote no results of {scenario}:\n{said}"
    );
    if !report.succeeds(scenario) {
        println!("{scenario} of {revision}:\n{said}");
    }
    report
}

async fn half(revision: &str, scenarios: &'static [&'static str]) {
    let ours: BTreeSet<String> = scenarios.iter().map(|s| (*s).to_owned()).collect();
    let required = suite::required(revision, "Client").await;
    let oauth = |name: &&String| name.starts_with(OAUTH);
    let others: BTreeSet<String> = required.iter().filter(|name| !oauth(name)).cloned().collect();
    assert_eq!(others, ours, "what {revision} requires of clients, without {OAUTH}*");
    let runs = iter(scenarios).map(async |scenario| (*scenario, judged(revision, scenario).await));
    let reports: Vec<_> = runs.buffered(AT_A_TIME).collect().await;
    let mut wrong = Vec::new();
    for (scenario, report) in &reports {
        if !report.succeeds(scenario) {
            wrong.push(format!("{scenario} fails: {:?}", report.0.get(*scenario)));
        }
    }
    assert!(wrong.is_empty(), "{revision}: {}", wrong.join("\n"));
}

#[tokio::test]
async fn as_a_client_2025_11_25() {
    half(LEGACY, OF_LEGACY).await;
}

#[tokio::test]
async fn as_a_client_2026_07_28() {
    half(MODERN, OF_MODERN).await;
}
