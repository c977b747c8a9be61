//! Children: how a program is started, waited for and ended with everything it started itself.
//!
//! The rest of the router sees pipes and a [`Control`]; which system calls are behind them is known in this folder only.
//! [`Native`] starts real processes, [`mock`] hands the pipes to a test.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(unix)]
mod detached;
mod error;
#[cfg(unix)]
mod guard;
#[doc(hidden)]
pub mod mock;
mod stderr;
#[cfg(all(test, unix))]
mod tests_unix;
mod tool;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use detached::{DETACH_COMMAND, detach, detach_main};
pub use error::SpawnError;
#[cfg(unix)]
pub use guard::{GUARD_COMMAND, guard_main};
pub use stderr::{MAX_LINE, StderrRing, pump};
pub use tool::Tool;

/// What to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// The program: a path, or a name looked up in `PATH`.
    pub program: String,
    /// Its arguments, passed as they are: no shell reads them.
    pub args: Vec<String>,
    /// Variables added to the router's own environment.
    pub env: Vec<(String, String)>,
    /// Its working directory; the router's own without one.
    pub cwd: Option<PathBuf>,
}

/// The end of a pipe that is read.
pub type BoxRead = Pin<Box<dyn AsyncRead + Send>>;
/// The end of a pipe that is written.
pub type BoxWrite = Pin<Box<dyn AsyncWrite + Send>>;
/// The future of [`Control::wait`].
pub type Waiting<'a> = Pin<Box<dyn Future<Output = Exit> + Send + 'a>>;

/// A started child.
pub struct Child {
    /// Its process id, which is also the id of its process group on Unix.
    pub pid: u32,
    /// What it reads. Dropping it is the polite request to end.
    pub stdin: BoxWrite,
    /// What it writes. The end of this stream says nothing about the process, and the other way round: a grandchild
    /// may hold the pipe after the child has ended.
    pub stdout: BoxRead,
    /// Its diagnostics; see [`pump`].
    pub stderr: BoxRead,
    /// Waits for it and ends it. Dropping it kills the child with its whole group.
    pub control: Box<dyn Control>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// Power over one child and all it started in its group.
///
/// Dropping it while the child lives kills the group: no path through the router leaves a child behind.
pub trait Control: Send {
    /// Resolves when the child itself has ended; what was left of its group is killed by then.
    ///
    /// Cancel safe, and may be called again after the end, with the same answer.
    fn wait(&mut self) -> Waiting<'_>;

    /// Asks the group to end: SIGTERM, then SIGCONT so that a stopped process hears it. On Windows the same as
    /// [`kill`](Self::kill). Does nothing after the end.
    fn terminate(&mut self);

    /// Ends the group now: SIGKILL, or the job's termination on Windows. Does nothing after the end.
    fn kill(&mut self);
}

/// Starts children.
pub trait Spawner: Send + Sync + 'static {
    /// Starts one. Returns when the program runs, or says why it cannot.
    fn spawn(&self, spec: &Spec) -> Result<Child, SpawnError>;
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The status it gave, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// Ended by itself with this status.
    pub fn status(code: i32) -> Self {
        Self {
            code: Some(code),
            signal: None,
        }
    }

    /// Ended by this signal.
    pub fn killed(signal: i32) -> Self {
        Self {
            code: None,
            signal: Some(signal),
        }
    }

    /// Ended by itself and content.
    pub fn is_success(self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exited with status {code}"),
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            (None, None) => f.write_str("ended, its status is not known"),
        }
    }
}

/// Names of the signals whose numbers are the same on every system, and the few others one meets in practice.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 if cfg!(target_os = "linux") => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 if cfg!(target_os = "macos") => "SIGBUS",
        11 => "SIGSEGV",
        12 if cfg!(target_os = "macos") => "SIGSYS",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 if cfg!(target_os = "linux") => "SIGSYS",
        _ => return None,
    })
}

/// Starts real processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

impl Spawner for Native {
    fn spawn(&self, spec: &Spec) -> Result<Child, SpawnError> {
        // Looked at first: the system's own error for a missing directory reads as if the program were missing.
        if let Some(cwd) = &spec.cwd
            && !cwd.is_dir()
        {
            return Err(SpawnError::BadDirectory {
                program: spec.program.clone(),
                directory: cwd.clone(),
            });
        }
        #[cfg(unix)]
        return unix::spawn(spec);
        #[cfg(windows)]
        return windows::spawn(spec);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_as_the_end_of_a_sentence() {
        assert_eq!(Exit::status(1).to_string(), "exited with status 1");
        assert_eq!(Exit::killed(9).to_string(), "was killed by signal 9 (SIGKILL)");
        assert_eq!(Exit::killed(64).to_string(), "was killed by signal 64");
        assert_eq!(
            Exit {
                code: None,
                signal: None
            }
            .to_string(),
            "ended, its status is not known"
        );
        assert!(Exit::status(0).is_success() && !Exit::killed(15).is_success());
    }
}
