//! Whether what a fixture expects can be decided at all: a slip in it is the fixture's fault, and not told as a difference.

use serde_json::Value;

use crate::plugin::Asked;

/// What there is to say for a hook: words, and decisions that are more than a word.
type Known = (&'static [&'static str], &'static [&'static str]);

fn known(asked: &Asked) -> Known {
    match asked {
        Asked::Route(..) => (&["next"], &["narrow", "redirect", "deny", "answer", "fault"]),
        Asked::Select(..) => (&["any"], &["pick", "hold", "fault"]),
        Asked::TransformRequest(_) => (&["unchanged"], &["params", "fault"]),
        Asked::TransformResponse(_, _, false) => (&["unchanged"], &["result", "fault"]),
        Asked::TransformResponse(_, _, true) => (&["unchanged"], &["error", "fault"]),
        Asked::TransformList(_) => (&["unchanged"], &["shown", "fault"]),
        Asked::Settle(..) => (&["next", "replay"], &["hold", "fail", "fault"]),
    }
}

/// Refuses what no plugin can decide about this question.
pub(super) fn check(asked: &Asked, expected: &Value) -> Result<(), String> {
    let (words, keys) = known(asked);
    let refused = || {
        let words = words.iter().map(|word| format!("{word:?}"));
        let keys = keys.iter().map(|key| format!("{{ {key} = … }}"));
        let all: Vec<String> = words.chain(keys).collect();
        let (hook, all) = (asked.hook(), all.join(", "));
        format!("expect: {expected} is no decision of {hook} here; there are: {all}")
    };
    match expected {
        Value::String(word) if words.contains(&word.as_str()) => Ok(()),
        Value::Object(members) => {
            let mut members = members.iter();
            match (members.next(), members.next()) {
                (Some((key, value)), None) if keys.contains(&key.as_str()) => {
                    inside(asked, key, value).map_err(|why| format!("expect.{key}: {why}"))
                }
                _ => Err(refused()),
            }
        }
        _ => Err(refused()),
    }
}

/// The same of what stands behind a decision's name.
fn inside(asked: &Asked, key: &str, value: &Value) -> Result<(), String> {
    match key {
        "deny" | "fail" => texts(value, &["code", "message"]),
        "redirect" => texts(value, &["backend", "name"]),
        "narrow" => {
            let Asked::Route(_, candidates) = asked else {
                return Ok(());
            };
            let there: Vec<&str> = candidates.iter().map(|candidate| &*candidate.backend).collect();
            for name in list(value)? {
                if !name.as_str().is_some_and(|name| there.contains(&name)) {
                    return Err(format!("{name} is none of the candidates: {}", there.join(", ")));
                }
            }
            Ok(())
        }
        "pick" | "hold" => match (value.as_u64(), asked) {
            (None, _) => Err(format!("{value} is no whole number")),
            (Some(position), Asked::Select(_, targets)) if key == "pick" && position >= targets.len() as u64 => {
                let there = targets.len();
                Err(format!(
                    "{position} is no position in `targets`, of which there are {there}, from 0"
                ))
            }
            (Some(_), _) => Ok(()),
        },
        "shown" => {
            let mut items = list(value)?.iter();
            items.try_for_each(|item| match item {
                Value::String(_) => Ok(()),
                item => texts(item, &["backend", "key", "name"]),
            })
        }
        "fault" if !value.is_string() => Err(format!("{value} is no text")),
        // Any JSON: it is compared as a whole.
        _ => Ok(()),
    }
}

fn list(value: &Value) -> Result<&[Value], String> {
    let list = value.as_array().map(Vec::as_slice);
    list.ok_or_else(|| format!("{value} is no list"))
}

/// Members with these names, and with texts.
fn texts(value: &Value, known: &[&str]) -> Result<(), String> {
    let members = value.as_object();
    let members = members.ok_or_else(|| format!("{value} is none of {{ {} }}", known.join(", ")))?;
    for (key, value) in members {
        if !known.contains(&key.as_str()) {
            return Err(format!("there is no {key}; there are: {}", known.join(", ")));
        }
        if !value.is_string() {
            return Err(format!("{key}: {value} is no text"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::case;
    use super::super::fixture::Case;
    use super::*;

    fn question(hook: &str) -> Asked {
        let case: Case = serde_json::from_value(json!({
            "name": "x", "hook": hook, "expect": null,
            "candidates": [{ "backend": "a" }, { "backend": "b" }],
            "targets": [{ "backend": "a" }, { "backend": "b" }],
            "response": { "error": {} },
            "listing": { "backends": [], "items": [] },
            "trouble": { "kind": "held", "backend": "a" },
        }))
        .unwrap();
        case::asked(&case).unwrap()
    }

    #[test]
    fn what_can_be_decided_can_be_expected() {
        for (hook, expected) in [
            ("route", json!("next")),
            ("route", json!({ "narrow": ["a"] })),
            ("route", json!({ "redirect": { "backend": "elsewhere" } })),
            ("route", json!({ "deny": {} })),
            ("route", json!({ "answer": { "content": [] } })),
            ("route", json!({ "fault": "cpu" })),
            ("select", json!({ "pick": 1 })),
            ("select", json!({ "hold": 7 })),
            ("transform-request", json!({ "params": {} })),
            ("transform-response", json!({ "error": 1 })),
            ("transform-list", json!({ "shown": ["x", { "key": "k", "name": "n" }] })),
            ("settle", json!("replay")),
            ("settle", json!({ "fail": { "code": "late" } })),
        ] {
            assert_eq!(check(&question(hook), &expected), Ok(()), "{hook}: {expected}");
        }
    }

    #[test]
    fn what_cannot_be_decided_is_refused_with_what_there_is() {
        for (hook, expected, words) in [
            (
                "route",
                json!("nxt"),
                "expect: \"nxt\" is no decision of route here; there are: \"next\", { narrow = … }, { redirect = … }, \
                 { deny = … }, { answer = … }, { fault = … }",
            ),
            ("route", json!({ "denied": {} }), "is no decision of route"),
            ("route", json!({ "deny": {}, "fault": "" }), "is no decision of route"),
            ("route", json!({ "narrow": "a" }), "expect.narrow: \"a\" is no list"),
            (
                "route",
                json!({ "narrow": ["c"] }),
                "expect.narrow: \"c\" is none of the candidates: a, b",
            ),
            (
                "route",
                json!({ "deny": { "cod": "x" } }),
                "expect.deny: there is no cod; there are: code, message",
            ),
            (
                "route",
                json!({ "deny": "x" }),
                "expect.deny: \"x\" is none of { code, message }",
            ),
            (
                "route",
                json!({ "redirect": { "name": 1 } }),
                "expect.redirect: name: 1 is no text",
            ),
            (
                "select",
                json!("next"),
                "there are: \"any\", { pick = … }, { hold = … }, { fault = … }",
            ),
            (
                "select",
                json!({ "pick": "a" }),
                "expect.pick: \"a\" is no whole number",
            ),
            (
                "select",
                json!({ "pick": 2 }),
                "expect.pick: 2 is no position in `targets`, of which there are 2, from 0",
            ),
            ("transform-response", json!({ "result": {} }), "{ error = … }"),
            (
                "transform-list",
                json!({ "shown": [{ "nam": "x" }] }),
                "there is no nam",
            ),
            ("settle", json!({ "fault": 1 }), "expect.fault: 1 is no text"),
            ("settle", json!(null), "is no decision of settle"),
        ] {
            let error = check(&question(hook), &expected).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
