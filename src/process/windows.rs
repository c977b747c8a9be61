//! Children on Windows: one job object each, ended as a whole.

use std::process::Stdio;

use process_wrap::tokio::{ChildWrapper, CommandWrap, JobObject, KillOnDrop};

use super::{Child, Control, Exit, SpawnError, Spec, Waiting};

/// Starts a child in its own job. The system closes the job, and with it every process inside, when the router ends.
pub(super) fn spawn(spec: &Spec) -> Result<Child, SpawnError> {
    let mut command = CommandWrap::with_new(&spec.program, |command| {
        command
            .args(&spec.args)
            .envs(spec.env.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &spec.cwd {
            command.current_dir(cwd);
        }
    });
    command.wrap(KillOnDrop).wrap(JobObject);
    let mut child = command.spawn().map_err(|error| SpawnError::from_io(spec, error))?;

    let pipes = (child.stdin().take(), child.stdout().take(), child.stderr().take());
    let ((Some(stdin), Some(stdout), Some(stderr)), Some(pid)) = (pipes, child.id()) else {
        let error = std::io::Error::other("the system gave no pipes or no process id");
        return Err(SpawnError::Other {
            program: spec.program.clone(),
            error,
        });
    };
    Ok(Child {
        pid,
        stdin: Box::pin(stdin),
        stdout: Box::pin(stdout),
        stderr: Box::pin(stderr),
        control: Box::new(Job { child, exit: None }),
    })
}

/// A job object and the child that was its first process.
struct Job {
    child: Box<dyn ChildWrapper>,
    exit: Option<Exit>,
}

impl Control for Job {
    fn wait(&mut self) -> Waiting<'_> {
        Box::pin(async move {
            if let Some(exit) = self.exit {
                return exit;
            }
            // The inner child, not the job: the job's own wait would last until the last grandchild has ended.
            let code = self
                .child
                .inner_mut()
                .wait()
                .await
                .ok()
                .and_then(|status| status.code());
            self.kill();
            *self.exit.insert(Exit { code, signal: None })
        })
    }

    fn terminate(&mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        // An error means that nobody is left to end.
        let _ = self.child.start_kill();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.kill();
    }
}
