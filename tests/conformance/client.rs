//! The other half of the suite: its servers behind the router, and it judges what the router sends them.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::iter;

use crate::scenarios::{IN_PART, LEFT_OUT, PASSED};
use crate::suite::{self, Report};
use crate::support::PROGRAM;
use crate::support::fixture::{node, tool};
use crate::{LEGACY, MODERN};

/// Suites at a time.
const AT_A_TIME: usize = 2;

/// What is wrong with one scenario of a revision, if anything: only these checks may fail, and each of them does.
async fn judged(revision: &str, scenario: &str, excused: &[&str]) -> Option<String> {
    let script = tool("tests/clients/through_router.mjs");
    let command = format!("{} {}", node().display(), script.display());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_str().expect("the path is text");
    let arguments = ["client", "--command", &command, "--scenario", scenario];
    // Extensions belong to no revision, and are run with the messages of each.
    let rest = ["--spec-version", revision, "--force", "-o", out, "--verbose"];
    let said = suite::run_with(&[&arguments[..], &rest].concat(), &[("POINTSMAN_PROGRAM", PROGRAM)]).await;
    let report = Report::read(folder.path(), "");
    assert!(
        report.0.contains_key(scenario),
        "the suite wrote no results of {scenario}:\n{said}"
    );
    let (failed, succeeded) = (report.failed(scenario), report.succeeded(scenario));
    if failed == excused.iter().copied().collect() && succeeded {
        return None;
    }
    println!("{scenario} of {revision}:\n{said}");
    Some(format!("{scenario}: {:?}", report.0.get(scenario)))
}

/// All scenarios that a revision requires, and those that it only names, as far as they are for a router.
async fn half(revision: &str, required: usize) {
    let names = suite::required(revision, "Client").await;
    assert_eq!(names.len(), required, "{names:?}");
    let names = &names | &suite::noted(revision, "client").await;
    let passed = PASSED.iter().map(|name| (*name, &[][..]));
    let all = passed.chain(IN_PART.iter().copied());
    let ours: Vec<_> = all.filter(|(name, _)| names.contains(*name)).collect();
    println!(
        "{revision}: {} scenarios for clients, {} of them run",
        names.len(),
        ours.len()
    );
    let runs = iter(ours).map(async |(scenario, excused)| judged(revision, scenario, excused).await);
    let wrong: Vec<_> = runs.buffered(AT_A_TIME).collect().await;
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{revision}: {}", wrong.join("\n"));
}

#[tokio::test]
async fn as_a_client_2025_11_25() {
    half(LEGACY, 18).await;
}

#[tokio::test]
async fn as_a_client_2026_07_28() {
    half(MODERN, 32).await;
}

/// A scenario that is new to the suite is found here.
#[tokio::test]
async fn every_scenario_for_clients_is_run_or_left_out_by_name() {
    let part = IN_PART.iter().map(|(name, _)| *name);
    let left = LEFT_OUT.iter().map(|(name, _)| *name);
    let named: Vec<&str> = PASSED.iter().copied().chain(part).chain(left).collect();
    let once: BTreeSet<String> = named.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(once.len(), named.len(), "one is named twice: {named:?}");
    let all = suite::all("Client").await;
    let (new, gone) = (&all - &once, &once - &all);
    assert!(
        new.is_empty() && gone.is_empty(),
        "not named: {new:?}; not in the suite: {gone:?}"
    );
    for revision in [LEGACY, MODERN] {
        let both = &suite::required(revision, "Client").await | &suite::noted(revision, "client").await;
        assert!(both.is_subset(&all), "{revision}: {both:?}");
    }
}
