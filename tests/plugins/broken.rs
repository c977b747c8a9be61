//! Files that are no good policy: each is refused at the right stage, with a reason that helps.

use std::path::PathBuf;

use pointsman::config::Plugin;
use pointsman::plugin::{Compiler, Host, Problem, Stage, embedded as embedded_bytes};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::support::*;

/// Loads these bytes and hands back why that failed.
async fn refused(bytes: &[u8], config: Value) -> (Stage, Problem, String) {
    let home = tempfile::tempdir().unwrap();
    let path: PathBuf = home.path().join("plugin.wasm");
    std::fs::write(&path, bytes).unwrap();
    let error = host()
        .load("p", &file(path, config))
        .await
        .err()
        .expect("it was loaded");
    let text = error.to_string();
    assert!(text.starts_with("plugin p: rejected at "), "{text}");
    (error.stage(), error.problem, text)
}

/// The test guest with one name changed to another of the same length, everywhere.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(built("guests/guest-a.wasm")).unwrap();
    let mut found = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from.as_bytes()) {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "{from} does not occur");
    bytes
}

#[tokio::test]
async fn truncated_files() {
    let whole = embedded_bytes("default-route").unwrap();
    for length in [9, 100, whole.len() / 2, whole.len() - 1] {
        let (stage, problem, text) = refused(&whole[..length], json!({})).await;
        assert_eq!(stage, Stage::Verify, "{length}: {text}");
        assert!(matches!(problem, Problem::Truncated(_)), "{length}: {text}");
    }
}

#[tokio::test]
async fn bytes_other_than_the_pinned_ones() {
    let host = host();
    let pinned = |digest: &str| Plugin {
        sha256: Some(digest.to_owned()),
        ..guest(json!({ "do": "tag" }))
    };
    let wanted = "0".repeat(64);
    let error = host.load("p", &pinned(&wanted)).await.err().expect("it was loaded");
    assert_eq!(error.stage(), Stage::Verify);
    let Problem::Digest { found, .. } = &error.problem else {
        panic!("{error}");
    };
    let text = error.to_string();
    assert!(text.contains(found.as_str()) && text.contains(&wanted), "{text}");
    let loaded = host.load("p", &pinned(found)).await.unwrap();
    assert_eq!(loaded.digest(), found);
    // The digest is compared before anybody looks into the bytes.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("plugin.wasm");
    std::fs::write(&path, b"junk").unwrap();
    let junk = Plugin {
        sha256: Some(wanted),
        ..file(path, json!({}))
    };
    assert!(matches!(
        host.load("q", &junk).await.err().unwrap().problem,
        Problem::Digest { .. }
    ));
}

#[tokio::test]
async fn other_files() {
    let (stage, problem, _) = refused(b"#!/bin/sh\n", json!({})).await;
    assert_eq!(stage, Stage::Verify);
    assert!(matches!(problem, Problem::NotWasm));
    // A core module that does not say which component it is to become.
    let (stage, problem, text) = refused(b"\0asm\x01\0\0\0", json!({})).await;
    assert_eq!(stage, Stage::Verify);
    assert!(matches!(problem, Problem::CoreModule));
    assert!(text.contains("wasm-tools component new"), "{text}");
}

#[tokio::test]
async fn a_core_module_with_a_component_type_is_a_plugin() {
    let path = built("guests/core-module.wasm");
    let module = std::fs::read(&path).unwrap();
    let host = host();
    let loaded = host.load("p", &file(path, json!({}))).await.unwrap();
    let component = host.load("q", &guest(json!({}))).await.unwrap();
    assert_eq!(loaded.hooks(), component.hooks());
    // The operator sees the digest of the file, not of what was made of it.
    let digest: String = Sha256::digest(&module).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(loaded.digest(), digest);
    // Cut short, it is refused like any other file.
    let (stage, problem, text) = refused(&module[..module.len() / 2], json!({})).await;
    assert_eq!(stage, Stage::Verify, "{text}");
    assert!(matches!(problem, Problem::Truncated(_)), "{text}");
}

/// The encoder may overflow its stack over a hostile module, which ends its process: that is not the router's.
#[tokio::test]
async fn a_module_that_breaks_the_encoder_breaks_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("encoder");
    std::fs::write(&program, "#!/bin/sh\nkill -ABRT $$\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let host = Host::new(&policies(), Compiler::Child(program)).unwrap();
    let plugin = file(built("guests/core-module.wasm"), json!({}));
    let error = host.load("p", &plugin).await.err().expect("it was loaded");
    assert_eq!(error.stage(), Stage::Verify);
    assert!(matches!(error.problem, Problem::NotComponentised(_)), "{error}");
    assert!(error.to_string().contains("signal: 6"), "{error}");
}

