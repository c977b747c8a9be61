//! The official conformance suite against the fixture server alone and through the router: no check may differ.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests start processes, measure real time, print it, and fail by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod polling;
mod suite;
mod ways;

use std::process::Command;

use suite::Report;
use support::fixture::Fixture;
use support::{PROGRAM, Router, count};
use tokio::sync::OnceCell;
use ways::{BY_CHOICE, HTTP, PER_SESSION, SHARED, Way};

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// What the suite says of the fixture alone: all that is required passes.
async fn alone(revision: &str) -> &'static Report {
    static REPORTS: [OnceCell<Report>; 2] = [OnceCell::const_new(), OnceCell::const_new()];
    let (cell, required) = match revision {
        LEGACY => (&REPORTS[0], 30),
        _ => (&REPORTS[1], 37),
    };
    let run = async || {
        let fixture = Fixture::start(&[]);
        let report = suite::server(&fixture.url, revision).await;
        let names = suite::required(revision, "Server").await;
        assert_eq!(names.len(), required, "{names:?}");
        let failed: Vec<_> = names.iter().filter(|name| !report.passes(name)).collect();
        assert!(failed.is_empty(), "the fixture alone fails {failed:?} of {revision}");
        report
    };
    cell.get_or_init(run).await
}

/// Puts the router in front of the fixture, and demands that the suite sees no difference.
async fn through(way: &Way, revision: &str) {
    let (config, fixture) = way.configuration("both");
    if let Some(says) = way.not_yet() {
        return refused(way, &config, says);
    }
    let alone = alone(revision).await;
    let router = Router::start(&config).await;
    router.ready("fix").await;
    let report = suite::server(&format!("http://{}/mcp", router.address), revision).await;
    let mut different = alone.difference(&report);
    for (_, scenario, _) in BY_CHOICE.iter().filter(|(rev, ..)| *rev == revision) {
        different.remove(*scenario);
        assert!(!report.0[*scenario].iter().any(|(_, _, status)| status == "FAILURE"));
    }
    let mended: Vec<_> = way
        .known(revision)
        .into_iter()
        .filter(|scenario| different.remove(*scenario).is_none())
        .collect();
    let listed: String = different.iter().map(|(s, words)| format!("  {s}\n{words}")).collect();
    assert!(
        different.is_empty(),
        "{}, {revision}: - is what the fixture alone gets, + what it gets through the router\n{listed}",
        way.name
    );
    assert!(
        mended.is_empty(),
        "{}, {revision}: equal by now, take them out of DIFFERENT in tests/conformance/ways.rs: {mended:?}",
        way.name
    );
    drop(fixture);
}

/// The configuration has no words for this way yet, and says so.
fn refused(way: &Way, config: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pointsman.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(PROGRAM).args(["check", "--config"]).arg(&file).output();
    let output = output.expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && said.contains(says),
        "{}: the configuration says {says:?} no more, take it out of NOT_YET in tests/conformance/ways.rs:\n{said}",
        way.name
    );
}

#[tokio::test]
async fn stdio_shared_2025_11_25() {
    through(&SHARED, LEGACY).await;
}

#[tokio::test]
async fn stdio_shared_2026_07_28() {
    through(&SHARED, MODERN).await;
}

#[tokio::test]
async fn stdio_per_session_2025_11_25() {
    through(&PER_SESSION, LEGACY).await;
}

#[tokio::test]
async fn stdio_per_session_2026_07_28() {
    through(&PER_SESSION, MODERN).await;
}

#[tokio::test]
async fn http_2025_11_25() {
    through(&HTTP, LEGACY).await;
}

#[tokio::test]
async fn http_2026_07_28() {
    through(&HTTP, MODERN).await;
}

/// The router between a client of one era and a server of the other. Nothing is demanded of it; the scenarios that
/// do not pass are printed.
#[tokio::test]
async fn across_the_eras() {
    if count(0, 1) == 0 {
        return;
    }
    for way in [SHARED, PER_SESSION, HTTP] {
        for (revision, era) in [
            (LEGACY, "modern"),
            (MODERN, "legacy"),
            (LEGACY, "legacy"),
            (MODERN, "modern"),
        ] {
            let (config, fixture) = way.configuration(era);
            if way.not_yet().is_some() {
                println!("{}, {era} server: not yet", way.name);
                continue;
            }
            let router = Router::start(&config).await;
            router.ready("fix").await;
            let report = suite::server(&format!("http://{}/mcp", router.address), revision).await;
            let names = suite::required(revision, "Server").await;
            let failed: Vec<_> = names.iter().filter(|name| !report.passes(name)).collect();
            let passed = names.len() - failed.len();
            println!(
                "{}, {era} server, suite {revision}: {passed} of {} pass; not {failed:?}",
                way.name,
                names.len()
            );
            drop(fixture);
        }
    }
}
