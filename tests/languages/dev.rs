//! `pointsman plugin dev`: an edit is built, tried and swapped into the router.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::support::{Agent, PATIENCE, PROGRAM, in_time};
use super::{done, here};

/// Waits for a line with these words: that line.
fn line(lines: &Receiver<String>, words: &str) -> String {
    loop {
        let line = lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("waited for {words:?}"));
        if line.contains(words) {
            return line;
        }
    }
}

#[tokio::test]
async fn an_edit_is_built_tried_and_serves() {
    let home = tempfile::tempdir().unwrap();
    done(home.path(), &["new", "mine"]);
    let folder = home.path().join("mine");
    let config = std::fs::read_to_string(folder.join("pointsman.toml")).unwrap();
    let config = config.replace("\"pointsman\"", &format!("{PROGRAM:?}"));
    let own = format!("[router]\nadmin-socket = {:?}\n", folder.join("admin.sock"));
    std::fs::write(folder.join("pointsman.toml"), own + &config).unwrap();
    // What does not build is said, and waited for.
    let source = std::fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    std::fs::write(
        folder.join("src/lib.rs"),
        source.replace("Ok(RouteChoice::Next)", "Ok("),
    )
    .unwrap();
    let mut dev = Command::new(PROGRAM)
        .args(["plugin", "dev", "--listen", "127.0.0.1:0"])
        .current_dir(&folder)
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TARGET_DIR", here().join("target/tmp/dev-target"))
        .env("XDG_CACHE_HOME", here().join("target/tmp/languages-cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = channel();
    let (out, err) = (dev.stdout.take().unwrap(), dev.stderr.take().unwrap());
    let of_err = sender.clone();
    std::thread::spawn(move || {
        BufReader::new(out)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|l| sender.send(l))
    });
    std::thread::spawn(move || {
        BufReader::new(err)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|l| of_err.send(l))
    });

    line(&lines, "waiting for a change");
    std::fs::write(folder.join("src/lib.rs"), &source).unwrap();
    line(&lines, "2 cases passed");
    let address = line(&lines, "http://127.0.0.1:");
    let address = address.split("http://").nth(1).unwrap().split('/').next().unwrap();
    let agent = Agent::modern(address);
    let denied = |code: &str| (7008, json!(code));
    let crash = async |agent: &Agent| {
        let outcome = agent.call("add_tool", json!({ "name": "drop_table" })).await;
        (outcome.code(), outcome.data("policy_code"))
    };
    assert_eq!(crash(&agent).await.0, 0);
    let dropped = agent.call("drop_table", json!({ "text": "x" })).await;
    assert_eq!((dropped.code(), dropped.data("policy_code")), denied("no-drop"));

    // Now it is adding that is refused; the fixtures say that this was not meant.
    std::fs::write(folder.join("src/lib.rs"), source.replace("\"drop\"", "\"add\"")).unwrap();
    line(&lines, "1 of 2 cases failed");
    line(&lines, "not swapped in; waiting for a change");
    assert_eq!(crash(&agent).await.0, 0);
    let fixture = folder.join("fixtures/route.toml");
    let meant = std::fs::read_to_string(&fixture)
        .unwrap()
        .replace("drop_table", "add_table");
    std::fs::write(&fixture, meant).unwrap();
    let swapped = async {
        while crash(&agent).await != denied("no-drop") {
            tokio::task::yield_now().await;
        }
    };
    in_time("the edit to serve", swapped).await;
    kill_process(Pid::from_child(&dev), Signal::TERM).unwrap();
    assert!(dev.wait().unwrap().success());
}
