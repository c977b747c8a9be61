//! `pointsman status`, `restart` and `reload`: questions to a running router over its admin socket.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{Whom, ended, print, show};
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
    fn ask(&self, command: &Value) -> Result<Value, String> {
        let path = match &self.socket {
            Some(path) => path.clone(),
            None => local::default_path(self.port).map_err(|e| e.to_string())?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let answer = runtime.block_on(local::ask(&path, command.clone())).map_err(|e| {
            let (at, port) = (path.display(), self.port);
            let what = match e.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => format!("no router runs here with port {port}"),
                _ => format!("the router with port {port} does not answer ({e})"),
            };
            format!(
                "{what} (its socket would be {at}): start one with `pointsman run`, or say which with --port or --socket"
            )
        })?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Status {
    pub(super) fn main(&self) -> ExitCode {
        ended(self.whom.ask(&json!({ "command": "status" })).map(|status| {
            if self.json {
                print(&serde_json::to_string_pretty(&status).unwrap_or_default());
            } else {
                print(&show::status(&status));
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
