//! What a plugin decided, as fixtures write it, and how that differs from what was expected.

use serde_json::{Map, Value, json};

use crate::plugin::{Asked, Decision, Failure, Trial};
use crate::policy::{Listing, RouteChoice, Selection, Settlement};
use crate::wire::RawJson;

/// Where members that are not expected may be: people's words change, and short fixtures are good ones.
const LENIENT: [&str; 4] = ["/deny", "/fail", "/redirect", "/shown"];

/// An outcome in the words of fixtures.
pub(super) fn told(asked: &Asked, trial: &Trial) -> Value {
    match &trial.outcome {
        Ok(decision) => decided(asked, decision),
        Err(Failure { kind, message }) => json!({ "fault": format!("{}: {message}", kind.as_str()) }),
    }
}

fn decided(asked: &Asked, decision: &Decision) -> Value {
    match decision {
        Decision::Nothing => match asked {
            Asked::Select(..) => "any".into(),
            Asked::Route(..) | Asked::Settle(..) => "next".into(),
            _ => "unchanged".into(),
        },
        Decision::Narrow(positions) => {
            let Asked::Route(_, candidates) = asked else {
                return json!(positions);
            };
            let name = |position: &usize| candidates.get(*position).map(|c| &*c.backend);
            json!({ "narrow": positions.iter().filter_map(name).collect::<Vec<_>>() })
        }
        Decision::Route(RouteChoice::Among(positions)) => json!({ "narrow": positions }),
        Decision::Route(RouteChoice::Redirect { backend, name }) => match name {
            Some(name) => json!({ "redirect": { "backend": backend, "name": name } }),
            None => json!({ "redirect": { "backend": backend } }),
        },
        Decision::Route(RouteChoice::Deny { code, message }) => json!({ "deny": { "code": code, "message": message } }),
        Decision::Route(RouteChoice::Answer(result)) => json!({ "answer": value(result) }),
        Decision::Select(Selection::Pick(position)) => json!({ "pick": position }),
        Decision::Select(Selection::Hold(ms)) | Decision::Settled(Settlement::Hold(ms)) => json!({ "hold": ms }),
        Decision::Select(Selection::Any) => "any".into(),
        Decision::Changed(text) => {
            let what = match asked {
                Asked::TransformResponse(_, _, true) => "error",
                Asked::TransformResponse(..) => "result",
                _ => "params",
            };
            Value::Object(Map::from_iter([(what.to_owned(), value(text))]))
        }
        Decision::Shown(listing) => json!({ "shown": shown(listing) }),
        Decision::Settled(Settlement::Next) => "next".into(),
        Decision::Settled(Settlement::Replay) => "replay".into(),
        Decision::Settled(Settlement::Fail { code, message }) => {
            json!({ "fail": { "code": code, "message": message } })
        }
    }
}

fn shown(listing: &Listing) -> Vec<Value> {
    let backend = |position: usize| listing.backends.get(position).map(|name| &**name);
    let items = listing.items.iter();
    items
        .map(|item| json!({ "backend": backend(item.backend), "key": &*item.key, "name": &*item.name }))
        .collect()
}

fn value(text: &RawJson) -> Value {
    serde_json::from_str(text.as_str()).unwrap_or_else(|_| text.as_str().into())
}

/// Where `told` is not what was expected, a line each; empty where it is.
pub(super) fn differences(expected: &Value, told: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", expected, told, &mut found);
    found
}

fn compare(at: &str, expected: &Value, told: &Value, found: &mut Vec<String>) {
    match (expected, told) {
        (Value::Object(expected), Value::Object(told)) => {
            for (key, value) in expected {
                let below = format!("{at}/{key}");
                match told.get(key) {
                    Some(told) => compare(&below, value, told, found),
                    None => found.push(format!("{below}: expected {value}, and it is not there")),
                }
            }
            if LENIENT.iter().any(|place| at.starts_with(place)) {
                return;
            }
            let more = told.iter().filter(|(key, _)| !expected.contains_key(*key));
            found.extend(more.map(|(key, value)| format!("{at}/{key}: not expected, and it is {value}")));
        }
        (Value::Array(expected), Value::Array(told)) => {
            for (position, pair) in expected.iter().zip(told).enumerate() {
                compare(&format!("{at}/{position}"), pair.0, pair.1, found);
            }
            for (position, value) in expected.iter().enumerate().skip(told.len()) {
                found.push(format!("{at}/{position}: expected {value}, and it is not there"));
            }
            for (position, value) in told.iter().enumerate().skip(expected.len()) {
                found.push(format!("{at}/{position}: not expected, and it is {value}"));
            }
        }
        // A name stands for the item that agents call so.
        (Value::String(name), Value::Object(item)) if at.starts_with("/shown/") => {
            if item.get("name") != Some(&Value::String(name.clone())) {
                found.push(format!("{at}: expected {expected}, got {told}"));
            }
        }
        // Part of the words is enough: a trap's are the engine's.
        (Value::String(part), Value::String(words)) if at == "/fault" && words.contains(part.as_str()) => {}
        (expected, told) if expected == told => {}
        (expected, told) => {
            let at = if at.is_empty() { "the decision" } else { at };
            found.push(format!("{at}: expected {expected}, got {told}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_differ_by_what_was_expected_of_them() {
        let same = [
            (json!("next"), json!("next")),
            (
                json!({"deny": {"code": "a"}}),
                json!({"deny": {"code": "a", "message": "b"}}),
            ),
            (
                json!({"shown": ["x", {"backend": "b"}]}),
                json!({"shown": [{"name": "x"}, {"name": "y", "backend": "b"}]}),
            ),
            (
                json!({"fault": "budget"}),
                json!({"fault": "cpu: computed longer than its CPU budget"}),
            ),
        ];
        for (expected, told) in same {
            assert_eq!(differences(&expected, &told), [""; 0], "{expected}");
        }
        let other = [
            (
                json!("next"),
                json!({"narrow": ["a"]}),
                "the decision: expected \"next\", got {\"narrow\":[\"a\"]}",
            ),
            (
                json!({"params": {"a": 1}}),
                json!({"params": {"a": 2}}),
                "/params/a: expected 1, got 2",
            ),
            (
                json!({"params": {}}),
                json!({"params": {"a": 2}}),
                "/params/a: not expected, and it is 2",
            ),
            (
                json!({"narrow": ["a", "b"]}),
                json!({"narrow": ["a"]}),
                "/narrow/1: expected \"b\", and it is not there",
            ),
            (
                json!({"shown": ["x"]}),
                json!({"shown": [{"name": "y"}]}),
                "/shown/0: expected \"x\", got {\"name\":\"y\"}",
            ),
        ];
        for (expected, told, words) in other {
            assert_eq!(differences(&expected, &told), [words], "{expected}");
        }
    }
}
