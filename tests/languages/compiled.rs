//! C, Go and Python, from `plugin new` to a call that a real router refuses; and their examples.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman::call::{Call, Subject};
use pointsman::config::{Plugin, Policies};
use pointsman::plugin::Host;
use pointsman::policy::{Policy, RouteChoice};
use pointsman::wire::Kind;
use serde_json::json;

use super::hosts::*;
use super::support::until_async;
use super::{decides, done, example, new_project, serving, tools};

/// A language, with the program that builds it.
struct Language {
    name: &'static str,
    tool: &'static str,
    /// The file with a new policy, and what makes another one of it: which refuses another tool, and speaks.
    source: &'static str,
    edits: &'static [(&'static str, &'static str)],
}

const C: Language = Language {
    name: "c",
    tool: "python-zig",
    source: "src/main.c",
    edits: &[
        ("\"drop\"", "\"echo\""),
        ("#include <stdlib.h>", "#include <stdio.h>\n#include <unistd.h>"),
        (
            "policy_string_t name;",
            "sleep(3600); puts(\"I was asked\"); fflush(stdout); policy_string_t name;",
        ),
    ],
};
const GO: Language = Language {
    name: "go",
    tool: "go",
    source: "export_pointsman_policy_route/policy.go",
    edits: &[
        ("\"drop\"", "\"echo\""),
        ("\"strings\"", "\"fmt\"\n\"strings\"\n\"time\""),
        (
            "defer call.Drop()",
            "defer call.Drop(); time.Sleep(time.Hour); fmt.Println(\"I was asked\")",
        ),
    ],
};
const PYTHON: Language = Language {
    name: "python",
    tool: "componentize-py",
    source: "src/policy.py",
    edits: &[],
};

impl Language {
    /// Whether its program is there; with a word about it where it is not, and may be missing.
    fn is_there(&self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::iter::once(tools()).chain(std::env::split_paths(&path));
        let found = places.any(|place| place.join(self.tool).is_file());
        let must = std::env::var_os("POINTSMAN_TOOLS").is_some();
        assert!(found || !must, "{} is missing: run `make tools`", self.tool);
        if !found {
            println!(
                "SKIPPED {}: {} is missing; `make tools` installs it",
                self.name, self.tool
            );
        }
        found
    }

    /// A new project in a folder, built and tested: its component.
    fn project(&self, home: &Path) -> PathBuf {
        new_project(home, self.name, as_it_is)
    }
}

/// These toolchains need nothing in a project's folder.
fn as_it_is(_: &Path) {}

/// Asks one warm instance so often, each time with both decisions.
async fn stays_well(file: PathBuf, calls: usize) {
    // The debug build compiles an interpreter for a while, and a busy machine for longer.
    let policies = Policies {
        compile_timeout: Duration::from_secs(600),
        ..policies()
    };
    let host: Arc<Host> = Host::new(&policies, compiler()).unwrap();
    let plugin = Plugin {
        // Never another instance.
        reuse: u32::MAX,
        memory: 64 << 20,
        cpu: Duration::from_secs(5),
        ..closed(super::hosts::file(file, json!({})))
    };
    let begun = Instant::now();
    let generation = generation(&host, &[("p", plugin)]).await.unwrap();
    println!("loaded in {:.1?}", begun.elapsed());
    let (drop, read) = (tool("drop_table"), tool("read_table"));
    let begun = Instant::now();
    for n in 0..calls {
        let choice = generation.route(&drop, candidates(&["a+"])).await;
        assert!(
            matches!(&choice, Ok(RouteChoice::Deny { code, .. }) if code == "no-drop"),
            "call {n}: {choice:?}"
        );
        let choice = generation.route(&read, candidates(&["a+"])).await;
        assert!(
            matches!(&choice, Ok(RouteChoice::Among(all)) if all == &[0]),
            "call {n}: {choice:?}"
        );
    }
    println!("{} calls in {:.1?}", 2 * calls, begun.elapsed());
}

/// A call of a tool with a name so long that a collector has something to do.
fn tool(begin: &str) -> Arc<Call> {
    let name = format!("{begin}{}", "x".repeat(2_000));
    let mut call = parts(&json!({ "name": name }).to_string());
    call.subject = Some(Subject {
        kind: Kind::Tools,
        key: name,
    });
    Arc::new(call)
}

/// The policy is built again as another one, and the running router takes that up.
async fn changes_its_mind(language: &Language, component: &Path) {
    let (router, agent) = serving(component).await;
    let denied = agent.call("drop_table", json!({ "text": "x" })).await;
    assert_eq!(denied.data("policy_code"), "no-drop", "{denied:?}");
    let folder = component.parent().unwrap();
    let source = folder.join(language.source);
    let mut text = std::fs::read_to_string(&source).unwrap();
    for (old, new) in language.edits {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    std::fs::write(&source, text).unwrap();
    let out = router.path().join("no-drop.wasm");
    done(folder, &["build", "--out", out.to_str().unwrap()]);
    until_async("the other build to serve", async || {
        let outcome = agent.call("drop_table", json!({ "text": "x" })).await;
        (outcome.code() == 0).then_some(())
    })
    .await;
    let denied = agent.call("echo", json!({ "text": "hello" })).await;
    assert_eq!(denied.data("policy_code"), "no-drop", "{denied:?}");
    // It slept for an hour by its own clock, and what it printed is in the log.
    assert!(router.log().contains("I was asked"), "{}", router.log());
}

#[tokio::test]
async fn c_from_nothing_to_a_call() {
    if !C.is_there() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let component = C.project(home.path());
    stays_well(component.clone(), 1_000).await;
    changes_its_mind(&C, &component).await;
    example("examples-c/label-guard", as_it_is, 6);
}

#[tokio::test]
async fn go_from_nothing_to_a_call() {
    if !GO.is_there() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let component = GO.project(home.path());
    // Beyond the thousands at which the collector has been the end of others.
    stays_well(component.clone(), 10_000).await;
    changes_its_mind(&GO, &component).await;
    example("examples-go/office-hours", as_it_is, 11);
}

#[tokio::test]
async fn python_from_nothing_to_a_call() {
    if !PYTHON.is_there() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let component = PYTHON.project(home.path());
    stays_well(component.clone(), 2_500).await;
    decides(&component).await;
    example("examples-python/argument-guard", as_it_is, 5);
}
