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
    home.good(&PULL, "pulled, ");
    assert_eq!(home.load().await.unwrap().digest(), sha256_of(first));
    home.good(&["lock", "--update", "guard"], "changed  guard");
    assert_eq!(home.locked(), sha256_of(second));

    // What is in the store is looked at again.
    std::fs::write(home.stored(second), first).unwrap();
    home.refused(&format!("its SHA-256 is {}", sha256_of(first))).await;
    home.good(&PULL, "pulled, ");
    assert_eq!(std::fs::read(home.stored(second)).unwrap(), second);
}

#[test]
fn what_is_locked_is_pulled_wherever_the_tag_has_gone() {
    let (server, home) = (Server::start(), Home::new());
    let [first, second] = ["default-route", "least-busy"].map(embedded_bytes);
    let (from, manifest) = server.publish("acme/guard", "1", &[(WASM, first)]);
    home.guard(&format!("from = \"{from}\""));
    home.good(&["lock"], "new      guard");
    let lock = home.read("plugins.lock");
    assert!(lock.contains(&format!("manifest = \"{manifest}\"")), "{lock}");
    let (_, other) = server.publish("acme/guard", "1", &[(WASM, second)]);

    home.empty_store();
    home.good(&PULL, "pulled, ");
    assert_eq!(std::fs::read(home.stored(first)).unwrap(), first);
    assert!(!home.stored(second).exists());

    // A registry may have forgotten what no tag leads to.
    server.remove(&format!("/v2/acme/guard/manifests/{manifest}"));
    home.empty_store();
    let text = home.bad(&PULL, "is another component now: its SHA-256 is");
    assert!(
        text.contains("`pointsman plugin lock --update` takes the new one"),
        "{text}"
    );
    let with_a_note = (WASM, first);
    server.publish("acme/guard", "1", &[with_a_note, ("text/plain", b"a note")]);
    home.good(&PULL, "pulled, ");
    home.good(&["lock", "--update"], "the same component in another manifest");

    // A lock of before has no manifest, and means the same.
    server.publish("acme/guard", "1", &[(WASM, second)]);
    let before = lock.replace(&format!("manifest = \"{manifest}\"\n"), "");
    assert_ne!(before, lock);
    home.write("plugins.lock", &before);
    home.good(&["lock"], "is as it should be");
    home.good(&PULL, "is there");
    home.empty_store();
    home.bad(&PULL, "is another component now");
    home.good(&["lock", "--update"], "changed  guard");
    assert_eq!(home.locked(), sha256_of(second));
    assert!(home.read("plugins.lock").contains(&other));

    home.write("plugins.lock", lock.replace(&manifest, "sha256:00"));
    let problems = home.problems();
    assert!(
        problems.contains("`sha256:00` of plugin guard is no digest of a manifest"),
        "{problems}"
    );
}

#[test]
fn a_reference_by_digest_needs_no_manifest_in_the_lock() {
    let (server, home) = (Server::start(), Home::new());
    let component = embedded_bytes("default-route");
    let (_, digest) = server.publish("acme/guard", "1", &[(WASM, component)]);
    home.guard(&format!("from = \"oci://{}/acme/guard@{digest}\"", server.address()));
    home.good(&["lock"], "new      guard");
    assert!(!home.read("plugins.lock").contains("manifest"));
    home.empty_store();
    home.good(&PULL, "pulled, ");
    home.good(&["lock", "--update"], "is as it should be");
}

#[test]
fn update_without_a_name_asks_for_all() {
    let (server, home) = (Server::start(), Home::new());
    let [first, second] = ["default-route", "least-busy"].map(embedded_bytes);
    let (from, _) = server.publish("acme/guard", "1", &[(WASM, first)]);
    server.put("/late.wasm", WASM, first);
    let late = server.url("/late.wasm");
    home.guard(&format!("from = \"{from}\"\n[plugins.late]\nfrom = \"{late}\""));
    home.good(&["lock"], "new      late");
    server.publish("acme/guard", "1", &[(WASM, second)]);
    server.put("/late.wasm", WASM, second);
    home.good(&["lock"], "is as it should be: 2 plugins");
    let text = home.good(&["lock", "--update", "late"], "changed  late");
    assert!(!text.contains("guard  oci"), "{text}");
    server.put("/late.wasm", WASM, first);
    let text = home.good(&["lock", "--update"], "changed  late");
    assert!(text.contains("changed  guard"), "{text}");
    home.bad(&["lock", "--update", "nobody"], "has no plugin nobody");
}

