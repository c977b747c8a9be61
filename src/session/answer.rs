//! Answers in the agent's era: the edges where results and errors become JSON-RPC for good.

use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::error_object;
use crate::config::Errors;
use crate::error::{CallError, Reason};
use crate::router::Answer;
use crate::transport::HttpReply;
use crate::wire::message::write_response;
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
        Ok(Answer { body: Ok(result), era }) => match in_era(result.as_str(), era, agent) {
            Ok(None) => write_response(id, Ok(result.as_str())),
            Ok(Some(result)) => write_response(id, Ok(&result)),
            Err(error) => write_response(id, Err(&error)),
        },
        Ok(Answer { body: Err(error), .. }) => write_response(id, Err(error.as_str())),
        Err(error) => {
            let as_result = errors == Errors::Result
                && method == method::TOOLS_CALL
                && !matches!(error.reason, Reason::Cancelled { .. });
            if !as_result {
                return write_response(id, Err(&error.to_wire()));
            }
            let result = error.to_tool_result();
            match in_era(&result, Era::Legacy, agent) {
                Ok(Some(result)) => write_response(id, Ok(&result)),
                _ => write_response(id, Ok(&result)),
            }
        }
    }
}

/// A result of one era for an agent of the other; `None` where it needs no change.
fn in_era(result: &str, from: Era, to: Era) -> Result<Option<String>, String> {
    match (from, to) {
        (Era::Legacy, Era::Modern) => Ok(Some(completed(result))),
        (Era::Modern, Era::Legacy) => {
            let Ok(mut object) = Object::parse(result) else {
                return Ok(None);
            };
            match object.get_str("resultType").as_deref() {
                None | Some("complete") => {}
                Some(other) => {
                    let message = format!(
                        "the server answered with a result of type {other:?}, which a client of the legacy era cannot be given"
                    );
                    return Err(json!({ "code": codes::INTERNAL_ERROR, "message": message }).to_string());
                }
            }
            for key in ["resultType", "ttlMs", "cacheScope"] {
                object.remove(key);
            }
            Ok(Some(object.to_text()))
        }
        _ => Ok(None),
    }
}

/// A legacy result with the `resultType` that modern clients require.
fn completed(result: &str) -> String {
    let mentions = memchr::memmem::find(result.as_bytes(), b"\"resultType\"").is_some();
    if mentions
        && let Ok(object) = Object::parse(result)
        && object.get("resultType").is_some()
    {
        return result.to_owned();
    }
    let rest = result.trim_start().strip_prefix('{').unwrap_or("}").trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"resultType\":\"complete\"{comma}{rest}")
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
        assert_eq!(
            in_era(r#"{"content":[ ]}"#, Era::Legacy, Era::Modern).unwrap().unwrap(),
            r#"{"resultType":"complete","content":[ ]}"#
        );
        assert_eq!(
            in_era("{ }", Era::Legacy, Era::Modern).unwrap().unwrap(),
            r#"{"resultType":"complete"}"#
        );
        assert_eq!(completed(r#"{"resultType":"task"}"#), r#"{"resultType":"task"}"#);
        assert_eq!(
            completed(r#"{"x":"\"resultType\""}"#),
            r#"{"resultType":"complete","x":"\"resultType\""}"#
        );
        assert_eq!(
            in_era(
                r#"{"resultType":"complete","content":[1.0],"ttlMs":0}"#,
                Era::Modern,
                Era::Legacy
            )
            .unwrap()
            .unwrap(),
            r#"{"content":[1.0]}"#
        );
        assert!(in_era(r#"{"resultType":"input_required"}"#, Era::Modern, Era::Legacy).is_err());
        assert_eq!(in_era("{}", Era::Legacy, Era::Legacy).unwrap(), None);
    }
}
