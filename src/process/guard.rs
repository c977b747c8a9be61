//! A tool that ends with whoever wanted it, however that one ends: by itself, by a signal, or by SIGKILL.
//!
//! Between the two stands a guard, which is this program again. It leads a process group with the tool and all that the
//! tool starts, and has one end of a socket, of which the other one closes with its owner. When it does, the guard kills
//! the group, and itself with it: the group's number is its own, and cannot be somebody else's while it lives. It does the
//! same when the tool has ended, once it has said how: what the tool leaves behind works for nobody.
//!
//! What leaves its group by `setsid`, as servers of build systems do, goes on.
//!
//! For a terminal the group is one in the background. It is not made the one in front: whoever presses ^C means the command,
//! which would not hear it then. So nobody can be asked anything, and a tool that tries is ended and told of.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process_group, waitpid};

/// The hidden command of this program that calls [`guard_main`].
pub const GUARD_COMMAND: &str = "guard-tool";

/// Why a tool did not get to its end, where that is no fault of its own.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unguarded {
    /// The file of this program is not what it was.
    #[error("pointsman was replaced since it started, and cannot start itself again: start it anew")]
    Replaced,
    #[error("pointsman cannot start itself again as {}: {why}", program.display())]
    Unstarted { program: PathBuf, why: String },
    #[error(
        "it wanted to ask something at the terminal, which nobody can answer there: let it ask once by itself, run in the \
         project's folder, or give it the answer beforehand, as a passphrase to ssh-agent"
    )]
    Asked,
    /// Whoever asks for a password wants it not to be seen, before anything is read.
    #[error(
        "it wanted to change the terminal, as for a password, which nobody can type there: give it beforehand, as to \
         ssh-agent; where `stty tostop` is set every message is taken for that, and `stty -tostop` helps"
    )]
    Changed,
    #[error("it was killed")]
    Killed,
}

/// What a guard says at the end, by its first byte: an error of the system, or a status.
const UNSTARTED: u8 = b'u';
const ENDED: u8 = b'e';

/// Runs what `tool` says to its end, guarded: whether it went well, and its output.
pub(super) fn run(tool: &Command) -> io::Result<(bool, Vec<u8>)> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut guard = start(&std::env::current_exe()?, tool, theirs).map_err(io::Error::other)?;
    let output = guard.stdout.take();
    let output = thread::Builder::new().name("output".to_owned()).spawn(move || {
        let mut read = Vec::new();
        let done = output.map_or(Ok(0), |mut output| output.read_to_end(&mut read));
        done.map(|_| read)
    })?;
    let ended = end_of(&guard)?;
    // Behind it, for whoever else holds its standard output is gone only with its group.
    let output = output.join().map_err(|_| io::Error::other(Unguarded::Killed))??;
    let mut said = Vec::new();
    ours.read_to_end(&mut said)?;
    ended.map_err(io::Error::other)?;
    Ok((told(&said)?, output))
}

/// Starts the guard: `program`, which has this end of the socket.
fn start(program: &Path, tool: &Command, socket: UnixStream) -> Result<Child, Unguarded> {
    #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
    let mut guard = Command::new(program);
    guard.arg(GUARD_COMMAND).arg(tool.get_program()).args(tool.get_args());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => guard.env(name, value),
            None => guard.env_remove(name),
        };
    }
    if let Some(folder) = tool.get_current_dir() {
        guard.current_dir(folder);
    }
    guard.process_group(0).stdin(Stdio::from(OwnedFd::from(socket)));
    guard.stdout(Stdio::piped()).stderr(Stdio::inherit());
    // Our copy of its end goes with the command here, or reading from the other one would not end.
    guard.spawn().map_err(|error| match program.exists() {
        // The system says " (deleted)" behind the name of a file that is not there any more.
        false => Unguarded::Replaced,
        true => Unguarded::Unstarted {
            program: program.to_owned(),
            why: error.to_string(),
        },
    })
}

/// Waits for the end of a guard; one that is stopped for what its tool wants of the terminal would wait for ever.
fn end_of(guard: &Child) -> io::Result<Result<(), Unguarded>> {
    let pid = Pid::from_child(guard);
    let mut why = Ok(());
    loop {
        let Some((_, status)) = retry_on_intr(|| waitpid(Some(pid), WaitOptions::UNTRACED))? else {
            continue;
        };
        let Some(stopped) = status.stopping_signal() else {
            return Ok(why);
        };
        why = match stopped {
            stopped if stopped == Signal::TTIN.as_raw() => Err(Unguarded::Asked),
            stopped if stopped == Signal::TTOU.as_raw() => Err(Unguarded::Changed),
            // By somebody who may let it go on.
            _ => continue,
        };
        // It is there until it has been waited for, and so is its group.
        kill_process_group(pid, Signal::KILL)?;
    }
}

/// Whether the tool went well, by what its guard said at the end.
fn told(said: &[u8]) -> io::Result<bool> {
    let number = |digits: &[u8]| <[u8; 4]>::try_from(digits).ok().map(i32::from_ne_bytes);
    let known = said
        .split_first()
        .and_then(|(what, digits)| Some((*what, number(digits)?)));
    match known {
        Some((ENDED, status)) => Ok(ExitStatus::from_raw(status).success()),
        Some((UNSTARTED, error)) => Err(io::Error::from_raw_os_error(error)),
        _ => Err(io::Error::other(Unguarded::Killed)),
    }
}

/// What the guard does: runs `program` with `arguments`, whose standard input is not the socket that the guard has there.
pub fn guard_main(program: &OsString, arguments: &[OsString]) -> io::Result<ExitStatus> {
    let mut owner = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
    let mut command = Command::new(program);
    let started = command.args(arguments).stdin(Stdio::null()).spawn();
    let mut tool = match started {
        Ok(tool) => tool,
        Err(error) => {
            say(&mut owner, UNSTARTED, error.raw_os_error().unwrap_or_default())?;
            return Err(error);
        }
    };
    let mut reported = owner.try_clone()?;
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        // Nobody writes: it comes back when the owner is gone.
        let _ = owner.read(&mut [0]);
        let _ = kill_process_group(getpid(), Signal::KILL);
    })?;
    let ended = tool.wait()?;
    // First, for this ends with the group.
    say(&mut reported, ENDED, ended.into_raw())?;
    kill_process_group(getpid(), Signal::KILL)?;
    Ok(ended)
}

fn say(owner: &mut UnixStream, what: u8, number: i32) -> io::Result<()> {
    let [a, b, c, d] = number.to_ne_bytes();
    owner.write_all(&[what, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_gone_is_not_taken_for_the_tool() {
        #[expect(clippy::disallowed_methods, reason = "it is not started")]
        let tool = Command::new("true");
        let start = |program: &Path| start(program, &tool, UnixStream::pair().unwrap().0).unwrap_err();
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("pointsman (deleted)");
        assert_eq!(start(&program), Unguarded::Replaced);
        std::fs::write(&program, "").unwrap();
        assert!(
            start(&program)
                .to_string()
                .ends_with("(deleted): Permission denied (os error 13)")
        );
    }

    #[test]
    fn a_guard_that_says_nothing_was_killed() {
        assert_eq!(told(b"").unwrap_err().to_string(), "it was killed");
        assert_eq!(told(b"e\0\0").unwrap_err().to_string(), "it was killed");
        assert!(told(b"e\0\0\0\0").unwrap());
    }
}
