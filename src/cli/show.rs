//! A status for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::reload::PIPELINE;

/// The status of a router as text. `options` are those that reach it, for the commands that are told.
pub(super) fn status(status: &Value, options: &str) -> String {
    let mut out = String::new();
    let scheme = if status["tls"] == true { "https" } else { "http" };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "pointsman {} at {scheme}://{}/mcp, pid {}, up {} s, {} sessions",
        text(status, "version"),
        text(status, "address"),
        text(status, "pid"),
        text(status, "uptime_s"),
        text(status, "sessions")
    );
    for backend in items(status, "backends") {
        backend_lines(&mut out, backend, options);
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
    for name in items(status, "loading").iter().filter_map(Value::as_str) {
        let _ = writeln!(
            out,
            "plugin {name} is being loaded; what was there before serves meanwhile"
        );
    }
    out.push_str(&refused(status));
    for warning in items(status, "warnings").iter().filter_map(Value::as_str) {
        let _ = writeln!(out, "warning: {warning}");
    }
    out.push_str(&waiting(status));
    out
}

/// What a reload led to, and whether nothing was refused. The state is told, not what this one reload changed: the
/// watcher may have been there before.
pub(super) fn reloaded(outcome: &Value) -> (String, bool) {
    let (generation, waiting) = (text(outcome, "generation"), waiting(outcome));
    let mut out = String::new();
    // Writing to a string cannot fail.
    if let Some(error) = outcome["config_error"].as_str() {
        let _ = writeln!(
            out,
            "the configuration is refused, and nothing of it was applied:\n{error}"
        );
    }
    let rejected = outcome["rejected"].as_object();
    let rejected = rejected.into_iter().flatten();
    let (pipeline, plugins): (Vec<_>, Vec<_>) = rejected.partition(|(name, _)| *name == PIPELINE);
    if !(pipeline.is_empty() && plugins.is_empty()) {
        if out.is_empty() {
            let _ = writeln!(
                out,
                "backends and endpoints were applied; of the policies this was refused:"
            );
        } else {
            let _ = writeln!(out, "of the policies this was refused as well:");
        }
        for (name, reason) in plugins {
            let _ = write!(out, "{}", reason.as_str().unwrap_or_default());
            // Where the pipeline is refused nothing of the policies changes, and that is told once, below.
            if pipeline.is_empty() {
                let before = items(outcome, "plugins").iter().any(|p| p == name);
                let end = match absent(outcome, name) {
                    Some(words) => words,
                    None if before => "; its last good build goes on",
                    None => "; nothing asks it",
                };
                out.push_str(end);
            }
            out.push('\n');
        }
        for (_, reason) in &pipeline {
            let _ = writeln!(out, "{}", reason.as_str().unwrap_or_default());
        }
        if !pipeline.is_empty() {
            let _ = writeln!(out, "the policies stay as they were: generation {generation}");
        }
    }
    let all_well = out.is_empty();
    if all_well {
        let all = if waiting.is_empty() {
            "all is in force"
        } else {
            "all else is in force"
        };
        let _ = writeln!(out, "{all}; policies: generation {generation}");
        out.insert_str(0, &waiting);
    } else {
        out.push_str(&waiting);
    }
    (out.trim_end().to_owned(), all_well)
}

/// What changed and is not in force yet.
fn waiting(status: &Value) -> String {
    let tables = items(status, "needs_restart").iter().filter_map(Value::as_str);
    tables
        .map(|table| format!("{table} changed and waits for a restart of the router\n"))
        .collect()
}

/// What it does that there is no build of a plugin; `None` where there is one, or where nobody asks it.
fn absent(status: &Value, name: &str) -> Option<&'static str> {
    match status["absent"][name].as_str()? {
        "open" => Some("; it is passed by"),
        _ => Some("; whatever would ask it fails"),
    }
}

/// What the router refused and goes on without; empty where all is well.
fn refused(status: &Value) -> String {
    let mut out = String::new();
    for (name, reason) in status["rejected"].as_object().into_iter().flatten() {
        let reason = reason.as_str().unwrap_or_default();
        // What is wrong with a pipeline is told a line each.
        let parts = reason.split(|c| c == '\n' && name == PIPELINE);
        for part in parts {
            let _ = writeln!(out, "refused: {part}{}", absent(status, name).unwrap_or_default());
        }
    }
    if let Some(error) = status["config_error"].as_str() {
        let _ = writeln!(out, "the newest configuration is refused:\n{error}");
    }
    out
}

fn backend_lines(out: &mut String, backend: &Value, options: &str) {
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
            "  target {}  {:<11} incarnation {}  {}{}  answered {}  restarts {}",
            text(target, "replica"),
            text(target, "state"),
            text(target, "incarnation"),
            target["url"]
                .as_str()
                .map_or_else(|| format!("pid {}", text(target, "pid")), str::to_owned),
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
            let name = text(backend, "name");
            let _ = writeln!(out, "    mend that, then: pointsman restart {name}{options}");
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reload_that_waits_for_a_restart_says_so_and_is_no_failure() {
        let mut outcome = json!({ "generation": 2, "rejected": {}, "config_error": null, "needs_restart": [] });
        let all = ("all is in force; policies: generation 2".to_owned(), true);
        assert_eq!(reloaded(&outcome), all);
        outcome["needs_restart"] = json!(["[listen]", "[policies]"]);
        let (words, all_well) = reloaded(&outcome);
        assert!(all_well);
        assert_eq!(
            words,
            "[listen] changed and waits for a restart of the router\n\
             [policies] changed and waits for a restart of the router\n\
             all else is in force; policies: generation 2"
        );
    }

    #[test]
    fn a_refusal_says_what_was_applied_and_what_went_on() {
        let told = |rejected: Value, error: Value| {
            let (words, all_well) = reloaded(&json!({
                "generation": 3, "rejected": rejected, "config_error": error, "plugins": ["old"], "needs_restart": [],
            }));
            assert!(!all_well);
            words
        };
        assert_eq!(
            told(
                json!({ "new": "plugin new: bad", "old": "plugin old: bad" }),
                Value::Null
            ),
            "backends and endpoints were applied; of the policies this was refused:\n\
             plugin new: bad; nothing asks it\n\
             plugin old: bad; its last good build goes on"
        );
        assert_eq!(
            told(json!({ "[pipeline]": "misfit", "new": "plugin new: bad" }), Value::Null),
            "backends and endpoints were applied; of the policies this was refused:\n\
             plugin new: bad\nmisfit\nthe policies stay as they were: generation 3"
        );
        assert_eq!(
            told(json!({}), json!("p.toml:1:1: wrong")),
            "the configuration is refused, and nothing of it was applied:\np.toml:1:1: wrong"
        );
    }

    #[test]
    fn what_goes_on_without_a_plugin_is_told() {
        let outcome = json!({
            "generation": 3, "rejected": { "p": "plugin p: bad", "q": "plugin q: bad" }, "config_error": null,
            "plugins": [], "needs_restart": [], "absent": { "p": "open", "q": "closed" },
        });
        let (words, _) = reloaded(&outcome);
        assert!(words.contains("plugin p: bad; it is passed by\n"), "{words}");
        assert!(words.contains("plugin q: bad; whatever would ask it fails"), "{words}");
        assert!(refused(&outcome).contains("refused: plugin p: bad; it is passed by\n"));
    }
}
