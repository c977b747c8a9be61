//! Tools that a command of ours runs to their end: what they have to say to people goes where ours goes. On Unix they end
//! with the command, and so does all that they have started.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program with its words, to be run once.
#[derive(Debug)]
pub struct Tool(Command);

impl Tool {
    /// A program that is to run in `folder`.
    pub fn new(program: impl AsRef<OsStr>, folder: &Path) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        Self(command)
    }

    /// With these words behind those that it has.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.0.args(args);
        self
    }

    /// With these variables in its environment.
    #[must_use]
    pub fn with(mut self, variables: &[(&str, &str)]) -> Self {
        self.0.envs(variables.iter().copied());
        self
    }

    /// Without these variables of our environment.
    #[must_use]
    pub fn without(mut self, variables: &[&str]) -> Self {
        for name in variables {
            self.0.env_remove(name);
        }
        self
    }

    /// Runs it: whether it went well, and its output.
    #[cfg(unix)]
    pub fn run(self) -> io::Result<(bool, Vec<u8>)> {
        super::guard::run(&self.0)
    }

    /// Runs it: whether it went well, and its output.
    #[cfg(not(unix))]
    pub fn run(mut self) -> io::Result<(bool, Vec<u8>)> {
        let done = self.0.output()?;
        Ok((done.status.success(), done.stdout))
    }
}
