//! What is shown loads back to the same, for any configuration; and secrets are not shown.

use std::path::Path;

use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::dice::Dice;
use super::{toml, with_files};

proptest! {
    #[test]
    fn what_is_shown_loads_back(row in proptest::collection::vec(any::<u32>(), 0..400)) {
        let config = Dice(row.into_iter()).config();
        let shown = show(&config, Secrets::Shown);
        let loaded = with_files(&[("/keys.json", "{}")], |outside| parse(&shown, Path::new("/elsewhere/p.toml"), outside));
        match loaded {
            Ok(loaded) => prop_assert_eq!(loaded.config, config),
            Err(problems) => prop_assert!(false, "{problems}\n{shown}"),
        }
    }
}

#[test]
fn the_demo_loads_back() {
    let config = embedded(Path::new("/usr/bin/pointsman"));
    assert_eq!(toml(&show(&config, Secrets::Shown)).config, config);
}

#[test]
fn secrets_are_masked() {
    let mut config = toml(
        r#"
[backends.a]
command = "x"
args = ["--api-key=k1", "--token", "k2", "--port", "80"]
env = { GITHUB_TOKEN = "k3", db_password = "k4", HOST = "h" }
[plugins.p]
embedded = "p"
config = { url = "u", api-key = "k5", secrets = ["k6", { a = "k7", n = 78787 }] }
"#,
    )
    .config;
    config.plugins.retain(|name, _| name == "p");
    let shown = show(&config, Secrets::Masked);
    let lines = |text: &str| {
        text.lines()
            .filter(|l| l.contains("**"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_snapshot!(lines(&shown), @r#"
    config = { "api-key" = "********", "secrets" = ["********", { "a" = "********", "n" = "********" }], "url" = "u" }
    args = ["--api-key=********", "--token", "********", "--port", "80"]
    env = { "GITHUB_TOKEN" = "********", "HOST" = "h", "db_password" = "********" }
    "#);
    assert!(!shown.contains("78787"));
    assert!(show(&config, Secrets::Shown).contains("k5"));
    assert_eq!(config.plugins["p"].config["secrets"][1], json!({"a": "k7", "n": 78787}));
}
