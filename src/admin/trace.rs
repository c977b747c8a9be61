//! `trace` on the admin socket: why calls went where they went.

use serde_json::{Value, json};
use wildmatch::WildMatch;

use crate::router::{Found, Query, Traces, WATCH};

/// Calls in one answer, where the question does not say how many.
const USUAL: usize = 20;

/// The answer to `{"command": "trace", …}`. What is there and of another kind than it has to be is refused: an answer
/// to another question would mislead.
pub(super) fn answer(traces: &Traces, command: &Value) -> Value {
    match query(command) {
        Err(why) => json!({ "error": why }),
        Ok(query) => told(traces, &query, &traces.find(&query)),
    }
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
        let answer = |command| answer(&Traces::new(&settings), &command);
        let told = answer(json!({ "all": true }));
        assert_eq!(
            (&told["most"], &told["kept"], &told["all_for_s"]),
            (&json!(0), &json!(0), &json!(60))
        );
        assert_eq!(answer(json!({}))["all_for_s"], Value::Null);
        assert_eq!(answer(json!({ "last": [] }))["error"], "last has to be a whole number");
    }
}
