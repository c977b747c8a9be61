//! What the program says to the person at the terminal: it must be true, and what it tells to type must work.

use std::process::{Command, Output};

use crate::support::{PROGRAM, Router};

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

    router.configure("[nonsense]");
    let (good, text) = reload(&router);
    assert!(!good && text.contains("nothing of it was applied"), "{text}");
}
