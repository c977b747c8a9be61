//! Real children, told by their pipes what they have come to: no test here waits by the clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

fn sh(script: &str) -> Child {
    let args = vec!["-c".to_owned(), script.to_owned()];
    Native
        .spawn(&Spec {
            program: "/bin/sh".into(),
            args,
            ..Spec::default()
        })
        .unwrap()
}

/// Waits for what must come; the limit only keeps a broken test from hanging.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("must come soon")
}

async fn line(from: &mut BoxRead) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(soon(from.read_u8()).await.expect("a line"));
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

async fn rest(mut from: BoxRead) -> String {
    let mut rest = String::new();
    soon(from.read_to_string(&mut rest)).await.unwrap();
    rest
}

#[tokio::test]
async fn says_how_it_ended_as_often_as_asked() {
    let mut child = sh("exit 3");
    assert_eq!(soon(child.control.wait()).await, Exit::status(3));
    assert_eq!(soon(child.control.wait()).await, Exit::status(3));
    child.control.terminate();
    child.control.kill();
    assert_eq!(soon(child.control.wait()).await, Exit::status(3));
    assert_eq!(soon(sh("kill -ABRT $$").control.wait()).await, Exit::killed(6));
}

#[tokio::test]
async fn a_wait_may_be_given_up_and_taken_up_again() {
    let mut child = sh("read word; exit 4");
    assert!(child.control.wait().now_or_never().is_none());
    {
        let mut wait = pin!(child.control.wait());
        assert!(timeout(Duration::ZERO, wait.as_mut()).await.is_err());
    }
    child.stdin.write_all(b"go\n").await.unwrap();
    assert_eq!(soon(child.control.wait()).await, Exit::status(4));
}

#[tokio::test]
async fn many_short_lives_are_all_noticed() {
    let children: Vec<Child> = (0..40).map(|i| sh(&format!("exit {i}"))).collect();
    for (i, mut child) in children.into_iter().enumerate() {
        assert_eq!(soon(child.control.wait()).await, Exit::status(i as i32));
    }
}

#[tokio::test]
async fn gets_arguments_variables_directory_and_pipes() {
    let home = tempfile::tempdir().unwrap();
    let spec = Spec {
        program: "sh".into(),
        args: [
            "-c",
            "read word; pwd -P; echo \"$word $ONE $1\"; echo oops >&2",
            "sh",
            "a b",
        ]
        .map(Into::into)
        .into(),
        env: vec![("ONE".into(), "1".into())],
        cwd: Some(home.path().canonicalize().unwrap()),
    };
    let mut child = Native.spawn(&spec).unwrap();
    child.stdin.write_all(b"hello\n").await.unwrap();
    assert_eq!(soon(child.control.wait()).await, Exit::status(0));
    let directory = spec.cwd.unwrap().display().to_string();
    assert_eq!(rest(child.stdout).await, format!("{directory}\nhello 1 a b\n"));

    let ring = StderrRing::new(1000);
    soon(pump(child.stderr, ring.clone(), "echo".into(), 1)).await;
    assert_eq!(ring.last(10), ["oops"]);
}

#[tokio::test]
async fn closing_stdin_is_heard() {
    let mut child = sh("cat; exit 5");
    drop(child.stdin);
    assert_eq!(soon(child.control.wait()).await, Exit::status(5));
}

#[tokio::test]
async fn what_the_leader_leaves_behind_is_killed() {
    let mut child = sh("sleep 1000 & echo last words; exit 3");
    assert_eq!(soon(child.control.wait()).await, Exit::status(3));
    // The end of the stream proves that the sleeper, which held it, is gone.
    assert_eq!(rest(child.stdout).await, "last words\n");
}

