//! The router between published clients and published servers: every client lists the merged tools of three
//! servers and calls one tool of each.
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "tests start processes and fail by panicking"
)]

mod router;
#[path = "../support/tools.rs"]
mod tools;

use std::path::Path;
use std::process::Command;

use router::{CLIENTS, Router};
use tools::tool;

const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";

/// Runs one client through list and calls, and shows what it printed if it is not content.
fn interop(client: &mut Command) {
    let router = Router::shared();
    client.arg(router.url());
    steps(client, &router);
}

/// The same over stdio: the client starts `pointsman connect`.
fn over_stdio(client: &mut Command) {
    let router = Router::shared();
    let port = router.url().rsplit(':').next().and_then(|rest| rest.split('/').next());
    let program = env!("CARGO_BIN_EXE_pointsman");
    let line = serde_json::json!([program, "connect", "--no-start", "--port", port]);
    client.arg(format!("stdio:{line}"));
    steps(client, &router);
}

/// A call that says how far it is, three times; the Inspector shows none of it. The third comes with the result, and
/// where both arrive in one piece the TypeScript SDK forgets its handler of progress before it has called it: that all
/// three are there, and before the result, is seen in tests/connect/strict.rs.
fn with_progress(client: &mut Command) -> &mut Command {
    client.args(["--call", "everything__trigger-long-running-operation", "--args"]);
    client.args([
        r#"{"duration":0.3,"steps":3}"#,
        "--expect",
        "Steps: 3",
        "--expect-progress",
        "2",
    ])
}

fn steps(client: &mut Command, router: &Router) {
    let repository = serde_json::json!({ "repo_path": router.repository() }).to_string();
    client.args([
        "--expect-tools",
        "everything__echo,time__get_current_time,git__git_status",
    ]);
    for (name, arguments, expected) in [
        ("everything__echo", r#"{"message":"all aboard"}"#, "Echo: all aboard"),
        (
            "time__get_current_time",
            r#"{"timezone":"Europe/Stockholm"}"#,
            "Europe/Stockholm",
        ),
        ("git__git_status", repository.as_str(), "On branch siding"),
    ] {
        client.args(["--call", name, "--args", arguments, "--expect", expected]);
    }
    // A proxy from the environment would be asked first, even for loopback.
    for name in [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        client.env_remove(name);
    }
    // Every client ends by itself at its own deadline.
    let output = client.output().expect("the client starts");
    assert!(
        output.status.success(),
        "{client:?} ended with {}\n{}{}\nthe router said:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        router.log()
    );
}

fn python(script: &str, mode: &str) -> Command {
    let mut command = Command::new(tool(".tools/venv/bin/python"));
    command.arg(Path::new(CLIENTS).join(script)).args(["--mode", mode]);
    command
}

fn node(script: &str, mode: &str) -> Command {
    let mut command = Command::new(tool("tests/clients/node_modules/.bin/node"));
    command.arg(Path::new(CLIENTS).join(script)).args(["--mode", mode]);
    command
}

#[test]
fn python_sdk_auto_finds_the_modern_era() {
    interop(python("py_client.py", "auto").args(["--expect-protocol", MODERN]));
}

#[test]
fn python_sdk_legacy() {
    interop(python("py_client.py", "legacy").args(["--expect-protocol", LEGACY]));
}

#[test]
fn python_sdk_modern() {
    interop(python("py_client.py", MODERN).args(["--expect-protocol", MODERN]));
}

#[test]
fn typescript_sdk_v1() {
    interop(node("ts_v1.mjs", "legacy").args(["--expect-protocol", LEGACY]));
}

#[test]
fn typescript_sdk_v2_auto_finds_the_modern_era() {
    interop(node("ts_v2.mjs", "auto").args(["--expect-protocol", MODERN]));
}

#[test]
fn typescript_sdk_v2_legacy() {
    interop(node("ts_v2.mjs", "legacy").args(["--expect-protocol", LEGACY]));
}

#[test]
fn typescript_sdk_v2_modern() {
    interop(node("ts_v2.mjs", MODERN).args(["--expect-protocol", MODERN]));
}

#[test]
fn inspector_legacy() {
    interop(&mut python("inspector.py", "legacy"));
}

#[test]
fn inspector_modern() {
    interop(&mut python("inspector.py", "modern"));
}

#[test]
fn python_sdk_over_stdio_auto_finds_the_modern_era() {
    over_stdio(with_progress(
        python("py_client.py", "auto").args(["--expect-protocol", MODERN]),
    ));
}

#[test]
fn python_sdk_over_stdio_legacy() {
    over_stdio(with_progress(
        python("py_client.py", "legacy").args(["--expect-protocol", LEGACY]),
    ));
}

#[test]
fn python_sdk_over_stdio_modern() {
    over_stdio(with_progress(
        python("py_client.py", MODERN).args(["--expect-protocol", MODERN]),
    ));
}

#[test]
fn typescript_sdk_v1_over_stdio() {
    over_stdio(with_progress(&mut node("ts_v1.mjs", "legacy")));
}

#[test]
fn typescript_sdk_v2_over_stdio_auto_finds_the_modern_era() {
    over_stdio(with_progress(
        node("ts_v2.mjs", "auto").args(["--expect-protocol", MODERN]),
    ));
}

#[test]
fn typescript_sdk_v2_over_stdio_legacy() {
    over_stdio(with_progress(
        node("ts_v2.mjs", "legacy").args(["--expect-protocol", LEGACY]),
    ));
}

#[test]
fn typescript_sdk_v2_over_stdio_modern() {
    over_stdio(with_progress(
        node("ts_v2.mjs", MODERN).args(["--expect-protocol", MODERN]),
    ));
}

#[test]
fn inspector_over_stdio_legacy() {
    over_stdio(&mut python("inspector.py", "legacy"));
}

#[test]
fn inspector_over_stdio_modern() {
    over_stdio(&mut python("inspector.py", "modern"));
}
