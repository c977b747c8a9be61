//! Traced calls in words: what a plugin said, which of them decided, and how the call ended.

use serde_json::Value;

/// Text of agents, plugins and servers, without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    let obeyed = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if obeyed(c) { ' ' } else { c }).collect()
}

pub(super) fn text(value: &Value) -> String {
    clean(value.as_str().unwrap_or_default())
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A time for people, of microseconds.
pub(super) fn time(us: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let float = us as f64;
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..10_000_000 => format!("{:.1} ms", float / 1e3),
        _ => format!("{:.1} s", float / 1e6),
    }
}

/// What came of asking one plugin.
pub(super) fn step(step: &Value) -> String {
    let list = |key: &str| items(&step[key]).iter().map(text).collect::<Vec<_>>().join(", ");
    match step["decision"].as_str().unwrap_or_default() {
        "narrow" => format!("narrowed to {}", list("to")),
        "redirect" => format!("redirected to {}", destination(step)),
        "deny" => format!("denied: {}", text(&step["code"])),
        "answer" => "answered itself".to_owned(),
        "pick" => format!("picked target {}, incarnation {}", step["replica"], step["incarnation"]),
        "hold" => format!("held, for {} ms at most", step["ms"]),
        "replay" => "to be written again".to_owned(),
        "fault" => {
            let then = match step["on_fault"] == "open" {
                true => "passed by",
                false => "the call fails",
            };
            format!("failed ({}), {then}: {}", text(&step["kind"]), text(&step["message"]))
        }
        "out-of-scope" => "not asked: the call is out of its scope".to_owned(),
        // `next`, `any`, `unchanged`, `edited`; and what a newer router says.
        word => clean(word),
    }
}

fn destination(step: &Value) -> String {
    let backend = text(&step["backend"]);
    match step["name"].as_str() {
        Some(name) => format!("{backend} as {}", clean(name)),
        None => backend,
    }
}

/// What it could choose among, as it was shown.
fn among(step: &Value) -> String {
    let one = |seen: &Value| format!("{} ({})", text(&seen["backend"]), text(&seen["state"]));
    items(&step["among"]).iter().map(one).collect::<Vec<_>>().join(", ")
}

/// How much a step has to do with what became of the call.
fn weight(step: &Value) -> u8 {
    match step["decision"].as_str().unwrap_or_default() {
        _ if step["decided"] != true => 0,
        "deny" => 9,
        "fault" if step["on_fault"] == "closed" => 9,
        "answer" => 8,
        "redirect" => 7,
        "narrow" => 6,
        "replay" => 5,
        "hold" => 4,
        "fault" => 3,
        _ => 2,
    }
}

/// Which plugin decided a call, and why.
pub(super) fn verdict(call: &Value) -> String {
    let steps = items(&call["steps"]);
    // Of those that weigh the same the last one: it was asked last.
    let Some(step) = steps.iter().max_by_key(|step| weight(step)).filter(|s| weight(s) > 0) else {
        return match (items(&call["steps"]).is_empty(), call["outcome"]["message"].as_str()) {
            (_, Some(message)) => format!("no plugin decided anything; {}", clean(message)),
            (true, None) => "no plugin was asked".to_owned(),
            (false, None) => "no plugin decided anything".to_owned(),
        };
    };
    let by = format!("by {} in {}", text(&step["plugin"]), text(&step["hook"]));
    let said = match step["decision"].as_str().unwrap_or_default() {
        "deny" => format!("DENIED {by}: {}, \"{}\"", text(&step["code"]), text(&step["message"])),
        "fault" if step["on_fault"] == "closed" => {
            let (kind, message) = (text(&step["kind"]), text(&step["message"]));
            return format!("FAILED {by} ({kind}; its faults are closed): {message}");
        }
        "answer" => format!("ANSWERED {by}; no backend was asked"),
        "redirect" => format!(
            "REDIRECTED {by} to {}; offered by {}",
            destination(step),
            or_nobody(among(step))
        ),
        "narrow" => {
            let to = items(&step["to"]).iter().map(text).collect::<Vec<_>>().join(", ");
            format!("SENT {by} to {to}; it chose among {}", among(step))
        }
        "replay" => format!("WRITTEN AGAIN {by}, for its target had died"),
        "hold" => format!("HELD {by}"),
        "fault" => format!(
            "let pass although {} failed in {}: {}",
            text(&step["plugin"]),
            text(&step["hook"]),
            text(&step["message"])
        ),
        _ => format!("edited {by}"),
    };
    // A denial has said all; of any other call the error is news.
    match call["outcome"]["message"].as_str().filter(|_| weight(step) < 9) {
        Some(message) => format!("{said}; then {}", clean(message)),
        None => said,
    }
}

fn or_nobody(names: String) -> String {
    if names.is_empty() { "nobody".to_owned() } else { names }
}

/// Whose call it was.
pub(super) fn whose(call: &Value) -> String {
    let steps = items(&call["steps"]).iter();
    let mut generations: Vec<String> = steps.map(|step| step["generation"].to_string()).collect();
    generations.dedup();
    let generation = match generations.len() {
        0 => String::new(),
        1 => format!(", generation {}", generations.concat()),
        // It was asked again, for there were others when it could go.
        _ => format!(", generations {}", generations.join(", ")),
    };
    let pinned = match call["pinned"] == true {
        true => "; it goes on with what its target had begun",
        false => "",
    };
    let (agent, endpoint) = (text(&call["agent"]), text(&call["endpoint"]));
    format!("of {agent} at {endpoint}{generation}{pinned}")
}

/// How it ended.
pub(super) fn ending(call: &Value) -> String {
    let outcome = &call["outcome"];
    let is = outcome["is"].as_str().unwrap_or_default();
    let number = |key: &str, word: &str| outcome[key].as_u64().map(|n| format!("{word} {n}"));
    let target: Vec<String> = [number("replica", "target"), number("incarnation", "incarnation")]
        .into_iter()
        .flatten()
        .collect();
    let target = match target.is_empty() {
        true => String::new(),
        false => format!(" ({})", target.join(", ")),
    };
    let from = match outcome["backend"].as_str() {
        Some(backend) if is == "failed" => format!(" at {}{target}", clean(backend)),
        Some(backend) => format!(" from {}{target}", clean(backend)),
        None => String::new(),
    };
    let code = outcome["code"]
        .as_i64()
        .map(|code| format!(" {code}"))
        .unwrap_or_default();
    let ended = match is {
        "failed" => format!("error{code}{from}, delivery {}", text(&outcome["delivery"])),
        "error" => format!("error{code}{from}"),
        "cancelled" => "cancelled by its agent".to_owned(),
        _ => format!("result{from}"),
    };
    let took = time(call["took_us"].as_u64().unwrap_or_default());
    let held = match call["held_ms"].as_u64() {
        Some(0) | None => String::new(),
        Some(ms) => format!(", {} of that held", time(ms.saturating_mul(1000))),
    };
    format!("{ended}, after {took}{held}")
}
