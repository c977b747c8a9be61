//! Where components come from: pins, `plugins.lock`, what is pulled for it, and the router without a network.

use pointsman::config::{self, Locked, Source, sha256_of};

use super::server::*;

const PULL: [&str; 3] = ["pull", "--config", "pointsman.toml"];

#[tokio::test]
async fn a_reference_is_locked_pulled_and_loaded_without_a_network() {
    let (server, home) = (Server::start(), Home::new());
    let first = embedded_bytes("default-route");
    let (from, _) = server.publish("acme/guard", "1", &[(WASM, first)]);
    home.guard(&format!("from = \"{from}\""));

    // Nothing says which component it is.
    home.refused("there is no `sha256`, and none in plugins.lock: run `pointsman plugin lock`")
        .await;
    home.bad(&PULL, "run `pointsman plugin lock`");
    home.bad(&["lock", "--check"], "is not in plugins.lock");

    home.good(&["lock"], "new      guard  oci://");
    let lock = home.read("plugins.lock");
    assert!(lock.contains(&sha256_of(first)) && lock.contains(&from), "{lock}");
    let asked = server.asked();
    home.good(&["lock", "--check"], "is as it should be: 1 plugins");

    // From here on nobody is asked.
    assert_eq!(home.load().await.unwrap().digest(), sha256_of(first));
    home.good(&PULL, "is there");
    assert_eq!(server.asked(), asked);

    // The tag moves: that changes nothing until somebody wants it.
    let second = embedded_bytes("least-busy");
    server.publish("acme/guard", "1", &[(WASM, second)]);
    home.good(&["lock"], "is as it should be");
    assert_eq!(home.read("plugins.lock"), lock);
    // Another machine without the store is told, and gets nothing else.
    home.empty_store();
    home.refused("run `pointsman plugin pull --config FILE`").await;
    home.bad(&PULL, "is another component now: its SHA-256 is");
    home.good(&["lock", "--update", "guard"], "changed  guard");
    assert_eq!(home.settings().locked, Locked::To(sha256_of(second)));

    // What is in the store is looked at again.
    std::fs::write(home.stored(second), first).unwrap();
    home.refused(&format!("its SHA-256 is {}", sha256_of(first))).await;
    home.good(&PULL, "pulled, ");
    assert_eq!(std::fs::read(home.stored(second)).unwrap(), second);
}

#[tokio::test]
async fn a_file_is_locked_to_its_bytes() {
    let home = Home::new();
    home.guard("file = \"guard.wasm\"");
    home.write("guard.wasm", embedded_bytes("default-route"));
    // Without a lock any will do.
    assert_eq!(home.settings().locked, Locked::No);
    home.good(&["lock"], "new      guard  guard.wasm");
    // A lock goes to other machines.
    let lock = home.read("plugins.lock");
    assert!(lock.contains("from = \"guard.wasm\""), "{lock}");
    home.load().await.unwrap();

    home.write("guard.wasm", embedded_bytes("redact"));
    home.refused("rejected at verify: its SHA-256 is").await;
    home.refused("plugin lock").await;
    home.bad(&["lock", "--check"], "changed  guard  guard.wasm");

    // Another file than the one that was locked.
    home.guard("file = \"other.wasm\"");
    home.refused("it comes from other.wasm, and plugins.lock has it from guard.wasm")
        .await;
}

#[test]
fn a_lock_without_the_plugin_is_told_and_one_that_is_none_refused() {
    let home = Home::new();
    home.guard("file = \"guard.wasm\"");
    home.write("guard.wasm", embedded_bytes("default-route"));
    home.write("plugins.lock", "");
    let loaded = config::load(&home.path("pointsman.toml")).unwrap();
    let mut warnings = loaded.warnings.iter().map(ToString::to_string);
    assert!(
        warnings.any(|warning| warning.contains("plugin guard is not in plugins.lock")),
        "{:?}",
        loaded.warnings
    );
    assert!(loaded.files.iter().any(|file| file.ends_with("plugins.lock")));

    let sum = sha256_of(b"x");
    let entry = |sha256: &str| format!("[plugins.guard]\nfrom = \"guard.wasm\"\nsha256 = \"{sha256}\"\n");
    // Whoever writes it in capitals means the same.
    home.write("plugins.lock", entry(&sum.to_uppercase()));
    assert_eq!(home.settings().locked, Locked::To(sum));
    home.write("plugins.lock", entry("Z15b"));
    let problems = home.problems();
    assert!(problems.contains("`Z15b` of plugin guard is no SHA-256"), "{problems}");
    home.write("plugins.lock", "plugins = 5");
    let problems = home.problems();
    assert!(
        problems.contains("`pointsman plugin lock` writes it anew"),
        "{problems}"
    );
    home.bad(&["lock", "--check"], "plugins.lock");
    home.good(&["lock"], "new      guard  guard.wasm");
}

#[test]
fn a_source_that_the_configuration_cannot_mean_is_told() {
    let home = Home::new();
    for (keys, words) in [
        ("from = \"ghcr.io/acme/guard\"", "is no reference; write oci://"),
        (
            "from = \"oci://ghcr.io/acme/guard\"\nfile = \"x.wasm\"",
            "exclude each other",
        ),
        ("from = \"https://ann:pw@example.com/guard.wasm\"", "names a user"),
        ("sha256 = \"00\"", "is no SHA-256"),
        ("config = {}", "`file`, `embedded` or `from`"),
    ] {
        home.guard(keys);
        let problems = home.problems();
        assert!(problems.contains(words), "{keys}: {problems}");
    }
    home.guard("from = \"oci://ghcr.io/acme/guard:1\"");
    let pulled = Source::Pulled("oci://ghcr.io/acme/guard:1".to_owned());
    assert_eq!(home.settings().source, pulled);
}
