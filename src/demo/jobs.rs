//! Calls that take time: what they do while they run, and how they are stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::wire;

/// A request answered later, detached from the message it came in.
pub struct Job {
    pub id: Box<RawValue>,
    work: Work,
}

/// What there is to do.
pub enum Work {
    /// Waits, then answers with `text`, a raw JSON string.
    Slow { ms: u64, text: String },
    /// Reports every step if the caller gave a token for it, then answers.
    Progress {
        token: Option<Box<RawValue>>,
        steps: u64,
        ms: u64,
    },
    /// Never answers.
    Hang,
    /// Acknowledges a subscription, then reports every change of the tool list if that was asked for.
    Listen { changes: Option<watch::Receiver<u64>> },
}

impl Job {
    pub fn new(id: &RawValue, work: Work) -> Self {
        Self {
            id: id.to_owned(),
            work,
        }
    }

    /// Whether it sends notifications before its answer, so that HTTP needs an event stream.
    pub fn streams(&self) -> bool {
        matches!(self.work, Work::Progress { token: Some(_), .. } | Work::Listen { .. })
    }

    /// Runs to the answer, sending whole message lines. A closed sink is no reason to stop: the side
    /// that closed it also decides whether the work goes on.
    async fn run(self, tail: &str, sink: &mpsc::Sender<Vec<u8>>) {
        let mut line = Vec::new();
        match self.work {
            Work::Slow { ms, text } => {
                sleep(Duration::from_millis(ms)).await;
                wire::push_text(&mut line, &self.id, &text, tail);
            }
            Work::Progress { token, steps, ms } => {
                for step in 1..=steps {
                    sleep(Duration::from_millis(ms)).await;
                    if let Some(token) = &token {
                        let rest = format!(r#","progress":{step},"total":{steps},"message":"step {step} of {steps}""#);
                        let params = ["\"progressToken\":", token.get(), &rest];
                        let mut line = Vec::new();
                        wire::push_notification(&mut line, "notifications/progress", &params);
                        let _ = sink.send(line).await;
                    }
                }
                let text = wire::quote(&format!("done after {steps} steps"));
                wire::push_text(&mut line, &self.id, &text, tail);
            }
            Work::Hang => std::future::pending().await,
            Work::Listen { changes } => return listen(&self.id, changes, sink).await,
        }
        let _ = sink.send(line).await;
    }
}

async fn listen(id: &RawValue, changes: Option<watch::Receiver<u64>>, sink: &mpsc::Sender<Vec<u8>>) {
    let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{}}}"#, id.get());
    let granted = match changes {
        Some(_) => r#","notifications":{"toolsListChanged":true}"#,
        None => r#","notifications":{}"#,
    };
    let mut line = Vec::new();
    let method = "notifications/subscriptions/acknowledged";
    wire::push_notification(&mut line, method, &[&meta, granted]);
    let _ = sink.send(line).await;
    let Some(mut changes) = changes else {
        return std::future::pending().await;
    };
    while changes.changed().await.is_ok() {
        let mut line = Vec::new();
        wire::push_notification(&mut line, "notifications/tools/list_changed", &[&meta]);
        let _ = sink.send(line).await;
    }
}

/// The jobs that run now, by the key their requests can be cancelled with.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    /// Tells a finished job from a later one that reuses its id.
    serial: u64,
    jobs: HashMap<String, (u64, AbortHandle)>,
}

impl Running {
    /// Starts a job; every line it sends goes to `sink`.
    pub fn start(&self, key: String, job: Job, tail: String, sink: mpsc::Sender<Vec<u8>>) -> AbortHandle {
        // Held until the job is in the table, or one that ends at once would be entered after its end.
        let mut table = self.table();
        table.serial += 1;
        let entry = Entry {
            running: self.clone(),
            key: key.clone(),
            serial: table.serial,
        };
        let task = tokio::spawn(async move {
            let _entry = entry;
            job.run(&tail, &sink).await;
        });
        let handle = task.abort_handle();
        let serial = table.serial;
        table.jobs.insert(key, (serial, handle.clone()));
        handle
    }

    /// Stops the job with this key, if it still runs; it will not answer.
    pub fn cancel(&self, key: &str) {
        let job = self.table().jobs.remove(key);
        if let Some((_, task)) = job {
            task.abort();
        }
    }

    /// Stops all of them.
    pub fn cancel_all(&self) {
        let jobs = std::mem::take(&mut self.table().jobs);
        for (_, task) in jobs.into_values() {
            task.abort();
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a job off the table when its task ends, however it ends.
struct Entry {
    running: Running,
    key: String,
    serial: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.running.table();
        let serial = table.jobs.get(&self.key).map(|(serial, _)| *serial);
        if serial == Some(self.serial) {
            table.jobs.remove(&self.key);
        }
    }
}
