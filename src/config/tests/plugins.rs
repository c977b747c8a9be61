//! What may be said of a plugin beside its bounds: the digest of its bytes, how the router goes on without it, its scope.

use insta::assert_snapshot;

use super::{problems, toml};
use crate::config::{OnLoadFailure, Plugin, PluginScope};

#[test]
fn what_is_said_of_a_plugin_is_read() {
    let config = toml(
        r#"
[plugins.p]
file = "p.wasm"
sha256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
on-load-failure = "closed"
[plugins.p.scope]
backends = ["git*", "files"]
tools = ["read_?"]
agents = { team = "a*", "the role" = "admin" }
"#,
    )
    .config;
    let plugin = &config.plugins["p"];
    assert_eq!(
        plugin.sha256.as_deref(),
        Some("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
    assert_eq!(plugin.on_load_failure, OnLoadFailure::Closed);
    let scope = &plugin.scope;
    assert_eq!(scope.backends.as_ref().map(Vec::len), Some(2));
    assert!(scope.tools.as_ref().is_some_and(|tools| tools[0].matches("read_1")));
    assert!(scope.agents["team"].matches("abc") && !scope.agents["the role"].matches("user"));
    assert_eq!(Plugin::default().on_load_failure, OnLoadFailure::Closed);
    assert_eq!(Plugin::default().scope, PluginScope::default());
}

#[test]
fn what_is_wrong_with_it_is_told() {
    assert_snapshot!(problems(r#"
[plugins.p]
file = "p.wasm"
sha256 = "e3b0"
on-load-failure = "shut"
[plugins.p.scope]
backend = ["git"]
tools = "read"
agents = { team = 1 }
"#), @r"
    pointsman.toml:4:10: `sha256` is no SHA-256; write the 64 hexadecimal digits that `sha256sum FILE` prints
    pointsman.toml:5:19: `on-load-failure` cannot be `shut`; known: `refuse-start`, `closed`, `open`
    pointsman.toml:7:1: unknown key `backend` in [plugins.p.scope]; did you mean `backends`?
    pointsman.toml:8:9: `tools` must be a list, not a string
    pointsman.toml:9:19: `team` must be a string, not a whole number
    ");
}
