//! `pointsman status`, `restart` and `reload`: questions to a running router over its admin socket.

use std::io::{Error, ErrorKind};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Whom, ended, print, show, welcome};
use crate::transport::local;

/// `pointsman status`.
#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    whom: Whom,
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
}

/// `pointsman restart`.
#[derive(Args, Debug)]
pub(super) struct Restart {
    /// Its name, as `pointsman status` shows it.
    backend: String,
    #[command(flatten)]
    whom: Whom,
}

/// `pointsman reload`.
#[derive(Args, Debug)]
pub(super) struct Reload {
    #[command(flatten)]
    whom: Whom,
}

impl Whom {
    /// The options that say which router, each with a space before it; for commands that are told to be typed.
    fn options(&self) -> String {
        welcome::options(self.socket.as_deref(), self.port)
    }

    /// The answer of that router.
    pub(super) fn ask(&self, command: &Value) -> Result<Value, String> {
        let path = match &self.socket {
            Some(path) => path.clone(),
            None => local::default_path(self.port).map_err(|e| e.to_string())?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let answer = runtime.block_on(local::ask(&path, command.clone())).map_err(|e| {
            let port = self.socket.is_none().then_some(self.port);
            unanswered(&e, &path, port)
        })?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

/// Why there is no answer from the socket at `path`, which is that of the router at `port` unless it was named.
fn unanswered(error: &Error, path: &Path, port: Option<u16>) -> String {
    let at = path.display();
    let nobody = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
    match (port, nobody) {
        (Some(port), true) => format!(
            "no router runs here with port {port} (its socket would be {at}): start one with `pointsman run`, or say \
             which with --port PORT; one with a `router.admin-socket` of its own is reached with --socket PATH"
        ),
        (Some(port), false) => format!("the router with port {port} does not answer at {at}: {error}"),
        (None, true) => format!("no router listens at {at}: its `router.admin-socket` says where it does"),
        (None, false) => format!("the router at {at} does not answer: {error}"),
    }
}

impl Status {
    pub(super) fn main(&self) -> ExitCode {
        ended(self.whom.ask(&json!({ "command": "status" })).map(|status| {
            if self.json {
                print(&serde_json::to_string_pretty(&status).unwrap_or_default());
            } else {
                print(&show::status(&status, &self.whom.options()));
            }
        }))
    }
}

impl Restart {
    pub(super) fn main(&self) -> ExitCode {
        let command = json!({ "command": "restart", "backend": self.backend });
        ended(self.whom.ask(&command).map(|_| {
            print(&format!(
                "{} restarts; its calls are held until it is ready",
                self.backend
            ))
        }))
    }
}

impl Reload {
    pub(super) fn main(&self) -> ExitCode {
        ended(self.whom.ask(&json!({ "command": "reload" })).and_then(|outcome| {
            let (words, all_well) = show::reloaded(&outcome);
            if all_well {
                print(&words);
                Ok(())
            } else {
                Err(words)
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asker_without_an_answer_learns_of_the_other_way() {
        let told = |kind: ErrorKind, port| unanswered(&kind.into(), Path::new("/run/x.sock"), port);
        let text = told(ErrorKind::NotFound, Some(7600));
        assert!(
            text.contains("port 7600") && text.contains("--socket PATH") && text.contains("/run/x.sock"),
            "{text}"
        );
        let text = told(ErrorKind::ConnectionRefused, None);
        assert!(
            text.contains("listens at /run/x.sock") && !text.contains("port"),
            "{text}"
        );
        assert!(told(ErrorKind::TimedOut, None).contains("does not answer"));
    }
}
