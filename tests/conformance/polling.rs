//! Agents that poll: their streams are closed after a moment, as SEP-1699 allows, and they come back for the rest.

use std::process::{Command, Stdio};

use crate::suite;
use crate::support::fixture::{Fixture, node, tool};
use crate::support::{PROGRAM, Router};
use crate::ways::{HTTP, SHARED};

const SCENARIO: &str = "server-sse-polling";

/// Streams from the first moment, closed after so many milliseconds.
fn poll(after: u32) -> String {
    format!("[listen]\nstream-after = \"0s\"\npoll-after = \"{after}ms\"\nretry = \"20ms\"\n")
}

/// What the suite says of a server that closes streams, each thing once: how often a client had to come back is not
/// the server's to say.
async fn said(url: &str) -> Vec<suite::Check> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let args = [
        "server",
        "--url",
        url,
        "--scenario",
        SCENARIO,
        "--spec-version",
        "2025-11-25",
        "-o",
        out,
    ];
    let words = suite::run(&args).await;
    let report = suite::Report::read(folder.path(), "server-");
    let mut checks = report.0.get(SCENARIO).unwrap_or_else(|| panic!("{words}")).clone();
    checks.dedup();
    checks
}

#[tokio::test]
async fn the_suite_sees_streams_closed_and_resumed_as_without_the_router() {
    let fixture = Fixture::start(&[]);
    let alone = said(&fixture.url).await;
    let resumed = ("server-sse-disconnect-resume", "SUCCESS");
    assert!(
        alone
            .iter()
            .any(|(id, _, status)| (id.as_str(), status.as_str()) == resumed),
        "{alone:?}"
    );
    // With a child for each session its start would be a part of the call, and nobody knows how long that takes.
    for way in [SHARED, HTTP] {
        let (config, behind) = way.configuration("both");
        // The call takes 100 ms and the suite comes back once: one close before that, and the next one after it. A busy
        // machine may miss that moment.
        let router = Router::start(&(poll(80) + &config)).await;
        router.ready("fix").await;
        let url = format!("http://{}/mcp", router.address);
        let mut through = said(&url).await;
        for _ in 0..5 {
            if through != alone {
                through = said(&url).await;
            }
        }
        assert_eq!(through, alone, "{}", way.name);
        drop(behind);
    }
}

/// A call of a second, whose stream is closed many times: nothing that it says is lost or said twice.
#[tokio::test]
async fn the_official_clients_poll() {
    let config = poll(30) + &format!("[backends.work]\ncommand = {PROGRAM:?}\nargs = [\"demo-server\"]\n");
    let router = Router::start(&config).await;
    router.ready("work").await;
    let url = format!("http://{}/mcp", router.address);
    let client = |program: std::path::PathBuf, script: &str| {
        let mut command = Command::new(program);
        command.arg(tool(script)).args(["--mode", "legacy", &url]);
        command
    };
    for mut command in [
        client(node(), "tests/clients/ts_v1.mjs"),
        client(node(), "tests/clients/ts_v2.mjs"),
        client(tool(".tools/venv/bin/python"), "tests/clients/py_client.py"),
    ] {
        let args = [
            "--call",
            "progress",
            "--args",
            r#"{"steps":20,"ms":50}"#,
            "--expect",
            "20 steps",
        ];
        command
            .args(args)
            .args(["--expect-progress", "20"])
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}
