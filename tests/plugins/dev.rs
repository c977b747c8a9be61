//! `pointsman plugin dev` and `build`: with whom compilers end. The toolchain of these tests does as it is told.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::router::{PATIENCE, PROGRAM};
use super::support::built;

/// A project of which the first build is quick, and every other one takes an hour once it has said that it begins.
struct Project(tempfile::TempDir);

/// A command of ours, and what it and all that it started say.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Project {
    fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        let folder = project.folder();
        std::fs::create_dir(folder.join("src")).unwrap();
        std::fs::write(folder.join("Cargo.toml"), "[package]\nname = \"mine\"\n").unwrap();
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
        let socket = folder.join("admin.sock");
        let config = format!(
            "[router]\nadmin-socket = {socket:?}\n[plugins.mine]\nfile = \"mine.wasm\"\nwall = \"20s\"\n
             [backends.work]\ncommand = {PROGRAM:?}\nargs = [\"demo-server\"]\n"
        );
        std::fs::write(folder.join("pointsman.toml"), config).unwrap();
        project.script("rustc", "echo \"$PWD\"");
        let message = format!(
            "{{\"reason\":\"compiler-artifact\",\"manifest_path\":{:?},\"filenames\":[{:?}]}}",
            folder.join("Cargo.toml"),
            built("guests/core-module.wasm")
        );
        // The sleep is a process of its own, which the one that waits for it does not end.
        let quick = format!("test -e built || {{ touch built; echo '{message}'; exit; }}");
        project.script("cargo", &format!("{quick}\necho it begins >&2\nsleep 3600"));
        project
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn script(&self, name: &str, lines: &str) -> PathBuf {
        let script = self.folder().join(name);
        std::fs::write(&script, format!("#!/bin/sh\n{lines}\n")).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        script
    }

    fn touch(&self, text: &str) {
        std::fs::write(self.folder().join("src/lib.rs"), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Running {
        // Whoever runs tests in the background of a shell has them ignore SIGINT, and so would all that they start.
        self.run_by(&["env", "--default-signal=INT"], words)
    }

    /// The same at a terminal of its own, of which `first` is run before.
    fn run_at_terminal(&self, first: &str, words: &[&str]) -> Running {
        let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let then = format!("{first}; exec \"$0\" \"$@\"");
        self.run_by(&["python3", "-c", spawn, "sh", "-c", &then], words)
    }

    fn run_by(&self, by: &[&str], words: &[&str]) -> Running {
        let mut child = Command::new(by[0])
            .args(&by[1..])
            .args([PROGRAM, "plugin"])
            .args(words)
            .current_dir(self.folder())
            .env("CARGO", self.folder().join("cargo"))
            .env("RUSTC", self.folder().join("rustc"))
            .env(
                "XDG_CACHE_HOME",
                Path::new(env!("CARGO_TARGET_TMPDIR")).join("command-cache"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let of_err = sender.clone();
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let tell = |line: std::io::Result<String>| line.ok();
        std::thread::spawn(move || {
            BufReader::new(out)
                .lines()
                .map_while(tell)
                .try_for_each(|line| sender.send(line))
        });
        std::thread::spawn(move || {
            BufReader::new(err)
                .lines()
                .map_while(tell)
                .try_for_each(|line| of_err.send(line))
        });
        Running { child, lines }
    }
}

impl Running {
    /// Waits for a line with these words.
    fn says(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(words) => return,
                Ok(line) => said.push(line),
                Err(_) => panic!("waited for {words:?}: {said:#?}"),
            }
        }
    }

    /// Ends the command by a signal, and waits until nobody is left who could say anything: whether it went well.
    fn ends_by(self, signal: Signal) -> bool {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.ends().0
    }

    /// Waits until nobody is left who could say anything: whether it went well, and what was said.
    fn ends(mut self) -> (bool, String) {
        let until = Instant::now() + PATIENCE;
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => said += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the command or its compiler goes on: {said}"),
            }
            assert!(Instant::now() < until, "the command or its compiler goes on: {said}");
        }
        // It says nothing any more, and is as good as gone.
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.success(), said);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the command goes on: {said}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a test that failed; its compiler ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_compiler_that_asks_at_the_terminal_is_ended_and_told_of() {
    let changed = "it wanted to change the terminal";
    for (first, asks, words) in [
        (
            "true",
            "read answer </dev/tty",
            "it wanted to ask something at the terminal",
        ),
        ("true", "stty -echo </dev/tty", changed),
        ("stty tostop", "echo it begins >&2", changed),
    ] {
        let project = Project::new();
        project.script("cargo", &format!("{asks}\nsleep 3600"));
        let (good, said) = project.run_at_terminal(first, &["build"]).ends();
        assert!(!good && said.contains(words), "{asks}: {said}");
    }
}

#[test]
fn what_a_compiler_leaves_behind_ends_with_it() {
    let project = Project::new();
    let script = std::fs::read_to_string(project.folder().join("cargo")).unwrap();
    let script = script.trim_start_matches("#!/bin/sh\n");
    project.script("cargo", &format!("sleep 3600 &\n{script}"));
    let (good, said) = project.run(&["build"]).ends();
    assert!(good && said.contains("mine.wasm: "), "{said}");
}

#[test]
fn a_compiler_ends_with_the_command_that_it_works_for() {
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        for words in [&["build"][..], &["dev", "--no-run"], &["dev"]] {
            let project = Project::new();
            std::fs::write(project.folder().join("built"), "").unwrap();
            let running = project.run(words);
            running.says("it begins");
            assert!(!running.ends_by(signal), "{words:?}");
        }
    }
}

