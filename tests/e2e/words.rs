//! What the program says to the person at the terminal: it must be true, and what it tells to type must work.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Agent, PROGRAM, Router};

const BACKEND: &str = "
[backends.work]
command = \"@program\"
args = [\"demo-server\"]
";

/// Runs the program with `args` to its end.
fn program(args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(PROGRAM).args(args).output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (status.success(), text)
}

fn reload(router: &Router) -> (bool, String) {
    let socket = router.path().join("admin.sock");
    program(&["reload", "--socket", socket.to_str().unwrap()])
}

#[tokio::test]
async fn a_reload_tells_what_waits_what_was_applied_and_all_that_was_refused() {
    let router = Router::start(BACKEND).await;
    router.configure(&format!("[sessions]\ncapacity = 9\n{BACKEND}"));
    let (good, text) = reload(&router);
    assert!(
        good && text.contains("[sessions] changed and waits for a restart"),
        "{text}"
    );
    assert!(text.contains("all else is in force"), "{text}");

    // A plugin that is not there, one that answers another question, and a good backend.
    let more = "
[backends.more]
command = \"@program\"
args = [\"demo-server\"]
[plugins.gone]
file = \"gone.wasm\"
[pipeline]
route = [\"least-busy\", \"gone\"]
select = [\"default-route\"]
";
    router.configure(&format!("{BACKEND}{more}"));
    let (good, text) = reload(&router);
    assert!(!good, "{text}");
    for words in [
        "backends and endpoints were applied",
        "plugin gone: rejected at discover",
        "pipeline.route names least-busy, which does not export route",
        "pipeline.select names default-route, which does not export select",
        "the policies stay as they were: generation 1",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    router.ready("more").await;

    let file = router.path().join("pointsman.toml");
    let (good, checked) = program(&["check", "--config", file.to_str().unwrap()]);
    assert!(
        !good && checked.contains("pipeline.select names") && checked.contains("plugin gone"),
        "{checked}"
    );
    assert!(
        !checked.contains("pipeline.route names gone"),
        "once is enough: {checked}"
    );

    let (good, started) = program(&["run", "--config", file.to_str().unwrap()]);
    assert!(
        !good && started.contains("pipeline.select names") && started.contains("plugin gone"),
        "{started}"
    );

    router.configure("[nonsense]");
    let (good, text) = reload(&router);
    assert!(!good && text.contains("nothing of it was applied"), "{text}");
}

/// A router that ends with the test, however that ends. Its backends end with their input.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_router_for_everybody_without_a_home_starts_warns_and_is_reached_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let started = Command::new(PROGRAM)
        .args(["run", "--listen", "0.0.0.0:0"])
        .current_dir(folder.path())
        .env("HOME", "/proc")
        // It has the folder for temporary files to itself, and what was compiled there once is found again.
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("XDG_CACHE_HOME")
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("POINTSMAN_CONFIG")
        .env_remove("POINTSMAN_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Ended(started);
    let child = &mut child.0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().expect("it starts").unwrap();
    let address = first.split("http://").nth(1).and_then(|rest| rest.strip_suffix("/mcp"));
    let address = address.expect("it says where it listens").to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let tools = Agent::modern(&address).tools().await;
    assert!(tools.iter().any(|tool| tool == "alpha__read"), "{tools:?}");
    let port = address.rsplit(':').next().unwrap();
    let hint = format!("`pointsman status --port {port}` shows");
    assert!(lines.map_while(Result::ok).any(|line| line.contains(&hint)), "{hint}");

    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("WARN") && log.contains("can call all tools"), "{log}");
    assert!(log.contains("compiled components are kept in"), "{log}");
}
