//! C, Go and Python, from `plugin new` to a call that a real router refuses; and their examples.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pointsman::call::{Call, Subject};
use pointsman::config::{Plugin, Policies};
use pointsman::plugin::Host;
use pointsman::policy::{Policy, RouteChoice};
use pointsman::wire::Kind;
use serde_json::json;
use tempfile::TempDir;

use super::hosts::*;
use super::support::{Agent, Router, until_async};

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
    /// The folder of its program: what `make tools` has installed, else the PATH. None, with a word about it, where it is
    /// not to be found and may be missing.
    fn folder(&self) -> Option<PathBuf> {
        let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/languages/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut places = std::iter::once(installed).chain(std::env::split_paths(&path));
        let found = places.find(|place| place.join(self.tool).is_file());
        let must = std::env::var_os("POINTSMAN_TOOLS").is_some();
        assert!(found.is_some() || !must, "{} is missing: run `make tools`", self.tool);
        if found.is_none() {
            println!(
                "SKIPPED {}: {} is missing; `make tools` installs it",
                self.name, self.tool
            );
        }
        found
    }

    /// Runs `pointsman plugin` in a folder, with the program and without a network; what it prints.
    fn plugin(&self, tools: &Path, folder: &Path, words: &[&str]) -> String {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path)));
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let begun = Instant::now();
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .arg("plugin")
            .args(words)
            .current_dir(folder)
            .env("PATH", path.unwrap())
            .env("GOCACHE", scratch.join("go-cache"))
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("ZIG_GLOBAL_CACHE_DIR", scratch.join("zig-cache"))
            .output()
            .unwrap();
        let (said, error) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{} {words:?}:\n{said}{error}", self.name);
        println!("{} {words:?}: {:.1?}", self.name, begun.elapsed());
        said.into_owned()
    }

    /// A new project that was built and has passed its fixture.
    fn project(&self, tools: &Path) -> TempDir {
        let home = tempfile::tempdir().unwrap();
        self.plugin(tools, home.path(), &["new", "--lang", self.name, "no-drop"]);
        let folder = home.path().join("no-drop");
        let said = self.plugin(tools, &folder, &["build"]);
        assert!(said.contains("no-drop.wasm") && said.contains("hooks route"), "{said}");
        let said = self.plugin(tools, &folder, &["test", "no-drop.wasm", "fixtures"]);
        assert!(said.ends_with("2 cases passed\n"), "{said}");
        let said = self.plugin(tools, &folder, &["inspect", "no-drop.wasm"]);
        assert!(said.contains("other imports  none"), "{said}");
        home
    }

    /// The example of this name passes its fixtures.
    fn example(&self, tools: &Path, name: &str, cases: usize) {
        // Built where it lies, as its readers do it: what that leaves there is ignored by git.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("plugins/examples-{}/{name}", self.name));
        self.plugin(tools, &folder, &["build"]);
        let said = self.plugin(tools, &folder, &["test", &format!("{name}.wasm"), "fixtures"]);
        assert!(said.ends_with(&format!("{cases} cases passed\n")), "{said}");
    }
}

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

/// A router with the configuration that the project came with, whose demo server has a tool that drops things.
async fn router(home: &TempDir) -> (Router, Agent) {
    let folder = tempfile::tempdir().unwrap();
    for file in ["no-drop.wasm", "pointsman.toml"] {
        std::fs::copy(home.path().join("no-drop").join(file), folder.path().join(file)).unwrap();
    }
    let config = std::fs::read_to_string(folder.path().join("pointsman.toml")).unwrap();
    let router = Router::start_in(folder, &config.replace("\"pointsman\"", "\"@program\"")).await;
    router.ready("demo").await;
    let agent = Agent::modern(&router.address);
    let added = agent.call("add_tool", json!({ "name": "drop_table" })).await;
    assert_eq!(added.code(), 0, "{added:?}");
    let echo = agent.call("echo", json!({ "text": "hello" })).await;
    assert_eq!(echo.text(), Some("hello"), "{echo:?}");
    let denied = agent.call("drop_table", json!({ "text": "x" })).await;
    assert_eq!(denied.data("policy_code"), "no-drop", "{denied:?}");
    (router, agent)
}

/// The policy is built again as another one, and the running router takes that up.
async fn changes_its_mind(language: &Language, tools: &Path, home: &TempDir) {
    let (router, agent) = router(home).await;
    let folder = home.path().join("no-drop");
    let source = folder.join(language.source);
    let mut text = std::fs::read_to_string(&source).unwrap();
    for (old, new) in language.edits {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    std::fs::write(&source, text).unwrap();
    let out = router.path().join("no-drop.wasm");
    language.plugin(tools, &folder, &["build", "--out", out.to_str().unwrap()]);
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
    let Some(tools) = C.folder() else { return };
    let home = C.project(&tools);
    stays_well(home.path().join("no-drop/no-drop.wasm"), 1_000).await;
    changes_its_mind(&C, &tools, &home).await;
    C.example(&tools, "label-guard", 6);
}

#[tokio::test]
async fn go_from_nothing_to_a_call() {
    let Some(tools) = GO.folder() else { return };
    let home = GO.project(&tools);
    // Beyond the thousands at which the collector has been the end of others.
    stays_well(home.path().join("no-drop/no-drop.wasm"), 10_000).await;
    changes_its_mind(&GO, &tools, &home).await;
    GO.example(&tools, "office-hours", 7);
}

#[tokio::test]
async fn python_from_nothing_to_a_call() {
    let Some(tools) = PYTHON.folder() else { return };
    let home = PYTHON.project(&tools);
    // This also leaves the compiled component in the cache, where the router below finds it.
    stays_well(home.path().join("no-drop/no-drop.wasm"), 2_500).await;
    router(&home).await;
    PYTHON.example(&tools, "argument-guard", 5);
}
