//! Small files that break one rule each, or none: the rules must bite, and only where they should.

use crate::rules::{SourceFile, check};

/// What the rules say of one file, whose first line is supplied.
fn said_of(path: &str, code: &str) -> Vec<String> {
    let file = SourceFile {
        path: path.to_owned(),
        text: format!("//! A sample.\n{code}\n"),
    };
    check(&[file]).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn breaks(path: &str, code: &str, rule: &str) {
    let said = said_of(path, code);
    assert!(
        said.len() == 1 && said[0].contains(rule),
        "{path}: {code}\nexpected {rule:?}, got {said:#?}"
    );
}

#[track_caller]
fn keeps(path: &str, code: &str) {
    let said = said_of(path, code);
    assert!(said.is_empty(), "{path}: {code}\nexpected nothing, got {said:#?}");
}

#[test]
fn floors_look_down() {
    keeps("src/router.rs", "use crate::{backend::Gate, call::Call, wire};");
    keeps("src/app.rs", "use crate::cli::Options; use crate::reload::Reload;");
    keeps("src/main.rs", "use pointsman::app;");
    keeps("src/lib.rs", "pub mod wire; pub mod app;");
    breaks(
        "src/wire/id.rs",
        "use crate::error::Error;",
        "src/wire/id.rs:2: floor 0 may not look up",
    );
    breaks(
        "src/call.rs",
        "fn f() -> crate::backend::Gate { todo!() }",
        "call uses backend on floor 3",
    );
    breaks(
        "src/process/child.rs",
        "\nuse crate::{\n  error::Error,\n  app::App,\n};",
        "child.rs:5: floor 2 may",
    );
    breaks(
        "src/transport/http.rs",
        "use super::super::session;",
        "transport uses session on floor 3",
    );
}

#[test]
fn floors_one_and_three_look_left_and_two_is_blind() {
    keeps("src/config/mod.rs", "use crate::policy::Hook;");
    keeps(
        "src/session/mod.rs",
        "use crate::router::Router; use super::session::writer;",
    );
    breaks(
        "src/error.rs",
        "use crate::config::Config;",
        "floor 1 looks only to its left",
    );
    breaks(
        "src/backend/gate.rs",
        "use crate::catalog::Catalog;",
        "floor 3 looks only to its left",
    );
    breaks(
        "src/plugin/host.rs",
        "use crate::{watch, error::Error};",
        "floor 2 is blind",
    );
}

#[test]
fn the_root_has_modules_only() {
    breaks(
        "src/router.rs",
        "use crate::Error;",
        "`crate::Error` is no module with a floor",
    );
    breaks("src/surprise.rs", "", "this module has no floor");
}

#[test]
fn crates_stay_where_they_belong() {
    keeps("src/plugin/engine.rs", "use wasmtime::{Engine, component::Component};");
    keeps("src/watch.rs", "use notify::Watcher;");
    keeps("src/process/spawn.rs", "use tokio::process::Command;");
    keeps("src/plugin/compile.rs", "use tokio::process::Command;");
    keeps(
        "src/backend/gate.rs",
        "fn f(notify: u8) { notify; std::process::exit(1) }",
    );
    breaks("src/app.rs", "fn f(e: wasmtime::Error) {}", "only under src/plugin/");
    breaks("src/app.rs", "use wasmtime_wasi as w;", "only under src/plugin/");
    breaks("src/wire/mod.rs", "use tokio::sync::mpsc;", "floors 0 and 1 are pure");
    breaks("src/policy.rs", "use wasmtime::Engine;", "floors 0 and 1 are pure");
    breaks("src/reload.rs", "use notify::Watcher;", "only in src/watch.rs");
    breaks(
        "src/app.rs",
        "use tokio::{sync::mpsc, process::Command};",
        "child processes",
    );
    breaks(
        "src/app.rs",
        "fn f() { std::process::Command::new(x) }",
        "child processes",
    );
    breaks(
        "src/app.rs",
        "use std::process; fn f() { process::Command::new(x) }",
        "child processes",
    );
}

#[test]
fn tests_and_prose_may_say_anything() {
    keeps(
        "src/error.rs",
        "// crate::router, tokio::spawn, x.unwrap()\nconst A: &str = \"crate::router\";",
    );
    keeps(
        "src/error.rs",
        "#[cfg(test)]\n#[allow(x)]\nmod tests { use crate::app; fn f() { x.unwrap() } }",
    );
    keeps(
        "src/error.rs",
        "#[cfg(all(test, unix))] fn f(a: [u8; 3]) { tokio::spawn(a) }",
    );
    keeps("src/error.rs", "fn f() { x.unwrap_or(1); x.expect_err(2); }");
    breaks(
        "src/error.rs",
        "#[cfg(test)] use crate::app; fn f() {\n x.unwrap() }",
        "error.rs:3: no `.unwrap(`",
    );
    breaks(
        "src/error.rs",
        "#[cfg(not(test))] fn f() { x.expect(\"y\") }",
        "no `.expect(`",
    );
}

#[test]
fn a_test_module_may_have_its_own_file() {
    let file = |path: &str, text: &str| SourceFile {
        path: path.to_owned(),
        text: format!("//! A sample.\n{text}"),
    };
    let tests = file("src/backend/state/tests.rs", "fn f() { x.unwrap() }");
    let parent = file("src/backend/state.rs", "#[cfg(test)]\nmod tests;");
    assert!(check(&[tests, parent]).is_empty());
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let file = |text: String| {
        [SourceFile {
            path: "src/error.rs".to_owned(),
            text,
        }]
    };
    assert!(check(&file("//! Errors.\n".to_owned() + &"\n".repeat(399))).is_empty());
    let long = check(&file("//! Errors.\n".to_owned() + &"\n".repeat(400)));
    assert!(long.len() == 1 && long[0].to_string().contains("401 lines"), "{long:?}");
    let silent = check(&file("use std::fmt;\n".to_owned()));
    assert!(
        silent.len() == 1 && silent[0].to_string().contains("error.rs:1: the first line"),
        "{silent:?}"
    );
}
