//! A real router with real children for the end-to-end tests: started, asked, killed, and always cleaned up.
#![allow(dead_code, reason = "several test binaries share it, and none uses all of it")]

pub mod agent;
pub mod fixture;
pub mod http;
pub mod tools;

use std::fs::{self, File};
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

#[allow(unused_imports, reason = "not every test binary calls as an agent")]
pub use agent::Agent;

/// How long anything may take: far above what it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_pointsman");

/// `reduced` in everyday runs, `full` where POINTSMAN_SOAK=1.
pub fn count(reduced: usize, full: usize) -> usize {
    if std::env::var_os("POINTSMAN_SOAK").is_some_and(|v| v == "1") {
        full
    } else {
        reduced
    }
}

/// Waits for something that must come.
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// Waits until `probe` gives something.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    until_async(what, async || probe()).await
}

/// The same with a probe that waits itself.
pub async fn until_async<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A router that runs. Dropping it stops it and whatever it started.
pub struct Router {
    child: Child,
    status: Option<ExitStatus>,
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// Its folder: configuration, log, socket, and what the test puts there.
    pub folder: TempDir,
    said: Mutex<Receiver<String>>,
}

impl Router {
    /// Starts a router with this configuration, to which the address, the admin socket and the cache are added.
    /// `@program` stands for the program, `@dir` for the folder.
    pub async fn start(config: &str) -> Router {
        Router::start_in(tempfile::tempdir().expect("a temporary folder"), config).await
    }

