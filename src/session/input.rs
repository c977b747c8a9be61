//! Results that ask for input (2026-07-28, SEP-2322): read, written, and the calls that bring what was asked for.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::wire::json::{push_quoted, quote};
use crate::wire::meta::{self, Change};
use crate::wire::{Object, RawJson, codes, method};

/// The `resultType` of a result that asks for input.
const INPUT_REQUIRED: &str = "input_required";
/// Where what is asked stands in a result.
const REQUESTS: &str = "inputRequests";
/// Where the answers stand in the call that is made again.
pub(super) const RESPONSES: &str = "inputResponses";
/// Where a server puts what it wants to be told again, in both.
pub(super) const STATE: &str = "requestState";

/// One thing that is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// What its answer is known by.
    pub(super) key: String,
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`.
    pub(super) method: String,
    /// Its params.
    pub(super) params: Option<RawJson>,
}

/// A result that asks for input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Required {
    /// What is asked.
    pub(super) questions: Vec<Question>,
    /// The server's state, raw.
    pub(super) state: Option<String>,
}

/// True for methods whose result may ask for input; no other may.
pub(super) fn may_ask_of(method: &str) -> bool {
    matches!(
        method,
        method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ
    )
}

/// True where a result may ask for input: a quick look, which most results do not pass.
fn may_ask(result: &str) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(INPUT_REQUIRED));
    FINDER.find(result.as_bytes()).is_some()
}

/// What a result asks for, if it is such a result; an error where it is one and cannot be understood.
pub(super) fn required(result: &str) -> Result<Option<Required>, String> {
    if !may_ask(result) {
        return Ok(None);
    }
    let Ok(object) = Object::parse(result) else {
        return Ok(None);
    };
    if object.get_str("resultType").as_deref() != Some(INPUT_REQUIRED) {
        return Ok(None);
    }
    let wrong = |e: &dyn std::fmt::Display| format!("{REQUESTS}: {e}");
    let asked = Object::parse(object.get(REQUESTS).unwrap_or("{}")).map_err(|e| wrong(&e))?;
    let mut questions = Vec::new();
    for (key, question) in asked.iter() {
        let question = Object::parse(question).map_err(|e| wrong(&e))?;
        let method = question
            .get_str("method")
            .ok_or_else(|| wrong(&"a method is missing"))?;
        questions.push(Question {
            key: key.to_owned(),
            method: method.into_owned(),
            params: question.get("params").map(|p| RawJson::from(p.to_owned())),
        });
    }
    Ok(Some(Required {
        questions,
        state: object.get(STATE).map(str::to_owned),
    }))
}

/// The result that asks an agent these questions, and wants `state` back.
pub(super) fn ask<'a>(questions: impl Iterator<Item = (&'a str, &'a str, Option<&'a RawJson>)>, state: &str) -> String {
    let mut out = format!("{{\"resultType\":\"{INPUT_REQUIRED}\",\"{REQUESTS}\":{{");
    for (position, (key, method, params)) in questions.enumerate() {
        if position > 0 {
            out.push(',');
        }
        push_quoted(&mut out, key);
        out.push_str(":{\"method\":");
        push_quoted(&mut out, method);
        if let Some(params) = params {
            out.push_str(",\"params\":");
            // Without a token of a legacy server: its answer comes with a new call, and nothing before it.
            let params = params.as_str();
            let stripped = meta::changed(params, method::META_PROGRESS, Change::Remove);
            out.push_str(stripped.as_deref().unwrap_or(params));
        }
        out.push('}');
    }
    out.push_str("},\"");
    out.push_str(STATE);
    out.push_str("\":");
    push_quoted(&mut out, state);
    out.push('}');
    out
}

/// The same result with another state.
pub(super) fn with_state(result: &str, state: &str) -> Option<String> {
    let mut object = Object::parse(result).ok()?;
    object.set(STATE, quote(state));
    Some(object.to_text())
}

/// The params of a call made again, with what was asked for.
pub(super) fn again<'a>(
    params: &str,
    answers: impl Iterator<Item = (&'a str, &'a RawJson)>,
    state: Option<&str>,
) -> Result<String, String> {
    let mut object = Object::parse(params).map_err(|e| e.to_string())?;
    let mut responses = Object::default();
    for (key, answer) in answers {
        responses.append(key.to_owned(), answer.as_str().to_owned());
    }
    object.set(RESPONSES, responses.to_text());
    match state {
        Some(state) => object.set(STATE, state.to_owned()),
        None => object.remove(STATE),
    }
    Ok(object.to_text())
}

/// The elicitations in URL mode that an error of a legacy server asks for before a call may be made (2025-11-25), each
/// with its id; none where it is another error.
pub(super) fn elicitations(error: &str) -> Vec<(String, RawJson)> {
    let Ok(object) = Object::parse(error) else {
        return Vec::new();
    };
    if object.get("code") != Some(codes::LEGACY_URL_ELICITATION.to_string().as_str()) {
        return Vec::new();
    }
    let data = object.get("data").and_then(|data| Object::parse(data).ok());
    let listed = data.as_ref().and_then(|data| data.get("elicitations"));
    let listed: Vec<&RawValue> = listed.and_then(|l| serde_json::from_str(l).ok()).unwrap_or_default();
    let identified = listed.into_iter().filter_map(|one| {
        let id = Object::parse(one.get())
            .ok()?
            .get_str(method::ELICITATION_ID)?
            .into_owned();
        Some((id, RawJson::from(one.get().to_owned())))
    });
    identified.collect()
}

/// What the user said to all that was asked; an error where it was not yes.
pub(super) fn agreed(params: &str) -> Result<(), String> {
    let object = Object::parse(params).map_err(|e| e.to_string())?;
    let answers = Object::parse(object.get(RESPONSES).unwrap_or("{}")).map_err(|e| format!("{RESPONSES}: {e}"))?;
    for (_, answer) in answers.iter() {
        let answer = Object::parse(answer).map_err(|e| format!("{RESPONSES}: {e}"))?;
        match answer.get_str("action").as_deref() {
            Some("accept") => {}
            other => return Err(format!("the user's answer is {}", other.unwrap_or("missing"))),
        }
    }
    Ok(())
}

/// The params without what was asked for, and without a state: for a call that is made anew.
pub(super) fn anew(params: &str) -> Result<String, String> {
    let mut object = Object::parse(params).map_err(|e| e.to_string())?;
    object.remove(RESPONSES);
    object.remove(STATE);
    Ok(object.to_text())
}

/// The params with the state that the server gave, in the place of the router's.
pub(super) fn with_inner_state(params: &str, state: &str) -> Result<String, String> {
    let mut object = Object::parse(params).map_err(|e| e.to_string())?;
    object.set(STATE, state.to_owned());
    Ok(object.to_text())
}

/// What a call made again must have in common with the first: its method and params but for what belongs to this one
/// request. However the client wrote them down the second time.
pub(super) fn digest(method: &str, params: &str) -> Option<[u8; 32]> {
    let mut kept = Vec::new();
    let object = Object::parse(params).ok()?;
    for (key, value) in object
        .iter()
        .filter(|(key, _)| !["_meta", RESPONSES, STATE].contains(key))
    {
        kept.push((key, value));
    }
    kept.sort_unstable();
    let mut hash = Sha256::new();
    hash.update(method.as_bytes());
    for (key, value) in kept {
        hash.update([0]);
        hash.update(key.as_bytes());
        hash.update([0]);
        // Members sorted at every depth, spaces gone; what no value can hold, such as 1e999, as it was written.
        match serde_json::from_str::<serde_json::Value>(value) {
            Ok(value) => hash.update(value.to_string().as_bytes()),
            Err(_) => hash.update(value.as_bytes()),
        }
    }
    Some(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_ask_are_told_apart_and_read() {
        assert_eq!(required(r#"{"resultType":"complete","x":"input_required"}"#), Ok(None));
        assert_eq!(required("{}"), Ok(None));
        let asked = r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"},"b":{"method":"elicitation/create","params":{"n": 1.0}}},"requestState":"s\u0031"}"#;
        let found = required(asked).unwrap().unwrap();
        assert_eq!(found.questions.len(), 2);
        assert_eq!(found.questions[1].params.as_ref().unwrap().as_str(), r#"{"n": 1.0}"#);
        assert_eq!(found.state.as_deref(), Some(r#""s\u0031""#), "the bytes it was");
        let only_state = r#"{"resultType":"input_required","requestState":"s"}"#;
        assert!(required(only_state).unwrap().unwrap().questions.is_empty());
        assert!(required(r#"{"resultType":"input_required","inputRequests":{"a":{}}}"#).is_err());
        let ours = with_state(asked, "t").unwrap();
        assert_eq!(required(&ours).unwrap().unwrap().state.as_deref(), Some("\"t\""));
    }

    #[test]
    fn what_is_asked_keeps_its_bytes_but_for_the_token() {
        let params = |text: &str| RawJson::from(text.to_owned());
        let (a, b) = (
            params(r#"{"m": 1e0,"_meta":{"progressToken":0}}"#),
            params(r#"{"_meta":{"progressToken":0,"k":[ ]}}"#),
        );
        let questions = [
            ("ask-1", "elicitation/create", Some(&a)),
            ("ask-2", "roots/list", Some(&b)),
            ("ask-3", "roots/list", None),
        ];
        assert_eq!(
            ask(questions.into_iter(), "s"),
            r#"{"resultType":"input_required","inputRequests":{"ask-1":{"method":"elicitation/create","params":{"m":1e0}},"ask-2":{"method":"roots/list","params":{"_meta":{"k":[ ]}}},"ask-3":{"method":"roots/list"}},"requestState":"s"}"#
        );
    }

    #[test]
    fn a_call_is_made_again_with_what_was_asked_for() {
        let answer = RawJson::from(r#"{"action":"accept"}"#.to_owned());
        let params = again(
            r#"{"name":"t","arguments":{"x": 1.0}}"#,
            [("a", &answer)].into_iter(),
            Some("\"s\""),
        );
        assert_eq!(
            params.unwrap(),
            r#"{"name":"t","arguments":{"x": 1.0},"inputResponses":{"a":{"action":"accept"}},"requestState":"s"}"#
        );
        let second = again(r#"{"requestState":"old","name":"t"}"#, [].into_iter(), None);
        assert_eq!(second.unwrap(), r#"{"name":"t","inputResponses":{}}"#);
    }

    #[test]
    fn the_digest_is_of_what_was_asked_for_in_the_first_place() {
        let first = digest(
            "tools/call",
            r#"{"name":"t","arguments":{"a":1,"b":[2]},"_meta":{"x":1}}"#,
        );
        for same in [
            r#"{"arguments":{"b":[2],"a":1},"name":"t","_meta":{"x":2}}"#,
            r#"{"name":"t","arguments":{"a": 1, "b": [ 2 ]},"requestState":"s","inputResponses":{}}"#,
        ] {
            assert_eq!(digest("tools/call", same), first, "{same}");
        }
        assert!(digest("tools/call", r#"{"a":{"deep":1e999}}"#).is_some());
        for other in [
            r#"{"name":"u","arguments":{"a":1,"b":[2]}}"#,
            r#"{"name":"t","arguments":{"a":2,"b":[2]}}"#,
            r#"{"name":"t"}"#,
        ] {
            assert_ne!(digest("tools/call", other), first, "{other}");
        }
        assert_ne!(
            digest("prompts/get", r#"{"name":"t","arguments":{"a":1,"b":[2]}}"#),
            first
        );
    }
}
