//! A spawner without processes: its children are pipes in memory whose other ends a test holds.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{DuplexStream, duplex};
use tokio::sync::{mpsc, watch};

use super::{Child, Control, Exit, SpawnError, Spawner, Spec, Waiting};

/// Room in each pipe.
pub const PIPE_BYTES: usize = 64 * 1024;
/// Signals that wait for the test to look; more of them are forgotten.
const SIGNALS: usize = 16;

/// What was done to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// [`Control::terminate`]. The child goes on: whether it listens is the test's affair.
    Terminate,
    /// [`Control::kill`]. The child has ended by signal 9: nobody can refuse that.
    Kill,
    /// The [`Control`] was dropped, which is a kill too.
    Dropped,
}

/// The child's side of a spawned child.
#[derive(Debug)]
pub struct MockChild {
    /// What was asked for.
    pub spec: Spec,
    /// Its made-up process id: 1 for the first.
    pub pid: u32,
    /// Read here what the router writes; its end is the router's closing of stdin.
    pub stdin: DuplexStream,
    /// Write here what the router reads. Dropping it is the end of stdout, not of the child.
    pub stdout: DuplexStream,
    /// Write here diagnostics.
    pub stderr: DuplexStream,
    /// Ends the child.
    pub handle: Handle,
    /// What was done to it, in order.
    pub asked: mpsc::Receiver<Asked>,
}

/// Ends a child.
#[derive(Clone, Debug)]
pub struct Handle {
    exit: watch::Sender<Option<Exit>>,
}

impl Handle {
    /// The child ends so. Only the first end counts.
    pub fn exit(&self, exit: Exit) {
        self.exit.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(exit);
            first
        });
    }

    /// Whether and how it has ended.
    pub fn exited(&self) -> Option<Exit> {
        *self.exit.borrow()
    }
}

/// The spawner. A test holds the receiver of its children.
#[derive(Debug)]
pub struct Mock {
    children: mpsc::Sender<MockChild>,
    failures: Mutex<VecDeque<SpawnError>>,
    last_pid: AtomicU32,
}

impl Mock {
    /// A spawner, and where its children arrive. A spawn fails when `capacity` of them wait to be taken.
    pub fn new(capacity: usize) -> (Arc<Self>, mpsc::Receiver<MockChild>) {
        let (children, spawned) = mpsc::channel(capacity);
        let mock = Self {
            children,
            failures: Mutex::default(),
            last_pid: AtomicU32::new(0),
        };
        (Arc::new(mock), spawned)
    }

    /// A coming spawn fails so; several calls queue up.
    pub fn fail_next(&self, error: SpawnError) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(error);
    }
}

impl Spawner for Mock {
    fn spawn(&self, spec: &Spec) -> Result<Child, SpawnError> {
        if let Some(error) = self.failures.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            return Err(error);
        }
        let pid = self.last_pid.fetch_add(1, Ordering::Relaxed) + 1;
        let (stdin, child_stdin) = duplex(PIPE_BYTES);
        let (child_stdout, stdout) = duplex(PIPE_BYTES);
        let (child_stderr, stderr) = duplex(PIPE_BYTES);
        let (asks, asked) = mpsc::channel(SIGNALS);
        let handle = Handle {
            exit: watch::Sender::new(None),
        };
        let control = Box::new(MockControl {
            handle: handle.clone(),
            asks,
        });
        let child = MockChild {
            spec: spec.clone(),
            pid,
            stdin: child_stdin,
            stdout: child_stdout,
            stderr: child_stderr,
            handle,
            asked,
        };
        self.children.try_send(child).map_err(|_| SpawnError::Other {
            program: spec.program.clone(),
            error: io::Error::new(io::ErrorKind::WouldBlock, "the test takes no more children"),
        })?;
        Ok(Child {
            pid,
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            control,
        })
    }
}

impl Spawner for Arc<Mock> {
    fn spawn(&self, spec: &Spec) -> Result<Child, SpawnError> {
        Mock::spawn(self, spec)
    }
}

struct MockControl {
    handle: Handle,
    asks: mpsc::Sender<Asked>,
}

impl MockControl {
    fn ask(&self, asked: Asked) {
        if self.handle.exited().is_none() {
            let _ = self.asks.try_send(asked);
        }
    }
}

impl Control for MockControl {
    fn wait(&mut self) -> Waiting<'_> {
        Box::pin(async move {
            let mut exit = self.handle.exit.subscribe();
            let known = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
            // The sender is in our own hands, so the wait ends with a value.
            known.unwrap_or(Exit::killed(9))
        })
    }

    fn terminate(&mut self) {
        self.ask(Asked::Terminate);
    }

    fn kill(&mut self) {
        self.ask(Asked::Kill);
        self.handle.exit(Exit::killed(9));
    }
}

impl Drop for MockControl {
    fn drop(&mut self) {
        self.ask(Asked::Dropped);
        self.handle.exit(Exit::killed(9));
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_test_plays_the_child() {
        let (mock, mut spawned) = Mock::new(4);
        let spec = Spec {
            program: "echo".into(),
            ..Spec::default()
        };
        let mut ours = mock.spawn(&spec).unwrap();
        let mut child = spawned.recv().await.unwrap();
        assert_eq!((child.pid, &child.spec), (ours.pid, &spec));

        ours.stdin.write_all(b"ping").await.unwrap();
        let mut word = [0; 4];
        child.stdin.read_exact(&mut word).await.unwrap();
        child.stdout.write_all(&word).await.unwrap();
        ours.stdout.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"ping");

        ours.control.terminate();
        assert_eq!(child.asked.recv().await, Some(Asked::Terminate));
        child.handle.exit(Exit::status(3));
        assert_eq!(ours.control.wait().await, Exit::status(3));
        ours.control.kill();
        assert_eq!(ours.control.wait().await, Exit::status(3));
        drop(ours);
        assert_eq!(child.asked.recv().await, None);
    }

    #[tokio::test]
    async fn kill_and_drop_end_it_and_failures_are_told_in_advance() {
        let (mock, mut spawned) = Mock::new(4);
        mock.fail_next(SpawnError::NotFound { program: "x".into() });
        assert!(mock.spawn(&Spec::default()).unwrap_err().is_permanent());

        let mut ours = mock.spawn(&Spec::default()).unwrap();
        ours.control.kill();
        assert_eq!(ours.control.wait().await, Exit::killed(9));
        assert_eq!(spawned.recv().await.unwrap().asked.recv().await, Some(Asked::Kill));

        drop(mock.spawn(&Spec::default()).unwrap());
        let mut child = spawned.recv().await.unwrap();
        assert_eq!(child.asked.recv().await, Some(Asked::Dropped));
        assert_eq!(child.handle.exited(), Some(Exit::killed(9)));
    }
}
