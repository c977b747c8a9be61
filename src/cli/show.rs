//! A status for people.

use std::fmt::Write as _;

use serde_json::Value;

/// The status of a router as text.
pub(super) fn status(status: &Value) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "pointsman {} at http://{}/mcp, pid {}, up {} s, {} sessions",
        text(status, "version"),
        text(status, "address"),
        text(status, "pid"),
        text(status, "uptime_s"),
        text(status, "sessions")
    );
    for backend in items(status, "backends") {
        backend_lines(&mut out, backend);
    }
    let _ = writeln!(
        out,
        "\npolicies: generation {}, {} in use",
        text(status, "generation"),
        text(status, "live_generations")
    );
    for plugin in items(status, "plugins") {
        let _ = writeln!(
            out,
            "  {:<16} {}  {}  calls {}  faults {}  breaker {}",
            text(plugin, "name"),
            text(plugin, "digest").chars().take(12).collect::<String>(),
            items(plugin, "hooks")
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" "),
            text(plugin, "calls"),
            text(plugin, "faults"),
            text(plugin, "breaker")
        );
        let _ = writeln!(
            out,
            "    from {}; imports {}",
            text(plugin, "source"),
            items(plugin, "imports")
                .iter()
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join(" ")
        );
        if let Some(error) = plugin["last_error"].as_str() {
            let _ = writeln!(out, "    last error: {error}");
        }
    }
    out.push_str(&refused(status));
    for warning in items(status, "warnings").iter().filter_map(Value::as_str) {
        let _ = writeln!(out, "warning: {warning}");
    }
    for table in items(status, "needs_restart").iter().filter_map(Value::as_str) {
        let _ = writeln!(out, "{table} changed and waits for a restart of the router");
    }
    out
}

/// What the router refused and goes on without; empty where all is well.
pub(super) fn refused(status: &Value) -> String {
    let mut out = String::new();
    for reason in status["rejected"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "refused: {}", reason.1.as_str().unwrap_or_default());
    }
    if let Some(error) = status["config_error"].as_str() {
        let _ = writeln!(out, "the newest configuration is refused:\n{error}");
    }
    out
}

fn backend_lines(out: &mut String, backend: &Value) {
    let eta = backend["eta_ms"]
        .as_f64()
        .filter(|ms| *ms > 0.0)
        .map(|ms| format!(", ETA {:.1} s", ms / 1000.0))
        .unwrap_or_default();
    let tools = backend["tools"]
        .as_u64()
        .map_or_else(|| "tools unknown".to_owned(), |n| format!("{n} tools"));
    let _ = writeln!(
        out,
        "\n{:<16} {:<11} {tools}, held {}, in flight {}{eta}",
        text(backend, "name"),
        text(backend, "state"),
        text(backend, "held"),
        text(backend, "in_flight")
    );
    for target in items(backend, "targets") {
        let _ = writeln!(
            out,
            "  target {}  {:<11} incarnation {}  pid {}{}  answered {}  restarts {}",
            text(target, "replica"),
            text(target, "state"),
            text(target, "incarnation"),
            text(target, "pid"),
            target["version"]
                .as_str()
                .map(|v| format!("  MCP {v}"))
                .unwrap_or_default(),
            text(target, "answered"),
            text(target, "restarts")
        );
        let (why, end) = (target["why"].as_str(), target["last_end"].as_str());
        if let Some(why) = why {
            let _ = writeln!(out, "    {why}");
        }
        if let Some(end) = end.filter(|end| !why.is_some_and(|why| why.starts_with(end))) {
            let _ = writeln!(out, "    last end: {end}");
        }
        if target["state"] == "failed" {
            let _ = writeln!(out, "    mend that, then: pointsman restart {}", text(backend, "name"));
        }
        for line in items(target, "stderr").iter().filter_map(Value::as_str) {
            let _ = writeln!(out, "    | {line}");
        }
    }
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