#[test]
fn a_compiler_ends_with_the_router_that_its_policy_is_for() {
    let project = Project::new();
    let running = project.run(&["dev", "--listen", "127.0.0.1:0"]);
    running.says("mine.wasm is in place");
    running.says("http://127.0.0.1:");
    project.touch("// edited");
    running.says("it begins");
    assert!(running.ends_by(Signal::TERM), "the router drains, and ends well");
}

#[test]
fn without_a_router_of_its_own_it_builds_at_every_change() {
    let project = Project::new();
    let running = project.run(&["dev", "--no-run"]);
    for n in 0..2 {
        running.says("mine.wasm is in place");
        assert!(project.folder().join("mine.wasm").is_file());
        std::fs::remove_file(project.folder().join("mine.wasm")).unwrap();
        std::fs::remove_file(project.folder().join("built")).unwrap();
        project.touch(&format!("// edited {n}"));
    }
    running.says("mine.wasm is in place");
    // What does not build is said, and nothing gets there.
    std::fs::remove_file(project.folder().join("mine.wasm")).unwrap();
    project.script("cargo", "echo it is out of order >&2; exit 1");
    project.touch("// edited again");
    running.says("it is out of order");
    running.says("not swapped in; waiting for a change");
    assert!(!project.folder().join("mine.wasm").exists());
    assert!(!running.ends_by(Signal::TERM));
}

#[test]
fn a_component_goes_where_its_link_leads_and_nothing_is_left_beside_it() {
    let project = Project::new();
    let folder = project.folder();
    let (link, there, aside) = (
        folder.join("mine.wasm"),
        folder.join("there.wasm"),
        folder.join(".dev.wasm"),
    );
    std::fs::write(&there, "").unwrap();
    std::os::unix::fs::symlink(&there, &link).unwrap();
    let running = project.run(&["dev", "--no-run"]);
    running.says("mine.wasm is in place");
    assert!(link.is_symlink() && std::fs::read(&there).unwrap().starts_with(b"\0asm"));
    assert!(!aside.exists());
    // The same where the fixtures do not let it get there.
    std::fs::remove_file(folder.join("built")).unwrap();
    std::fs::create_dir(folder.join("fixtures")).unwrap();
    std::fs::write(folder.join("fixtures/a.toml"), "refused = \"x\"\n").unwrap();
    running.says("not swapped in; waiting for a change");
    assert!(!aside.exists());
    assert!(!running.ends_by(Signal::TERM));
}
