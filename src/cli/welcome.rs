//! What `pointsman run` prints once the router listens: where, how to connect, and something to try.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::{Config, Listen};

/// The port where none is configured.
pub(super) fn usual_port() -> u16 {
    Listen::default().address.port()
}

/// The options with which `status`, `restart` and `reload` reach a router, each with a space before it.
pub(super) fn options(socket: Option<&Path>, port: u16) -> String {
    match socket {
        Some(path) => format!(" --socket {}", word(&path.to_string_lossy())),
        None if port != usual_port() => format!(" --port {port}"),
        None => String::new(),
    }
}

/// `text` as one word of a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An address that programs on this machine can connect to: "all interfaces" is none.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut shown = address;
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => shown.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => shown.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    shown
}

/// This program, as a client is to start it: without the variables of a shell it would not be found by its name.
fn program() -> serde_json::Value {
    std::env::current_exe().map_or("pointsman".into(), |path| path.to_string_lossy().into())
}

/// The arguments with which a client that speaks stdio reaches this router, or starts one like it.
fn connect(port: u16, config: &Config, source: &str) -> Vec<String> {
    let mut words = vec!["connect".to_owned()];
    if !source.starts_with("embedded") {
        let option = if source.ends_with(".json") {
            "--mcp-servers"
        } else {
            "--config"
        };
        let path = std::path::absolute(source).unwrap_or_else(|_| source.into());
        words.extend([option.to_owned(), path.to_string_lossy().into_owned()]);
    }
    if port != config.listen.address.port() || (source.starts_with("embedded") && port != usual_port()) {
        words.extend(["--port".to_owned(), port.to_string()]);
    }
    words
}

/// The words, for a router that listens at `address` with this configuration, which came from `source`.
pub(super) fn welcome(address: SocketAddr, config: &Config, source: &str) -> String {
    let scheme = if config.listen.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/mcp", reachable(address));
    let status = format!(
        "pointsman status{}",
        options(config.router.admin_socket.as_deref(), address.port())
    );
    let names: Vec<&str> = config.backends.keys().map(String::as_str).collect();
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "Pointsman {} listens on {url}\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "  configuration  {source}");
    let _ = writeln!(
        out,
        "  backends       {}",
        if names.is_empty() {
            "none yet".to_owned()
        } else {
            names.join(", ")
        }
    );
    let _ = writeln!(out, "\nConnect an agent:");
    let _ = writeln!(out, "  Claude Code    claude mcp add --transport http pointsman {url}");
    let _ = writeln!(
        out,
        "  Cursor         ~/.cursor/mcp.json: {{\"mcpServers\":{{\"pointsman\":{{\"url\":\"{url}\"}}}}}}"
    );
    let _ = writeln!(
        out,
        "  VS Code        code --add-mcp '{{\"name\":\"pointsman\",\"type\":\"http\",\"url\":\"{url}\"}}'"
    );
    let _ = writeln!(
        out,
        "  over stdio     {{\"mcpServers\":{{\"pointsman\":{{\"command\":{},\"args\":{}}}}}}}",
        program(),
        serde_json::json!(connect(address.port(), config, source))
    );
    let (method, name, params) = match names.first() {
        Some(first) if source.starts_with("embedded") => {
            let tool = format!("{first}__counter");
            ("tools/call", Some(tool.clone()), format!("\"name\":\"{tool}\","))
        }
        _ => ("tools/list", None, String::new()),
    };
    let named = name.map(|n| format!(" -H 'mcp-name: {n}'")).unwrap_or_default();
    let _ = writeln!(
        out,
        "\nTry it (kill a backend's process in between: `{status}` shows the pids):"
    );
    let _ = writeln!(
        out,
        "  curl -s {url} -H 'content-type: application/json' -H 'accept: application/json, text/event-stream' \\\n    \
         -H 'mcp-protocol-version: 2026-07-28' -H 'mcp-method: {method}'{named} \\\n    \
         -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{{{params}\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\"io.modelcontextprotocol/clientCapabilities\":{{}}}}}}}}'"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: &str, socket: Option<&str>) -> String {
        let mut config = Config::default();
        config.router.admin_socket = socket.map(Into::into);
        welcome(address.parse().unwrap(), &config, "here")
    }

    #[test]
    fn the_commands_that_are_told_reach_this_router() {
        let usual = said("127.0.0.1:7400", None);
        assert!(usual.contains("`pointsman status` shows"), "{usual}");
        let other = said("127.0.0.1:7600", None);
        assert!(other.contains("`pointsman status --port 7600` shows"), "{other}");
        let socket = said("127.0.0.1:7600", Some("/my run/it's.sock"));
        assert!(
            socket.contains(r"pointsman status --socket '/my run/it'\''s.sock'"),
            "{socket}"
        );
        assert_eq!(options(Some(Path::new("/run/x.sock")), 7400), " --socket /run/x.sock");
    }

    #[test]
    fn clients_that_speak_stdio_are_told_how_to_reach_it() {
        let mut config = Config::default();
        assert_eq!(connect(7400, &config, "embedded default"), ["connect"]);
        assert_eq!(
            connect(7401, &config, "embedded default"),
            ["connect", "--port", "7401"]
        );
        assert_eq!(
            connect(7400, &config, "/a/p.toml"),
            ["connect", "--config", "/a/p.toml"]
        );
        config.listen.address.set_port(0);
        let words = ["connect", "--mcp-servers", "/a/mcp.json", "--port", "9"];
        assert_eq!(connect(9, &config, "/a/mcp.json"), words);
        assert!(said("127.0.0.1:7400", None).contains(r#""args":["connect","--config","#));
    }

    #[test]
    fn addresses_that_are_told_can_be_connected_to() {
        for (address, url) in [
            ("0.0.0.0:7624", "http://127.0.0.1:7624/mcp"),
            ("[::]:7624", "http://[::1]:7624/mcp"),
            ("192.0.2.7:7624", "http://192.0.2.7:7624/mcp"),
        ] {
            let text = said(address, None);
            assert!(text.contains(url) && !text.contains("0.0.0.0"), "{text}");
        }
    }
}
