//! Children on Unix: one process group each, ended as a whole.
//!
//! **Why it is safe to signal a group by its number.** A process id is given out again only when no process and no
//! group uses it any more. The leader's id is also its group's, and an ended leader keeps its id until it is reaped.
//! So every signal in this file is sent while the leader is not reaped yet: its end is noticed with `WNOWAIT`, which
//! leaves it a zombie, then the rest of the group is killed, and only then is it reaped. Afterwards nothing is signalled.
//!
//! **Why not `PR_SET_PDEATHSIG`**, which would end the child with the router: it is bound to the *thread* that spawned
//! the child. Tokio ends idle threads, and the child would be killed although the router lives. It also misses
//! grandchildren. A process that left its group by `setsid` escapes this file too; only a guardian process between
//! router and child, or a cgroup, can hold that.

use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio::time::{Instant, Sleep, sleep};

use super::{Child, Control, Exit, SpawnError, Spec, Waiting};

/// Room in a pipe: a target that stalls for a moment then does not stall its writer. Not larger, because Linux counts
/// all pipes of a user, and past 64 MiB in total gives every new pipe of that user, in any program, 8 KiB.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 256 * 1024;

/// How often an end is looked for without a SIGCHLD, which whoever started the router may have left blocked.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// Starts a child that leads its own group.
pub(super) fn spawn(spec: &Spec) -> Result<Child, SpawnError> {
    let failed = |error| SpawnError::from_io(spec, error);
    // Listening begins before there is anything to hear: the end of a short child is not missed.
    let ends = signal(SignalKind::child()).map_err(|error| other(spec, error))?;
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns children")]
    let mut command = tokio::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .process_group(0);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let mut child = command.spawn().map_err(failed)?;

    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let ((Some(stdin), Some(stdout), Some(stderr)), Some(group)) = (pipes, group) else {
        return Err(other(
            spec,
            std::io::Error::other("the system gave no pipes or no process id"),
        ));
    };
    #[cfg(target_os = "linux")]
    {
        // Best effort: an unprivileged user over the limit keeps pipes of the usual size.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE_BYTES);
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE_BYTES);
    }
    Ok(Child {
        pid: group.as_raw_pid().cast_unsigned(),
        stdin: Box::pin(stdin),
        stdout: Box::pin(stdout),
        stderr: Box::pin(stderr),
        control: Box::new(Group {
            leader: child,
            group,
            ends,
            look: true,
            look_anyway: Box::pin(sleep(LOOK_ANYWAY)),
            exit: None,
        }),
    })
}

fn other(spec: &Spec, error: std::io::Error) -> SpawnError {
    SpawnError::Other {
        program: spec.program.clone(),
        error,
    }
}

/// A process group whose leader is our child.
struct Group {
    leader: tokio::process::Child,
    group: Pid,
    ends: Signals,
    /// Whether there is a reason to look: whoever waits begins anew after every line that the child says, and must
    /// not pay a system call each time.
    look: bool,
    look_anyway: Pin<Box<Sleep>>,
    /// Set exactly when the leader was reaped: from then on the number may be somebody else's.
    exit: Option<Exit>,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if self.exit.is_none() {
            // An error means that nobody is left to hear it.
            let _ = kill_process_group(self.group, signal);
        }
    }

    /// Looks whether the leader has ended. If so, what is left of its group is killed, and only then is it reaped.
    fn look(&mut self) -> Option<Exit> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.group), look) {
            Ok(Some(_)) => self.signal(Signal::KILL),
            Ok(None) | Err(rustix::io::Errno::INTR) => return None,
            // Not our child any more: reaped behind our back, so its number is nobody we know. Not signalled.
            Err(_) => {
                return Some(*self.exit.insert(Exit {
                    code: None,
                    signal: None,
                }));
            }
        }
        let status = self.leader.try_wait().ok().flatten();
        let exit = status.map_or(
            Exit {
                code: None,
                signal: None,
            },
            |status| Exit {
                code: status.code(),
                signal: status.signal(),
            },
        );
        Some(*self.exit.insert(exit))
    }
}

impl Control for Group {
    fn wait(&mut self) -> Waiting<'_> {
        Box::pin(async move {
            loop {
                if let Some(exit) = self.exit {
                    return exit;
                }
                if std::mem::take(&mut self.look)
                    && let Some(exit) = self.look()
                {
                    return exit;
                }
                // Either way round we look again: a signal may be another child's, and several may come as one.
                tokio::select! {
                    _ = self.ends.recv() => {}
                    () = &mut self.look_anyway => {}
                }
                self.look = true;
                self.look_anyway.as_mut().reset(Instant::now() + LOOK_ANYWAY);
            }
        })
    }

    fn terminate(&mut self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The zombie is left to tokio, which reaps dropped children when it hears of their end.
        self.signal(Signal::KILL);
    }
}