#[tokio::test]
async fn damaged_files() {
    let mut bytes = embedded_bytes("default-route").unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    let (stage, _, text) = refused(&bytes, json!({})).await;
    assert_eq!(stage, Stage::Verify, "{text}");
}

#[tokio::test]
async fn foreign_imports_are_listed() {
    let (stage, problem, text) = refused(
        &renamed("pointsman:policy/log@0.1.1", "wasi:sockets/network@0.2.6"),
        json!({}),
    )
    .await;
    assert_eq!(stage, Stage::Inspect, "{text}");
    let Problem::Imports(list) = problem else {
        panic!("{text}")
    };
    assert_eq!(list, ["wasi:sockets/network@0.2.6"]);
}

#[tokio::test]
async fn imports_of_wasi_that_there_are_stubs_for_are_refused_with_a_way_out() {
    let bytes = renamed("pointsman:policy/log@0.1.1", "wasi:cli/environment@0.2.6");
    let (stage, problem, text) = refused(&bytes, json!({})).await;
    assert_eq!(stage, Stage::Inspect, "{text}");
    assert!(
        matches!(&problem, Problem::Wasi(list) if list == &["wasi:cli/environment@0.2.6"]),
        "{text}"
    );
    assert!(text.contains("or add `wasi = true` to its grants"), "{text}");
}

#[tokio::test]
async fn another_contract_exports_no_hook() {
    let bytes = renamed("pointsman:policy/", "someoneee:policy/");
    let (stage, _, text) = refused(&bytes, json!({})).await;
    assert_eq!(stage, Stage::Inspect, "{text}");
    // An empty component.
    let (stage, problem, text) = refused(b"\0asm\x0d\0\x01\0", json!({})).await;
    assert_eq!(stage, Stage::Inspect);
    assert!(matches!(problem, Problem::NoHook(_)));
    assert!(text.contains("exports none of pointsman:policy/route@0.1"), "{text}");
}

#[tokio::test]
async fn another_shape_of_the_contract() {
    // An accessor that is not offered, and a hook with another type.
    for (from, to) in [("[method]call.header", "[method]call.headex"), ("narrow", "narrov")] {
        let (stage, problem, text) = refused(&renamed(from, to), json!({})).await;
        assert_eq!(stage, Stage::Inspect, "{text}");
        assert!(matches!(problem, Problem::Shape(_)), "{text}");
        assert!(text.contains(to), "{text}");
    }
}

#[tokio::test]
async fn a_later_contract_is_told_from_a_wrong_one() {
    // An interface that this contract does not have.
    let (stage, problem, text) = refused(&renamed("policy/log@0.1.1", "policy/pub@0.1.9"), json!({})).await;
    assert_eq!(stage, Stage::Inspect, "{text}");
    assert!(matches!(problem, Problem::Newer(_)), "{text}");
    let words =
        "it imports pointsman:policy/pub@0.1.9, and this router knows pointsman:policy@0.1.1: a later router is needed";
    assert!(text.ends_with(words), "{text}");
    // A function that an interface does not have, in a component that says that it is of a later one.
    let mut bytes = renamed("[method]call.header", "[method]call.headex");
    for at in 0..bytes.len() - 16 {
        if bytes[at..].starts_with(b"policy/types@0.1.1") {
            bytes[at + 17] = b'9';
        }
    }
    let (stage, problem, text) = refused(&bytes, json!({})).await;
    assert_eq!(stage, Stage::Inspect, "{text}");
    assert!(matches!(problem, Problem::NewerShape { .. }), "{text}");
    for part in ["built for pointsman:policy@0.1.9", "knows 0.1.1", "call.headex"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn an_init_that_fails() {
    let bytes = std::fs::read(built("guests/guest-b.wasm")).unwrap();
    for (word, reason) in [
        ("init-error", "guest b does not want to"),
        ("init-panic", "unreachable"),
        ("init-loop", "CPU budget"),
    ] {
        let (stage, _, text) = refused(&bytes, json!({ "do": word })).await;
        assert_eq!(stage, Stage::Probe, "{text}");
        assert!(text.contains(reason), "{text}");
    }
}
