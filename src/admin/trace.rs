//! `trace` on the admin socket: why calls went where they went.

use serde_json::{Value, json};
use wildmatch::WildMatch;

use crate::router::{Found, Query, Traces, WATCH};

/// Calls in one answer, where the question does not say how many.
const USUAL: usize = 20;
/// Runs of numbers that are told.
const MOST_RUNS: usize = 12;

/// The answer to `{"command": "trace", …}`. What is there and of another kind than it has to be is refused: an answer
/// to another question would mislead. So is a name or a number that nothing has; `plugins` are those that there are.
pub(super) fn answer(traces: &Traces, plugins: &dyn Fn() -> Vec<String>, command: &Value) -> Value {
    let answered = query(command).and_then(|query| {
        let found = traces.find(&query);
        // Whoever follows has asked before, and a configuration changes.
        if found.traces.is_empty() && query.after.is_none() && traces.most() > 0 {
            exists(traces, plugins, &query)?;
        }
        Ok(told(traces, &query, &found))
    });
    answered.unwrap_or_else(|why| json!({ "error": why }))
}

/// Refuses a question about a call or a plugin that is not there.
fn exists(traces: &Traces, plugins: &dyn Fn() -> Vec<String>, query: &Query) -> Result<(), String> {
    let there = traces.calls();
    if let Some(call) = query.call.filter(|call| !there.contains(call)) {
        let why = "it is too old, or goes on, or no plugin decided anything about it";
        return Err(match there.is_empty() {
            true => format!("call {call} is not kept: {why}; none is kept"),
            false => format!("call {call} is not kept: {why}; there are: {}", runs(&there)),
        });
    }
    let Some(plugin) = &query.plugin else { return Ok(()) };
    let names = plugins();
    match names.contains(plugin) {
        true => Ok(()),
        false if names.is_empty() => Err(format!("there is no plugin {plugin:?}, nor any other")),
        false => Err(format!(
            "there is no plugin {plugin:?}; there are: {}",
            names.join(", ")
        )),
    }
}

/// Numbers in order, the last of them: those in a row as the first and the last one.
fn runs(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let left_out = runs.len().saturating_sub(MOST_RUNS);
    let run = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    let shown: Vec<String> = runs.iter().skip(left_out).map(run).collect();
    let older = if left_out > 0 { "older ones, " } else { "" };
    format!("{older}{}", shown.join(", "))
}

fn told(traces: &Traces, query: &Query, found: &Found) -> Value {
    let one = |(number, trace): &(u64, std::sync::Arc<crate::router::Trace>)| {
        let mut told = trace.to_json();
        told["number"] = (*number).into();
        told
    };
    json!({
        "calls": found.traces.iter().map(one).collect::<Vec<_>>(),
        "number": found.number,
        "missed": found.missed,
        "fitting": found.fitting,
        "kept": found.kept,
        "most": traces.most(),
        "all_for_s": query.all.then_some(WATCH.as_secs()),
    })
}

fn query(command: &Value) -> Result<Query, String> {
    let mut query = Query {
        last: USUAL,
        ..Query::default()
    };
    for (key, value) in command.as_object().into_iter().flatten() {
        let wrong = |is: &str| format!("{key} has to be {is}");
        let whole = || value.as_u64().ok_or_else(|| wrong("a whole number"));
        let truth = || value.as_bool().ok_or_else(|| wrong("true or false"));
        let text = || value.as_str().ok_or_else(|| wrong("a text"));
        match key.as_str() {
            "command" => {}
            "last" => query.last = usize::try_from(whole()?).unwrap_or(usize::MAX),
            "call" => query.call = Some(whole()?),
            "after" => query.after = Some(whole()?),
            "denied" => query.denied = truth()?,
            "all" => query.all = truth()?,
            "plugin" => query.plugin = Some(text()?.to_owned()),
            "tool" => query.tool = Some(WildMatch::new(text()?)),
            _ => {
                return Err(format!(
                    "unknown key {key}; there are: last, call, after, denied, all, plugin, tool"
                ));
            }
        }
    }
    Ok(query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Policies;

    #[test]
    fn questions_are_understood_or_refused() {
        let all = query(&json!({
            "command": "trace", "last": 3, "call": 7, "after": 9, "denied": true, "all": true, "plugin": "p", "tool": "a*",
        }))
        .unwrap();
        assert_eq!((all.last, all.call, all.after), (3, Some(7), Some(9)));
        assert!(all.denied && all.all && all.plugin.as_deref() == Some("p"));
        assert!(all.tool.is_some_and(|tool| tool.matches("abc")));
        let usual = query(&json!({ "command": "trace" })).unwrap();
        assert!(usual.last == USUAL && !usual.all && usual.after.is_none());
        for (command, words) in [
            (json!({ "last": "3" }), "last has to be a whole number"),
            (json!({ "denied": 1 }), "denied has to be true or false"),
            (json!({ "plugin": null }), "plugin has to be a text"),
            (json!({ "tools": "a" }), "unknown key tools; there are: last"),
        ] {
            assert!(query(&command).unwrap_err().contains(words), "{command}");
        }
    }

    #[test]
    fn an_answer_says_what_it_is_worth() {
        let settings = Policies {
            trace_calls: 0,
            ..Policies::default()
        };
        let answer = |command| answer(&Traces::new(&settings), &Vec::new, &command);
        let told = answer(json!({ "all": true }));
        assert_eq!(
            (&told["most"], &told["kept"], &told["all_for_s"]),
            (&json!(0), &json!(0), &json!(60))
        );
        assert_eq!(answer(json!({}))["all_for_s"], Value::Null);
        assert_eq!(answer(json!({ "last": [] }))["error"], "last has to be a whole number");
    }

    #[test]
    fn who_asks_for_what_is_not_there_is_told_what_is() {
        let traces = Traces::new(&Policies::default());
        let names = || vec!["guard".to_owned(), "mask".to_owned()];
        let asked = |plugins: &dyn Fn() -> Vec<String>, command| answer(&traces, plugins, &command);
        assert_eq!(
            asked(&names, json!({ "plugin": "gard" }))["error"],
            "there is no plugin \"gard\"; there are: guard, mask"
        );
        assert_eq!(
            asked(&Vec::new, json!({ "plugin": "gard" }))["error"],
            "there is no plugin \"gard\", nor any other"
        );
        for there in [json!({ "plugin": "guard" }), json!({ "plugin": "gard", "after": 0 })] {
            assert_eq!(asked(&names, there)["calls"], json!([]));
        }
        let error = asked(&names, json!({ "call": 3 }))["error"].to_string();
        assert!(
            error.contains("call 3 is not kept: ") && error.ends_with("none is kept\""),
            "{error}"
        );
    }

    #[test]
    fn numbers_in_a_row_are_told_by_their_ends() {
        assert_eq!(runs(&[3]), "3");
        assert_eq!(runs(&[1, 2, 3, 5, 8, 9]), "1 to 3, 5, 8 to 9");
        let odd: Vec<u64> = (0..20).map(|n| 2 * n + 1).collect();
        assert_eq!(runs(&odd), "older ones, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 39");
    }
}
