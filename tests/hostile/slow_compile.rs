//! A compiler that hangs: nobody but the component waits for it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pointsman::app::App;
use pointsman::config;
use pointsman::shutdown::Shutdown;
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::support::router::{demo, replace};
use super::support::{Agent, Connection, Era, PATIENCE, guest, until};

/// A router inside of the test, whose compiler hangs as long as there is a file `hang`.
struct Inside {
    address: SocketAddr,
    folder: tempfile::TempDir,
    shutdown: Arc<Shutdown>,
    running: JoinHandle<()>,
}

impl Inside {
    async fn start(toml: &str, files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let compiler = folder.path().join("compiler");
        let here = folder.path().display();
        let script = format!(
            "#!/bin/sh\nif [ -e {here}/hang ]; then echo $$ > {here}/pid.new; mv {here}/pid.new {here}/pid; exec sleep 600; fi\nexec {:?} \"$@\"\n",
            env!("CARGO_BIN_EXE_pointsman")
        );
        fs::write(&compiler, script).unwrap();
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o700)).unwrap();
        let main = folder.path().join("pointsman.toml");
        write(&main, toml);
        let reader: pointsman::reload::Reader = Arc::new(move || config::load(&main));
        let app = App::build(Arc::clone(&reader), reader().unwrap(), compiler).await;
        let app = app.unwrap_or_else(|e| panic!("{e}"));
        let (address, shutdown) = (app.address, Arc::new(Shutdown::new()));
        let end = Arc::clone(&shutdown);
        let running = tokio::spawn(async move { app.run(&end).await });
        Self {
            address,
            folder,
            shutdown,
            running,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn hang(&self) {
        fs::write(self.at("hang"), "").unwrap();
    }

    /// The process that hangs, as soon as there is one; told once.
    async fn hanging(&self) -> Pid {
        let pid = until("a compiler hangs", || async {
            fs::read_to_string(self.at("pid")).ok()?.trim().parse().ok()
        })
        .await;
        fs::remove_file(self.at("pid")).unwrap();
        Pid::from_raw(pid).unwrap()
    }

    fn rewrite(&self, toml: &str) {
        write(&self.at("pointsman.toml"), toml);
    }

    async fn status(&self) -> Value {
        let mut connection = Connection::open(self.address).await;
        let request = b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n";
        connection.send(request).await.unwrap();
        serde_json::from_slice(&connection.reply().await.unwrap().body).unwrap()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) {
        until(what, || async { wanted(&self.status().await).then_some(()) }).await;
    }

    /// Which build answers.
    async fn tag(&self) -> String {
        let mut agent = Agent::new(self.address, Era::Modern, "/mcp").await;
        let call = agent.call("1", "echo", r#"{"text":""}"#).await;
        let tag = call.response["result"]["tag"].as_str();
        tag.unwrap_or_else(|| panic!("{}", call.response)).to_owned()
    }

    /// `pointsman reload`.
    fn reload(&self) -> JoinHandle<Value> {
        let path = self.at("admin.sock");
        tokio::spawn(async move {
            let socket = until("the admin socket", || async { UnixStream::connect(&path).await.ok() }).await;
            let (read, mut write) = socket.into_split();
            write.write_all(b"{\"command\":\"reload\"}\n").await.unwrap();
            let line = BufReader::new(read).lines().next_line().await.unwrap().unwrap();
            serde_json::from_str(&line).unwrap()
        })
    }

    async fn end(self) {
        self.shutdown.trigger();
        self.shutdown.force();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
    }
}

fn write(main: &Path, toml: &str) {
    let common = "[listen]\naddress = \"127.0.0.1:0\"\n[router]\nadmin-socket = \"admin.sock\"\n\
                  [policies]\ncache = \"cache\"\ncompile-timeout = \"10m\"\n";
    replace(main, format!("{toml}\n{common}").as_bytes());
}

fn plugin(name: &str, orders: &str) -> String {
    format!(
        "[plugins.{name}]\nfile = \"{name}.wasm\"\nconfig = {{ do = \"{orders}\" }}\nwall = \"5s\"\ncpu = \"200ms\"\n"
    )
}

/// The same component in other bytes: an empty custom section is added.
fn other_bytes(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0, 2, 1, b'x']].concat()
}

fn gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

