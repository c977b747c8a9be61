//! Includes, defaults for all backends, the default policies, and what is watched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use insta::assert_snapshot;

use super::super::{Backend, Config, Source, embedded, load, load_mcp_servers, parse};
use super::{toml, with_files};
use crate::policy::Hook;

const MAIN: &str = r#"
include = ["clients.json", "more/servers.toml"]
[backend-defaults]
trusted = true
env = { BOTH = "defaults", ONE = "1" }
gate = { wait = "5s" }
[backends.own]
command = "own"
env = { BOTH = "own" }
gate = { capacity = 7 }
"#;

#[test]
fn included_backends_start_from_the_defaults_of_the_main_file() {
    let files = [
        (
            "/etc/p/clients.json",
            r#"{"mcpServers": {"client": {"command": "c", "env": {"BOTH": "client"}}}}"#,
        ),
        (
            "/etc/p/more/servers.toml",
            "[backends.server]\ncommand = \"./s\"\n[plugins.p]\nfile = \"p.wasm\"\n[endpoints.e]\nbackends = [\"own\"]",
        ),
    ];
    let loaded = with_files(&files, |outside| parse(MAIN, Path::new("/etc/p/main.toml"), outside)).unwrap();
    let backends = &loaded.config.backends;
    assert_eq!(backends.keys().collect::<Vec<_>>(), ["client", "own", "server"]);
    assert!(
        backends
            .values()
            .all(|b| b.trusted && b.gate.wait == Duration::from_secs(5) && b.env["ONE"] == "1")
    );
    assert_eq!(backends["own"].env["BOTH"], "own");
    assert_eq!(backends["own"].gate.capacity, 7);
    assert_eq!(backends["client"].env["BOTH"], "client");
    assert_eq!(
        backends["server"].command, "/etc/p/more/s",
        "relative to the file that names it"
    );
    let watched = [
        "main.toml",
        "clients.json",
        "more/servers.toml",
        "plugins.lock",
        "more/p.wasm",
    ];
    assert_eq!(loaded.files, watched.map(|name| PathBuf::from("/etc/p").join(name)));
    assert_eq!(loaded.warnings.len(), 1);
    assert_snapshot!(loaded.warnings[0], @"/etc/p/more/servers.toml:3:10: the plugin `p` is never asked; name it in a list of [pipeline]");
}

#[test]
fn problems_of_all_files_are_told_at_once() {
    let main = "include = [\"a.toml\", \"a.toml\", \"gone.json\", \"x.yaml\", \"b.json\", 1]\n[backends.one]\ncommand = \"x\"\nreplicas = 0\n\
        [endpoints.e]\nbackends = [\"may-be-in-gone\"]\n";
    let files = [
        ("/etc/p/a.toml", "[listen]\n[backends.one]\ncommand = \"y\"\n"),
        ("/etc/p/b.json", "{\"mcpServers\": {\n\"one\": {\"command\": \"z\"}}}"),
    ];
    let found = with_files(&files, |outside| parse(main, Path::new("/etc/p/main.toml"), outside));
    assert_snapshot!(found.unwrap_err(), @"
    /etc/p/a.toml:1:2: `listen` at the top level: it belongs into the main file
    /etc/p/a.toml:2:11: the backend `one` is there twice; first at /etc/p/main.toml:2
    /etc/p/b.json:2:8: the backend `one` is there twice; first at /etc/p/main.toml:2
    /etc/p/main.toml:1:22: `/etc/p/a.toml` is included twice
    /etc/p/main.toml:1:32: `/etc/p/gone.json` cannot be read: entity not found
    /etc/p/main.toml:1:45: cannot tell what `/etc/p/x.yaml` holds; an included file ends in `.toml`, or in `.json` for `mcpServers` of a desktop client
    /etc/p/main.toml:1:65: item 6 of `include` must be a string, not a whole number
    /etc/p/main.toml:4:12: `replicas` must be from 1 to 64
    ");
}

#[test]
fn the_default_policies_are_there_until_they_are_switched_off() {
    let named = |text: &str| {
        let config = toml(text).config;
        let plugins = config.plugins.keys().cloned().collect::<Vec<_>>().join(" ");
        (
            plugins,
            config.pipeline.of(Hook::Route).join(" "),
            config.pipeline.of(Hook::Select).join(" "),
        )
    };
    let expected = |plugins: &str, route: &str, select: &str| (plugins.to_owned(), route.to_owned(), select.to_owned());
    assert_eq!(
        named(""),
        expected("default-names default-route least-busy", "default-route", "least-busy")
    );
    assert_eq!(
        named("[pipeline]\nroute = []\nselect = []\ntransform-list = []"),
        expected("", "", "")
    );
    assert_eq!(
        named("[pipeline]\nroute = []"),
        expected("default-names least-busy", "", "least-busy")
    );
    let own = "[plugins.default-route]\nfile = \"own.wasm\"";
    assert_eq!(
        named(own),
        expected("default-names default-route least-busy", "default-route", "least-busy")
    );
    assert_eq!(
        toml(own).config.plugins["default-route"].source,
        Source::File(PathBuf::from("/etc/p/own.wasm"))
    );
}

#[test]
fn an_empty_file_is_the_default_but_for_the_policies() {
    let config = toml("").config;
    let expected = Config {
        plugins: config.plugins.clone(),
        pipeline: config.pipeline.clone(),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn plugin_settings_become_json() {
    let config = toml(
        "[plugins.p]\nembedded = \"x\"\nconfig = { n = 0x10, f = 1.5, d = 2026-01-02, l = [1, \"a\", { b = true }] }",
    );
    assert_snapshot!(config.config.plugins["p"].config, @r#"{"d":"2026-01-02","f":1.5,"l":[1,"a",{"b":true}],"n":16}"#);
}

#[test]
fn without_a_file_there_are_two_demo_backends() {
    let config = embedded(Path::new("/usr/bin/pointsman"));
    assert_eq!(config.backends.keys().collect::<Vec<_>>(), ["alpha", "beta"]);
    let expected = Backend {
        command: "/usr/bin/pointsman".to_owned(),
        args: ["demo-server", "--name", "beta"].map(str::to_owned).to_vec(),
        trusted: true,
        ..Backend::default()
    };
    assert_eq!(config.backends["beta"], expected);
    assert_eq!(config.plugins, toml("").config.plugins);
}

#[test]
fn real_files_are_read_and_missing_ones_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, "[backends.a]\ncommand = \"x\"").unwrap();
    assert_eq!(load(&path).unwrap().files, [path]);
    for problems in [
        load(Path::new("no/such.toml")),
        load_mcp_servers(Path::new("no/such.toml")),
    ] {
        let told = problems.unwrap_err().to_string();
        assert!(told.starts_with("no/such.toml: cannot be read: "), "{told}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(toml("\u{feff}[router]\nworkers = 3").config.router.workers, 3);
}

#[test]
fn a_thousand_backends_load_at_once() {
    let text: String = (0..1000)
        .map(|n| format!("[backends.b{n}]\ncommand = \"x\"\nreplicas = 2\n"))
        .collect();
    assert_eq!(toml(&text).config.backends.len(), 1000);
}
