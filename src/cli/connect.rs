//! `pointsman connect`: what it is told, and the process around it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::run::{USUAL_FILE, listening_at, program};
use super::{Source, ended};
use crate::config;
use crate::connect::{Finder, Options, run};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Format};

/// `pointsman connect`.
#[derive(Args, Debug)]
pub(super) struct Connect {
    #[command(flatten)]
    source: Source,
    /// The endpoint `/mcp/NAME` instead of `/mcp`.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// The port of the router, whatever the configuration says.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Start no router: wait for one.
    #[arg(long)]
    no_start: bool,
    /// A header for every request, such as `X-Pointsman-Backend: git`, for policies; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = one_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How many seconds requests are held while there is no router.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    /// What is logged to stderr, as in `pointsman run`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log: String,
}

/// `NAME: VALUE`.
fn one_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    let name: HeaderName = name
        .trim()
        .parse()
        .map_err(|_| format!("{name:?} is no name of a header"))?;
    let ours = [
        "host",
        "accept",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
    ];
    if ours.contains(&name.as_str()) || name.as_str().starts_with("mcp-") {
        return Err(format!("{name} is set by the shim itself"));
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|_| "the value cannot stand in a header".to_owned())?;
    Ok((name, value))
}

/// Names as the configuration allows them.
fn path(endpoint: Option<&str>) -> Result<String, String> {
    let Some(name) = endpoint else {
        return Ok("/mcp".to_owned());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!("{name:?} is no name of an endpoint"));
    }
    Ok(format!("/mcp/{name}"))
}

impl Connect {
    pub(super) fn main(self) -> ExitCode {
        ended(self.connect())
    }

    fn connect(self) -> Result<(), String> {
        telemetry::init(Format::Text, &self.log).map_err(|e| e.to_string())?;
        let options = Options {
            path: path(self.endpoint.as_deref())?,
            headers: self.headers.iter().cloned().collect::<HeaderMap>(),
            start: !self.no_start,
            wait: Duration::from_secs(self.wait),
        };
        let finder = self.finder()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let outcome = runtime.block_on(async {
            let shutdown = Shutdown::new();
            shutdown.listen_to_signals().map_err(|e| e.to_string())?;
            run(options, finder, &shutdown).await;
            Ok(())
        });
        // A thread waits for the client's next line, which may never come.
        runtime.shutdown_background();
        outcome
    }

    fn finder(&self) -> Result<Finder, String> {
        let program = program()?;
        let (mut reader, name) = self.source.reader(program.clone());
        tracing::info!("configuration: {name}");
        let mut arguments: Vec<OsString> = vec!["run".into()];
        let mut named = |option: &str, path: &Path| -> Result<(), String> {
            let path = std::path::absolute(path).map_err(|e| e.to_string())?;
            arguments.extend([option.into(), path.into_os_string()]);
            Ok(())
        };
        let usual = PathBuf::from(USUAL_FILE);
        match (&self.source.config, &self.source.mcp_servers) {
            (Some(path), _) => named("--config", path)?,
            (None, Some(path)) => named("--mcp-servers", path)?,
            (None, None) if usual.exists() => named("--config", &usual)?,
            (None, None) => {}
        }
        if let Some(port) = self.port {
            let listen = config::Listen::default();
            let mut address = reader().map_or(listen.address, |loaded| loaded.config.listen.address);
            address.set_port(port);
            reader = listening_at(address, reader);
            arguments.extend(["--listen".into(), address.to_string().into()]);
        }
        Ok(Finder {
            reader,
            port: self.port,
            program,
            arguments,
            known: Mutex::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_endpoints_are_checked_before_anything_is_sent() {
        let (name, value) = one_header("X-Pointsman-Backend:  git ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-pointsman-backend", "git"));
        for bad in ["x", "a b: c", "Mcp-Session-Id: 7", "host: x", "x: a\nb"] {
            assert!(one_header(bad).is_err(), "{bad}");
        }
        assert_eq!(path(Some("git-2")).unwrap(), "/mcp/git-2");
        assert!(path(Some("a/b")).is_err() && path(Some("")).is_err());
    }
}