fn ready(status: &Value, name: &str) -> bool {
    let backends = status["backends"].as_array().unwrap();
    backends.iter().any(|b| b["name"] == name && b["state"] == "ready")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_configuration_do_not_wait_for_a_compile_that_hangs() {
    let (a, b) = (
        fs::read(guest("guest-a.wasm")).unwrap(),
        fs::read(guest("guest-b.wasm")).unwrap(),
    );
    let toml = |more: &str| {
        let pipeline = "[pipeline]\nroute = [\"p\"]\nselect = []\ntransform-list = []\n";
        format!("{}{}{}{pipeline}", demo("one", &[], ""), plugin("p", "tag"), more)
    };
    let router = Inside::start(&toml(""), &[("p.wasm", &a)]).await;
    router.until("it serves", |s| ready(s, "one")).await;
    assert_eq!(router.tag().await, "a");
    // It is told of once the router is asked, so that no change is missed.
    router.reload().await.unwrap();

    router.hang();
    replace(&router.at("p.wasm"), &b);
    let first = router.hanging().await;
    let reload = router.reload();
    router.rewrite(&toml(&demo("two", &[], "")));
    router.until("the new backend is there", |s| ready(s, "two")).await;
    assert_eq!(router.tag().await, "a");
    router.rewrite(&toml(""));
    router
        .until("and is gone again", |s| s["backends"].as_array().unwrap().len() == 1)
        .await;
    assert_eq!(router.tag().await, "a");
    assert!(!reload.is_finished(), "it waits for the load");
    assert_eq!(router.status().await["loading"], serde_json::json!(["p"]));
    assert!(!gone(first), "an edit of something else is no reason to begin anew");

    // A newer file.
    replace(&router.at("p.wasm"), &other_bytes(&b));
    let second = router.hanging().await;
    until("the older load has ended", || async { gone(first).then_some(()) }).await;
    fs::remove_file(router.at("hang")).unwrap();
    replace(&router.at("p.wasm"), &b);
    until("the newest file serves", || async {
        (router.tag().await == "b").then_some(())
    })
    .await;
    assert!(gone(second));
    let told = tokio::time::timeout(PATIENCE, reload).await.unwrap().unwrap();
    assert_eq!(told["rejected"], serde_json::json!({}), "{told}");
    assert_eq!(router.status().await["loading"], serde_json::json!([]));
    router.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_is_compiled_holds_up_what_belongs_to_it_and_nothing_else() {
    let (a, b) = (
        fs::read(guest("guest-a.wasm")).unwrap(),
        fs::read(guest("guest-b.wasm")).unwrap(),
    );
    let toml = |more: &str, route: &str| {
        let pipeline = format!("[pipeline]\nroute = [{route}]\nselect = []\ntransform-list = []\n");
        format!("{}{}{more}{pipeline}", demo("one", &[], ""), plugin("p", "tag"))
    };
    let files: [(&str, &[u8]); 3] = [("p.wasm", &a), ("q.wasm", &other_bytes(&b)), ("b.wasm", &b)];
    let router = Inside::start(&toml("", "\"p\""), &files).await;
    router.until("it serves", |s| ready(s, "one")).await;
    router.reload().await.unwrap();
    router.hang();
    router.rewrite(&toml(&plugin("q", "tag"), "\"q\", \"p\""));
    let q = router.hanging().await;
    assert_eq!(router.tag().await, "a", "the pipeline waits for its plugin");
    // It is not wanted any more.
    router.rewrite(&toml("", "\"p\""));
    until("its load has ended", || async { gone(q).then_some(()) }).await;
    assert_eq!(router.tag().await, "a");
    // The file of one hangs; that of another is replaced meanwhile.
    fs::remove_file(router.at("hang")).unwrap();
    router.rewrite(&toml(&plugin("q", "next"), "\"q\", \"p\""));
    router
        .until("both are there", |s| s["plugins"].as_array().unwrap().len() == 2)
        .await;
    router.hang();
    replace(&router.at("q.wasm"), &other_bytes(&a));
    let q = router.hanging().await;
    fs::remove_file(router.at("hang")).unwrap();
    replace(&router.at("p.wasm"), &other_bytes(&b));
    until("the other one is replaced", || async {
        (router.tag().await == "b").then_some(())
    })
    .await;
    assert!(!gone(q));
    router.end().await;
    assert!(gone(q), "no compiler is left behind");
}
