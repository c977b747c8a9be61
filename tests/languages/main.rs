//! Policies in other languages than Rust: a new project of each is built, passes its fixtures, and decides a real call.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "tests of the program itself, with real compilers"
)]

mod compiled;
mod dev;
#[allow(dead_code, reason = "those of the plugins' tests, which use all of it")]
#[path = "../plugins/support.rs"]
mod hosts;
mod javascript;
#[path = "../support/mod.rs"]
mod support;
mod wasip2;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use support::{Agent, PROGRAM, Router};

/// Where this repository is.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where `make tools` puts compilers.
fn tools() -> PathBuf {
    here().join(".tools/languages/bin")
}

/// Runs `pointsman plugin` with these words in `folder`, without a network: whether it went well, stdout, stderr.
fn plugin(folder: &Path, words: &[&str]) -> (bool, String, String) {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools()).chain(std::env::split_paths(&path)));
    let Output { status, stdout, stderr } = Command::new(PROGRAM)
        .arg("plugin")
        .args(words)
        .current_dir(folder)
        .env("PATH", path.unwrap())
        .env("XDG_CACHE_HOME", scratch.join("languages-cache"))
        .env("GOCACHE", scratch.join("go-cache"))
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local")
        .env("ZIG_GLOBAL_CACHE_DIR", scratch.join("zig-cache"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// The same where it must go well: what it said.
fn done(folder: &Path, words: &[&str]) -> String {
    let (good, text, error) = plugin(folder, words);
    assert!(good, "{words:?}: {text}{error}");
    text
}

/// Makes a project, lets `prepare` bring what its toolchain needs, builds and tests it: where its component is.
fn new_project(home: &Path, lang: &str, prepare: impl Fn(&Path)) -> PathBuf {
    done(home, &["new", "--lang", lang, "no-drop"]);
    let folder = home.join("no-drop");
    prepare(&folder);
    let text = done(&folder, &["build"]);
    assert!(text.contains("no-drop.wasm") && text.contains("hooks route"), "{text}");
    let text = done(&folder, &["test", "no-drop.wasm", "fixtures"]);
    assert!(text.ends_with("2 cases passed\n"), "{text}");
    // The fixture and the configuration know where the component is.
    done(&folder, &["test", "fixtures"]);
    // With the cache of the routers here: big components are compiled once for all that is done with them. A debug build of
    // the router takes long for that, on a busy machine.
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache");
    let config = std::fs::read_to_string(folder.join("pointsman.toml")).unwrap();
    std::fs::write(
        folder.join("cached.toml"),
        format!("[policies]\ncache = {cache:?}\ncompile-timeout = \"600s\"\n{config}"),
    )
    .unwrap();
    done(&folder, &["check", "no-drop.wasm", "--config", "cached.toml"]);
    let component = folder.join("no-drop.wasm");
    let text = done(&folder, &["inspect", "no-drop.wasm"]);
    assert!(text.contains("other imports  none"), "{text}");
    component
}

/// An example below `plugins/`, copied, prepared, built, and asked what its fixtures say.
fn example(name: &str, prepare: impl Fn(&Path), cases: usize) {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("policy");
    // The contract is a link to this repository's own: what is copied is what it leads to.
    let copied = Command::new("cp")
        .arg("-rL")
        .arg(here().join("plugins").join(name))
        .arg(&folder)
        .status();
    assert!(copied.unwrap().success());
    prepare(&folder);
    done(&folder, &["build", "--out", "policy.wasm"]);
    let text = done(&folder, &["test", "policy.wasm", "fixtures"]);
    assert!(text.ends_with(&format!("{cases} cases passed\n")), "{text}");
}

/// A router with the configuration that a new project came with, whose demo server has a tool that drops things; and an
/// agent of it.
async fn serving(component: &Path) -> (Router, Agent) {
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(component, home.path().join("no-drop.wasm")).unwrap();
    let config = std::fs::read_to_string(component.with_file_name("pointsman.toml")).unwrap();
    let patient = config.replacen("file =", "wall = \"5s\"\nfile =", 1);
    let router = Router::start_in(home, &patient.replace("\"pointsman\"", "\"@program\"")).await;
    let agent = Agent::modern(&router.address);
    assert_eq!(agent.call("add_tool", json!({ "name": "drop_table" })).await.code(), 0);
    (router, agent)
}

/// Whether the policy of a new project decides real calls: a tool that drops things is denied, and no other.
async fn decides(component: &Path) {
    let (router, agent) = serving(component).await;
    // Often enough for a toolchain that forgets to let go of what it was lent.
    for _ in 0..100 {
        assert_eq!(
            agent.call("echo", json!({ "text": "x" })).await.code(),
            0,
            "{}",
            router.log()
        );
        let denied = agent.call("drop_table", json!({ "text": "x" })).await;
        assert_eq!(denied.code(), 7008, "{}", router.log());
        assert_eq!(denied.data("policy_code"), "no-drop");
    }
}
