//! A process that outlives the one that starts it: in a session of its own, with nobody as its parent.
//!
//! Clients end their servers with everything below them, group by group or parent by parent. A router that one of them
//! started serves others as well. So a first process makes a new session and starts the second in there, and ends:
//! the second has neither the group nor the parent by which it would be found.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;

use super::{BoxRead, SpawnError, Spec};

/// The hidden command of this program that calls [`detach_main`].
pub const DETACH_COMMAND: &str = "detach";

/// Starts `program` with `arguments`, detached, its diagnostics in `log`. What comes back is its output, which ends
/// when it does.
pub fn detach(program: &Path, arguments: &[OsString], log: File) -> Result<BoxRead, SpawnError> {
    #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
    let mut command = tokio::process::Command::new(program);
    command.arg(DETACH_COMMAND).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let spec = || Spec {
        program: program.display().to_string(),
        ..Spec::default()
    };
    let mut first = command.spawn().map_err(|error| SpawnError::from_io(&spec(), error))?;
    // It ends at once, and tokio reaps what is dropped.
    match first.stdout.take() {
        Some(output) => Ok(Box::pin(output)),
        None => Err(SpawnError::Other {
            program: spec().program,
            error: io::Error::other("the system gave no pipe"),
        }),
    }
}

/// What the first process does: starts `program`, which is this one, with `arguments` in a session of its own.
pub fn detach_main(program: &Path, arguments: &[OsString]) -> io::Result<()> {
    rustix::process::setsid()?;
    #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // Nobody waits for it: this process ends, and whoever inherits it reaps it.
    command.spawn().map(drop)
}