    /// The same in a folder that has files already.
    pub async fn start_in(folder: TempDir, config: &str) -> Router {
        write_config(folder.path(), config);
        let log = File::create(folder.path().join("router.log")).expect("the log is created");
        let mut child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(folder.path().join("pointsman.toml"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the router starts");
        let stdout = child.stdout.take().expect("its output is piped");
        let (sender, said) = sync_channel(1024);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.try_send(line);
            }
        });
        let mut router = Router {
            child,
            status: None,
            address: String::new(),
            folder,
            said: Mutex::new(said),
        };
        router.address = until("the endpoint", || {
            let line = router.said.lock().unwrap().try_recv();
            if let Err(std::sync::mpsc::TryRecvError::Disconnected) = line {
                panic!("the router ended before it listened");
            }
            let line = line.ok()?;
            let rest = line.split("http://").nth(1).or_else(|| line.split("https://").nth(1))?;
            Some(rest.split("/mcp").next()?.to_owned())
        })
        .await;
        until("the admin socket", || router.try_ask(&json!({ "command": "status" }))).await;
        router
    }

    /// Its folder, for another router to start in.
    pub fn take_folder(&mut self) -> TempDir {
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }

    /// Writes another configuration, with the same additions; the router takes it up by itself.
    pub fn configure(&self, config: &str) {
        write_config(self.path(), config);
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it wrote to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("router.log")).unwrap_or_default()
    }

    /// The lines of a file in its folder.
    pub fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn try_ask(&self, question: &Value) -> Option<Value> {
        let mut stream = UnixStream::connect(self.path().join("admin.sock")).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(format!("{question}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).take(16 << 20).read_line(&mut answer).ok()?;
        serde_json::from_str(&answer).ok()
    }

    /// Asks the admin socket.
    pub fn ask(&self, question: &Value) -> Value {
        self.try_ask(question).expect("the admin socket answers")
    }

    pub fn status(&self) -> Value {
        self.ask(&json!({ "command": "status" }))
    }

    /// What the status says of a backend.
    pub fn backend(&self, name: &str) -> Value {
        let status = self.status();
        let backends = status["backends"].as_array().unwrap();
        let one = backends.iter().find(|b| b["name"] == name);
        one.unwrap_or_else(|| panic!("no backend {name} in {status}")).clone()
    }

    /// Waits for a backend to be as `is` wants it.
    pub async fn backend_until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let backend = self.backend(name);
            if is(&backend) {
                return backend;
            }
            assert!(started.elapsed() < PATIENCE, "waited for {what}, but: {backend}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until so many calls are held.
    pub async fn held(&self, name: &str, calls: usize) {
        self.backend_until(name, &format!("{calls} held calls"), |b| b["held"] == calls)
            .await;
    }

    /// Waits until all targets of a backend are ready.
    pub async fn ready(&self, name: &str) -> Value {
        let ready = |b: &Value| b["targets"].as_array().unwrap().iter().all(|t| t["state"] == "ready");
        self.backend_until(name, "all targets ready", ready).await
    }

    /// Sends a signal to one target's process.
    pub fn signal(&self, name: &str, replica: usize, signal: Signal) -> u64 {
        let target = self.backend(name)["targets"][replica].clone();
        let pid = target["pid"].as_i64().unwrap_or_else(|| panic!("no process: {target}"));
        let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal);
        target["incarnation"].as_u64().unwrap()
    }

    /// Kills a target's process and waits until the router knows.
    pub async fn kill(&self, name: &str, replica: usize) -> u64 {
        let old = self.signal(name, replica, Signal::KILL);
        self.backend_until(name, "the death to be noticed", |b| {
            let target = &b["targets"][replica];
            target["incarnation"] != old || target["state"] != "ready"
        })
        .await;
        old
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the router is ours to wait for") {
                self.status = Some(status);
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the router did not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the router runs");
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let tail = log.lines().count().saturating_sub(60);
            println!("end of the router's log:");
            log.lines().skip(tail).for_each(|line| println!("  {line}"));
        }
        // Each child has a group of its own, and what it starts is in there too.
        let groups = if self.status.is_none() {
            children(self.pid())
        } else {
            Vec::new()
        };
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for group in groups {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn write_config(folder: &Path, config: &str) {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache");
    let mut text = format!("[policies]\ncache = {}\n", json!(cache)) + config;
    for (section, key) in [
        ("[listen]\n", "address = \"127.0.0.1:0\"\n"),
        (
            "[router]\n",
            "admin-socket = \"@dir/admin.sock\"\nkey-file = \"@dir/key\"\n",
        ),
    ] {
        text = match text.contains(section) {
            true => text.replacen(section, &format!("{section}{key}"), 1),
            false => format!("{section}{key}{text}"),
        };
    }
    let text = text
        .replace("@program", PROGRAM)
        .replace("@dir", &folder.display().to_string());
    // Moved into place: the router must never read half of it.
    let (aside, path) = (folder.join("pointsman.toml.new"), folder.join("pointsman.toml"));
    fs::write(&aside, text).expect("the configuration is written");
    fs::rename(aside, path).expect("the configuration is moved");
}

/// The processes that this one started and that still run.
pub fn children(of: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in parentheses may hold anything.
        let rest = stat.rsplit(") ").next().unwrap_or_default();
        if rest.split(' ').nth(1) == Some(&of.as_raw_nonzero().to_string()) {
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}

/// Whether a process is there and no zombie.
pub fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(pid).is_ok() && !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// A demo server behind a switch: while the switch is off its process waits and no handshake happens. Its flags
/// are read at every start.
pub struct Switch {
    folder: PathBuf,
    name: String,
}

impl Switch {
    /// Puts the script of backend `name` into a folder; on, with these flags. Run it as
    /// `command = "/bin/sh"`, `args = ["@dir/NAME.sh"]`.
    pub fn new(folder: &Path, name: &str, flags: &str) -> Switch {
        let switch = Switch {
            folder: folder.to_owned(),
            name: name.to_owned(),
        };
        let dir = folder.display();
        let script = format!(
            "until [ -e {dir}/{name}.on ]; do sleep 0.02; done\nexec {PROGRAM} demo-server $(cat {dir}/{name}.flags)\n"
        );
        fs::write(folder.join(format!("{name}.sh")), script).unwrap();
        switch.flags(flags);
        switch.on();
        switch
    }

    pub fn flags(&self, flags: &str) {
        fs::write(self.folder.join(format!("{}.flags", self.name)), flags).unwrap();
    }

    pub fn on(&self) {
        fs::write(self.folder.join(format!("{}.on", self.name)), "").unwrap();
    }

    /// From the next start on.
    pub fn off(&self) {
        let _ = fs::remove_file(self.folder.join(format!("{}.on", self.name)));
    }

    /// Off at once: kills the process that runs and waits until the router has seen it.
    pub async fn down(&self, router: &Router) {
        self.off();
        router.kill(&self.name, 0).await;
    }
}
