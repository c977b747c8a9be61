//! Answers in the agent's era: the edges where results and errors become JSON-RPC for good.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::error_object;
use crate::config::Errors;
use crate::error::{CallError, Reason};
use crate::router::Answer;
use crate::transport::HttpReply;
use crate::wire::message::{begin_response, write_response};
use crate::wire::{Era, Object, codes, method};

/// The response to a call, in the era of the agent that made it.
pub(super) fn respond(
    id: &str,
    agent: Era,
    method: &str,
    errors: Errors,
    outcome: Result<Answer, CallError>,
) -> String {
    match outcome {
        Ok(Answer { body: Ok(result), era }) => response(id, result.as_str(), era, agent),
        Ok(Answer { body: Err(error), .. }) => write_response(id, Err(error.as_str())),
        Err(error) => {
            let as_result = errors == Errors::Result
                && method == method::TOOLS_CALL
                && !matches!(error.reason, Reason::Cancelled { .. });
            if !as_result {
                return write_response(id, Err(&error.to_wire()));
            }
            response(id, &error.to_tool_result(), Era::Legacy, agent)
        }
    }
}

/// The response with a result of one era for an agent of that or the other.
fn response(id: &str, result: &str, from: Era, to: Era) -> String {
    match (from, to) {
        (Era::Legacy, Era::Modern) => completed(id, result),
        (Era::Modern, Era::Legacy) => plain(id, result),
        _ => write_response(id, Ok(result)),
    }
}

/// A modern result without what only modern clients know.
fn plain(id: &str, result: &str) -> String {
    let Ok(mut object) = Object::parse(result) else {
        return write_response(id, Ok(result));
    };
    match object.get_str("resultType").as_deref() {
        None | Some("complete") => {}
        Some(other) => {
            let message = format!(
                "the server answered with a result of type {other:?}, which a client of the legacy era cannot be given"
            );
            return write_response(id, Err(&error_object(codes::INTERNAL_ERROR, &message, None)));
        }
    }
    for key in ["resultType", "ttlMs", "cacheScope"] {
        object.remove(key);
    }
    let mut out = begin_response(id, result.len());
    object.write(&mut out);
    out.push('}');
    out
}

/// A legacy result with the `resultType` that modern clients require.
fn completed(id: &str, result: &str) -> String {
    let mentions = memchr::memmem::find(result.as_bytes(), b"\"resultType\"").is_some();
    if mentions
        && let Ok(object) = Object::parse(result)
        && object.get("resultType").is_some()
    {
        return write_response(id, Ok(result));
    }
    let rest = result.trim_start().strip_prefix('{').unwrap_or("}").trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    let mut out = begin_response(id, rest.len() + 32);
    for part in ["{\"resultType\":\"complete\"", comma, rest, "}"] {
        out.push_str(part);
    }
    out
}

/// `tools` as a `tools/list` result.
pub(super) fn tool_list(tools: &str, agent: Era) -> String {
    match agent {
        Era::Legacy => format!("{{\"tools\":{tools}}}"),
        // Lists change when servers restart, and what is seen may come to depend on who asks.
        Era::Modern => format!(
            "{{\"resultType\":\"complete\",\"tools\":{tools},\"ttlMs\":0,\"cacheScope\":\"private\",\"_meta\":{}}}",
            server_meta()
        ),
    }
}

/// The error of a `tools/list` that asks for a further page: there is one page only.
pub(super) fn refused_cursor(params: Option<&str>) -> Option<String> {
    let params = Object::parse(params?).ok()?;
    params.get("cursor").filter(|cursor| *cursor != "null")?;
    let why = "there is no such cursor: the list has one page";
    Some(error_object(codes::INVALID_PARAMS, why, None))
}

/// What the router offers to every agent.
pub(super) fn capabilities() -> serde_json::Value {
    json!({ "tools": { "listChanged": true }, "logging": {} })
}

/// Who the router is, towards agents.
pub(super) fn server_info() -> serde_json::Value {
    json!({ "name": "pointsman", "title": "Pointsman", "version": env!("CARGO_PKG_VERSION") })
}

/// `_meta` of the router's own modern results.
pub(super) fn server_meta() -> serde_json::Value {
    json!({ method::META_SERVER: server_info() })
}

/// A JSON reply with status 200.
pub(super) fn ok(body: String) -> HttpReply {
    HttpReply::Json {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_page() {
        for (params, refused) in [
            (None, false),
            (Some("{}"), false),
            (Some(r#"{"cursor":null}"#), false),
            (Some(r#"{"cursor":"2"}"#), true),
        ] {
            assert_eq!(refused_cursor(params).is_some(), refused, "{params:?}");
        }
    }

    #[test]
    fn results_cross_the_eras() {
        let (legacy, modern) = (Era::Legacy, Era::Modern);
        for (from, to, result, given) in [
            (
                legacy,
                modern,
                r#"{"content":[ ]}"#,
                r#"{"resultType":"complete","content":[ ]}"#,
            ),
            (legacy, modern, "{ }", r#"{"resultType":"complete"}"#),
            (legacy, modern, r#"{"resultType":"task"}"#, r#"{"resultType":"task"}"#),
            (
                legacy,
                modern,
                r#"{"x":"\"resultType\""}"#,
                r#"{"resultType":"complete","x":"\"resultType\""}"#,
            ),
            (
                modern,
                legacy,
                r#"{"resultType":"complete","content":[1.0],"ttlMs":0}"#,
                r#"{"content":[1.0]}"#,
            ),
            (legacy, legacy, "{}", "{}"),
        ] {
            assert_eq!(response("7", result, from, to), write_response("7", Ok(given)));
        }
        let refused = response("7", r#"{"resultType":"input_required"}"#, modern, legacy);
        assert!(
            refused.contains("\"error\"") && refused.contains("input_required"),
            "{refused}"
        );
    }
}
