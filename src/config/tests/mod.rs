//! Tests over the whole of the configuration: what is refused and how it is told, includes, showing and comparing.

mod auth;
mod bad;
mod changes;
mod clients;
mod dice;
mod files;
mod garbage;
mod plugins;
mod remote;
mod round_trip;

use std::io;
use std::path::Path;

use super::{Loaded, Outside, parse, parse_mcp_servers};

/// Files that exist only here, and three variables.
pub(super) fn with_files<T>(files: &[(&str, &str)], run: impl FnOnce(&Outside<'_>) -> T) -> T {
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    };
    let env = |name: &str| match name {
        "HOME" => Some("/home/me".to_owned()),
        "TOKEN" => Some("t0k".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    run(&Outside { read: &read, env: &env })
}

/// Parses `text` as `/etc/p/pointsman.toml`.
pub(super) fn toml(text: &str) -> Loaded {
    with_files(&[], |outside| parse(text, Path::new("/etc/p/pointsman.toml"), outside)).unwrap()
}

/// The problems of `text`, printed.
pub(super) fn problems(text: &str) -> String {
    let found = with_files(&[], |outside| parse(text, Path::new("pointsman.toml"), outside));
    found.unwrap_err().to_string()
}

/// The problems of an `mcpServers` text, printed.
pub(super) fn client_problems(text: &str) -> String {
    let found = with_files(&[], |outside| parse_mcp_servers(text, Path::new("mcp.json"), outside));
    found.unwrap_err().to_string()
}

/// Parses an `mcpServers` text as `/etc/p/mcp.json`.
pub(super) fn client(text: &str) -> Loaded {
    with_files(&[], |outside| {
        parse_mcp_servers(text, Path::new("/etc/p/mcp.json"), outside)
    })
    .unwrap()
}
