//! Agents that poll: their streams are closed after a moment, as SEP-1699 allows, and they come back for the rest.

use std::process::{Command, Stdio};

use crate::LEGACY;
use crate::suite::{self, Check, Report};
use crate::support::fixture::{node, tool};
use crate::support::{PROGRAM, Router};
use crate::ways::Way;

/// The scenario of the suite for that.
pub const SCENARIO: &str = "server-sse-polling";

/// The call takes 100 ms, the suite comes back once, and the answer must be there then: the one right moment to close is
/// behind half of the call's time. Of these one is, also where a child is started first, which is a part of the call.
const CLOSES: [u32; 6] = [80, 130, 210, 340, 550, 880];

/// Streams from the first moment, as those of the fixture, closed after so many milliseconds.
pub fn poll(after: u32) -> String {
    format!("[listen]\nstream-after = \"0s\"\npoll-after = \"{after}ms\"\nretry = \"20ms\"\n")
}

/// Whether the suite saw a stream closed and resumed. It does not require that, but the fixture does it.
pub fn is_resumed(report: &Report) -> bool {
    let resumed =
        |(id, _, status): &Check| (id.as_str(), status.as_str()) == ("server-sse-disconnect-resume", "SUCCESS");
    report.0.get(SCENARIO).is_some_and(|checks| checks.iter().any(resumed))
}

/// What the suite says of the scenario through the router, once streams are closed at the right moment: the last word, if
/// it is never what it says of the fixture `alone`.
pub async fn in_time(way: &Way, alone: &Report) -> Report {
    let mut report = Report::default();
    // Twice: a busy machine may miss the moment.
    for after in CLOSES.into_iter().chain(CLOSES) {
        let (config, fixture) = way.configuration("both");
        let router = Router::start(&(poll(after) + &config)).await;
        router.ready("fix").await;
        let url = format!("http://{}/mcp", router.address);
        report = suite::scenario(&url, LEGACY, SCENARIO).await;
        drop(fixture);
        if report.0.get(SCENARIO) == alone.0.get(SCENARIO) {
            println!("{}: streams closed after {after} ms", way.name);
            break;
        }
    }
    report
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
