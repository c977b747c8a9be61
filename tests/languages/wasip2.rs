//! An ordinary build for `wasm32-wasip2`, which imports WASI for its standard library: refused, or served by stubs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::support::{Agent, Router, until};
use super::{done, here, plugin};

/// What it does beside its decision; a call of `drop_NAME` does that.
const BESIDE: &str = r#"
        use std::io::{Read as _, Write as _};
        println!("said of {:?}", call.name());
        eprint!("half a ");
        eprintln!("line");
        let _ = std::io::stdout().flush();
        let after_2020 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).is_ok_and(|t| t.as_secs() > 1_577_836_800);
        let began = std::time::Instant::now();
        let hashed: std::collections::HashMap<u8, u8> = [(1, 2)].into();
        let nothing = std::env::vars().count() + std::env::args().count() + std::io::stdin().read(&mut [0; 9]).unwrap_or(0);
        let no_file = std::fs::read("/etc/passwd").is_err();
        if !after_2020 || began.elapsed().as_secs() > 100 || hashed[&1] != 2 || nothing > 0 || !no_file {
            return Err(format!("{after_2020} {nothing} {no_file}"));
        }
        match call.name().as_deref() {
            Some("drop_out") => std::process::exit(3),
            Some("drop_asleep") => std::thread::sleep(std::time::Duration::from_secs(1)),
            _ => {}
        }
"#;

fn built(home: &Path) -> PathBuf {
    done(home, &["new", "mine"]);
    let folder = home.join("mine");
    let source = std::fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    let marked = "-> Result<RouteChoice, String> {\n";
    assert!(source.contains(marked), "{source}");
    let source = source.replacen(marked, &format!("{marked}{BESIDE}"), 1);
    std::fs::write(folder.join("src/lib.rs"), source).unwrap();
    let target = here().join("target/tmp/wasip2-target");
    let cargo = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--offline",
            "--target",
            "wasm32-wasip2",
        ])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    target.join("wasm32-wasip2/release/mine.wasm")
}

/// The same bytes with other words of the same length.
fn renamed(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut made = bytes.to_vec();
    for at in 0..made.len() - old.len() {
        if made[at..].starts_with(old.as_bytes()) {
            made[at..at + new.len()].copy_from_slice(new.as_bytes());
        }
    }
    made
}

#[tokio::test]
async fn stubs_serve_an_ordinary_build_where_they_are_granted() {
    let home = tempfile::tempdir().unwrap();
    let component = built(home.path());
    let file = component.to_str().unwrap();
    let text = done(home.path(), &["inspect", file]);
    assert!(text.contains("wasi = true"), "{text}");
    let config = |grants: &str| {
        format!(
            "[plugins.mine]\nfile = {component:?}\nwall = \"5s\"\ngrants = {{ {grants} }}\n
[pipeline]\nroute = [\"mine\", \"default-route\"]\n
[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
        )
    };
    // What is granted beside it holds no less: components of the contract before run here, and of the one after.
    for patch in ["@0.1.0", "@0.1.9"] {
        let other = home.path().join("other.wasm");
        std::fs::write(&other, renamed(&std::fs::read(&component).unwrap(), "@0.1.1", patch)).unwrap();
        let text = done(home.path(), &["check", other.to_str().unwrap()]);
        assert!(text.contains("the router takes it"), "{patch}: {text}");
    }
    // Not unasked.
    let other = home.path().join("other.toml");
    std::fs::write(&other, config("log = true").replace("@program", "pointsman")).unwrap();
    let (good, _, error) = plugin(home.path(), &["check", file, "--config", "other.toml"]);
    assert!(
        !good
            && error.contains("rejected at inspect: it imports WASI, as ordinary builds for wasm32-wasip2 do (wasi:")
            && error.contains("add `wasi = true` to its grants"),
        "{error}"
    );

    let router = Router::start(&config("wasi = true")).await;
    let agent = Agent::modern(&router.address);
    assert_eq!(
        agent.call("echo", json!({ "text": "x" })).await.code(),
        0,
        "{}",
        router.log()
    );
    let denied = agent.call("drop_table", json!({})).await;
    assert_eq!((denied.code(), denied.data("policy_code")), (7008, json!("no-drop")));
    until("what it printed", || {
        let log = router.log();
        (log.contains("said of Some(\"echo\")") && log.contains("half a line")).then_some(())
    })
    .await;
    // What there is no stub for ends the hook, and the next call finds another instance.
    for (tool, why) in [
        ("drop_out", "it ended its process, which it does not have"),
        ("drop_asleep", "has no stub"),
    ] {
        assert_eq!(agent.call(tool, json!({})).await.code(), 7010);
        until("the fault in the log", || router.log().contains(why).then_some(())).await;
    }
    assert_eq!(agent.call("echo", json!({ "text": "x" })).await.code(), 0);
}
