//! Tools that a command of ours runs to their end: what they have to say to people goes where ours goes.

use std::io;
use std::path::Path;
use std::process::Stdio;

/// Runs a program in `folder`, without these variables of our environment: whether it went well, and its output.
pub fn run_tool(program: &str, args: &[&str], folder: &Path, without: &[&str]) -> io::Result<(bool, Vec<u8>)> {
    #[expect(clippy::disallowed_methods, reason = "this folder is where processes are started")]
    let mut command = std::process::Command::new(program);
    for name in without {
        command.env_remove(name);
    }
    command.args(args).current_dir(folder);
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let done = command.output()?;
    Ok((done.status.success(), done.stdout))
}
