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

mod client;
mod polling;
mod scenarios;
mod suite;
mod ways;

use suite::Report;
use support::fixture::Fixture;
use support::{Router, count};
use tokio::sync::OnceCell;
use ways::{HTTP, PER_SESSION, SHARED, Way};

/// The last revision with sessions.
const LEGACY: &str = "2025-11-25";
/// The first one without.
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
        let mut report = suite::server(&fixture.url, revision).await;
        let names = suite::required(revision, "Server").await;
        assert_eq!(names.len(), required, "{names:?}");
        for name in &names {
            if !report.passes(name) {
                again(&mut report, &fixture.url, revision, name).await;
            }
        }
        let failed: Vec<_> = names.iter().filter(|name| !report.passes(name)).collect();
        assert!(failed.is_empty(), "the fixture alone fails {failed:?} of {revision}");
        if revision == LEGACY && !polling::is_resumed(&report) {
            again(&mut report, &fixture.url, revision, polling::SCENARIO).await;
            assert!(polling::is_resumed(&report), "the fixture alone closes no stream");
        }
        report
    };
    cell.get_or_init(run).await
}

/// Runs one scenario once more. Some checks wait for half a second only, which a machine at its limit misses.
async fn again(report: &mut Report, url: &str, revision: &str, scenario: &str) {
    println!(
        "{scenario} of {revision} was not as it must be: {:?}",
        report.0.get(scenario)
    );
    report.0.extend(suite::scenario(url, revision, scenario).await.0);
}

/// Puts the router in front of the fixture, and demands that the suite sees no difference.
async fn through(way: &Way, revision: &str) {
    let alone = alone(revision).await;
    let (mut config, fixture) = way.configuration("both");
    if revision == LEGACY {
        // As the fixture does in this era.
        config.insert_str(0, &polling::poll(80));
    }
    let router = Router::start(&config).await;
    router.ready("fix").await;
    let url = format!("http://{}/mcp", router.address);
    let mut report = suite::server(&url, revision).await;
    for (scenario, _) in alone.difference(&report) {
        match scenario.as_str() {
            polling::SCENARIO => report.0.extend(polling::in_time(way, alone).await.0),
            other => again(&mut report, &url, revision, other).await,
        }
    }
    let different = alone.difference(&report);
    let listed: String = different.iter().map(|(s, words)| format!("  {s}\n{words}")).collect();
    assert!(
        different.is_empty(),
        "{}, {revision}: - is what the fixture alone gets, + what it gets through the router\n{listed}",
        way.name
    );
    drop(fixture);
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

/// With the configuration as it comes: all that is required passes. In two scenarios the suite notes, as information,
/// that answers which come soon come as JSON.
#[tokio::test]
async fn unconfigured_2025_11_25() {
    let alone = alone(LEGACY).await;
    let router = Router::start(&SHARED.configuration("both").0).await;
    router.ready("fix").await;
    let url = format!("http://{}/mcp", router.address);
    let mut report = suite::server(&url, LEGACY).await;
    let noted = ["server-sse-multiple-streams", polling::SCENARIO];
    for (scenario, _) in alone.difference(&report) {
        if !noted.contains(&scenario.as_str()) {
            again(&mut report, &url, LEGACY, &scenario).await;
        }
    }
    let different = alone.difference(&report);
    assert!(different.keys().eq(noted.iter()), "{different:?}");
    for scenario in noted {
        assert!(report.passes(scenario), "{:?}", report.0.get(scenario));
    }
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
            // The suite leaves questions unanswered, and a call that waits for its answer keeps others from a legacy
            // server that serves one at a time.
            let config = format!("[sessions]\nanswer-wait = \"1s\"\n{config}");
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