#[test]
fn whoever_pins_by_hand_is_told_to_change_that() {
    let (server, home) = (Server::start(), Home::new());
    let [first, second] = ["default-route", "least-busy"].map(embedded_bytes);
    let (from, _) = server.publish("acme/guard", "1", &[(WASM, first)]);
    home.guard(&format!("from = \"{from}\"\nsha256 = \"{}\"", sha256_of(second)));
    let text = home.bad(&PULL, "`sha256` in the configuration wants");
    assert!(
        text.contains("change it there if the new one is meant") && !text.contains("--update"),
        "{text}"
    );
    home.bad(&["lock"], "change `sha256` there if it is meant");
    home.guard(&format!("from = \"{from}\"\nsha256 = \"{}\"", sha256_of(first)));
    home.good(&PULL, "is there");
    home.empty_store();
    home.good(&PULL, "pulled, ");
    home.good(&["lock"], "new      guard");
    home.guard(&format!("from = \"{from}\"\nsha256 = \"{}\"", sha256_of(second)));
    home.bad(&PULL, "one of them is wrong");
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
    assert_eq!(home.locked(), sum);
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
fn a_lock_that_cannot_be_read_stays_as_it_is() {
    let home = Home::new();
    home.guard("file = \"guard.wasm\"");
    home.write("guard.wasm", embedded_bytes("default-route"));
    home.write("plugins.lock", b"\xff");
    home.bad(&["lock"], "plugins.lock: ");
    assert_eq!(std::fs::read(home.path("plugins.lock")).unwrap(), b"\xff");
}

#[test]
fn a_file_that_no_router_would_take_is_not_locked() {
    let home = Home::new();
    home.write("guard.wasm", embedded_bytes("default-route"));
    let rest = "[backends.demo]\ncommand = \"x\"\n[policies]\nmax-component = \"2KiB\"";
    home.write(
        "pointsman.toml",
        format!("[plugins.guard]\nfile = \"guard.wasm\"\n{rest}\n"),
    );
    home.bad(
        &["lock"],
        "guard.wasm: it is larger than 2048 bytes (policies.max-component)",
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_running_router_is_told_of_what_it_waits_for() {
    tokio::join!(
        is_told_by(&PULL, "is there"),
        is_told_by(&["lock"], "is as it should be")
    );
}

/// Starts a router that lacks a component, which this command gets; and nothing more at the second time.
#[cfg(target_os = "linux")]
async fn is_told_by(command: &[&str], nothing_more: &str) {
    use super::router::{Router, until};
    let (server, mut home) = (Server::start(), Home::new());
    let (from, _) = server.publish("acme/guard", "1", &[(WASM, embedded_bytes("default-route"))]);
    home.guard(&format!("from = \"{from}\""));
    home.good(&["lock"], "new      guard");
    home.empty_store();
    let config = format!(
        "store = \"@dir/data/pointsman/pulled\"\n[plugins.guard]\nfrom = \"{from}\"\n\
         [backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n[pipeline]\nroute = [\"guard\"]\n"
    );
    let router = Router::start_in(home.give(), &config).await;
    let refused = || router.status()["rejected"]["guard"].as_str().map(str::to_owned);
    let why = until("the refusal", refused).await;
    assert!(why.contains("run `pointsman plugin pull --config FILE`"), "{why}");

    home.good(command, "the running router was told: all is in force");
    assert_eq!(refused(), None);
    // There is nothing to tell any more.
    let text = home.good(command, nothing_more);
    assert!(!text.contains("router"), "{text}");
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