#[tokio::test]
async fn terminate_may_be_ignored_and_kill_may_not() {
    // A busy shell: one that waits for a command would run its trap only after it.
    let mut child = sh("trap 'echo no' TERM; echo ready; while :; do :; done");
    assert_eq!(line(&mut child.stdout).await, "ready");
    child.control.terminate();
    assert_eq!(line(&mut child.stdout).await, "no");
    child.control.kill();
    assert_eq!(soon(child.control.wait()).await, Exit::killed(9));
    rest(child.stdout).await;
}

#[tokio::test]
async fn terminate_reaches_the_whole_group_and_a_stopped_child() {
    let mut child = sh("sleep 1000 & echo ready; wait");
    assert_eq!(line(&mut child.stdout).await, "ready");
    child.control.terminate();
    assert_eq!(rest(child.stdout).await, "");
    assert_eq!(soon(child.control.wait()).await, Exit::killed(15));

    let mut child = sh("echo ready; kill -STOP $$; echo never");
    assert_eq!(line(&mut child.stdout).await, "ready");
    child.control.terminate();
    assert_eq!(soon(child.control.wait()).await, Exit::killed(15));
    assert_eq!(rest(child.stdout).await, "");
}

#[tokio::test]
async fn dropping_its_control_kills_the_group() {
    let mut child = sh("trap '' TERM; sleep 1000 & echo ready; wait; sleep 1000");
    assert_eq!(line(&mut child.stdout).await, "ready");
    drop(child.control);
    assert_eq!(rest(child.stdout).await, "");
}

#[tokio::test]
async fn dropping_the_control_of_an_ended_leader_kills_what_it_left() {
    let mut child = sh("sleep 1000 & echo $$; exec 2>&-; exit 0");
    assert_eq!(line(&mut child.stdout).await, child.pid.to_string());
    drop(child.control);
    assert_eq!(rest(child.stdout).await, "");
}

/// A session of its own is out of our reach, but it must not hold us up.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_escaped_grandchild_with_our_pipes_does_not_delay_the_end() {
    let mut child = sh("exec 3<&0; setsid sh -c 'echo up; exec cat' <&3 & sleep 1000");
    assert_eq!(line(&mut child.stdout).await, "up");
    child.control.kill();
    assert_eq!(soon(child.control.wait()).await, Exit::killed(9));
    child.stdin.write_all(b"still here\n").await.unwrap();
    assert_eq!(line(&mut child.stdout).await, "still here");
    drop(child.stdin);
    assert_eq!(rest(child.stdout).await, "");
}

#[tokio::test]
async fn a_failed_start_is_told_apart() {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let fail = |program: String, cwd: Option<PathBuf>| loop {
        let spec = Spec {
            program: program.clone(),
            cwd: cwd.clone(),
            ..Spec::default()
        };
        match Native.spawn(&spec).map(|_| ()).unwrap_err() {
            // A child that another test is just starting holds our files open for writing until its exec.
            SpawnError::Other { error, .. } if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {}
            error => return error,
        }
    };
    assert!(matches!(
        fail("no-such-program-here".into(), None),
        SpawnError::NotFound { .. }
    ));
    assert!(matches!(
        fail("/no/such/program".into(), None),
        SpawnError::NotFound { .. }
    ));
    assert!(matches!(
        fail(file("plain", "echo", 0o600), None),
        SpawnError::NotExecutable { .. }
    ));
    assert!(matches!(
        fail(file("orphan", "#!/no/such\n", 0o700), None),
        SpawnError::NotExecutable { .. }
    ));
    assert!(matches!(
        fail(file("noise", "\u{1}\u{2}\n", 0o700), None),
        SpawnError::NotExecutable { .. }
    ));
    let below = home.path().join("plain/below").display().to_string();
    assert!(matches!(fail(below, None), SpawnError::NotFound { .. }));
    let gone = Some(home.path().join("gone"));
    assert!(matches!(fail("/bin/sh".into(), gone), SpawnError::BadDirectory { .. }));
    assert!(matches!(fail("/bin/sh\0".into(), None), SpawnError::Other { .. }));
}
