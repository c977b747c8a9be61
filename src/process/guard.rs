//! A tool that ends with whoever wanted it, however that one ends: by itself, by a signal, or by SIGKILL.
//!
//! Between the two stands a guard, which is this program again. It leads a process group with the tool and all that the
//! tool starts, and has one end of a socket, of which the other one closes with its owner. When it does, the guard kills
//! the group, and itself with it: the group's number is its own, and cannot be somebody else's while it lives.
//!
//! What leaves its group by `setsid`, as servers of build systems do, goes on.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Signal, getpid, kill_process_group};

/// The hidden command of this program that calls [`guard_main`].
pub const GUARD_COMMAND: &str = "guard-tool";

/// Runs what `tool` says to its end, guarded: whether it went well, and its output.
pub(super) fn run(tool: &Command) -> io::Result<(bool, Vec<u8>)> {
    let (ours, theirs) = UnixStream::pair()?;
    let output = {
        #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
        let mut guard = Command::new(std::env::current_exe()?);
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
        guard.process_group(0).stdin(Stdio::from(OwnedFd::from(theirs)));
        guard.stdout(Stdio::piped()).stderr(Stdio::inherit());
        guard.spawn()?.wait_with_output()?
        // Here goes our copy of its end of the socket, or the read below would not end.
    };
    match unstarted(ours)? {
        Some(error) => Err(error),
        None => Ok((output.status.success(), output.stdout)),
    }
}

/// What a guard that has ended left behind: why it could not start the tool.
fn unstarted(mut ours: UnixStream) -> io::Result<Option<io::Error>> {
    let mut said = Vec::new();
    ours.read_to_end(&mut said)?;
    let number = <[u8; 4]>::try_from(said).ok().map(i32::from_ne_bytes);
    Ok(number.map(io::Error::from_raw_os_error))
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
            owner.write_all(&error.raw_os_error().unwrap_or_default().to_ne_bytes())?;
            return Err(error);
        }
    };
    thread::Builder::new().name("owner".to_owned()).spawn(move || {
        // Nobody writes: it comes back when the owner is gone.
        let _ = owner.read(&mut [0]);
        let _ = kill_process_group(getpid(), Signal::KILL);
    })?;
    tool.wait()
}
