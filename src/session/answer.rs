//! Answers in the agent's era: the edges where results and errors become JSON-RPC for good.

use std::sync::LazyLock;

use http::{HeaderMap, StatusCode};
use memchr::memmem::Finder;
use serde_json::json;

use super::error_object;
use super::events::Body;
use crate::config::Errors;
use crate::error::{CallError, Reason};
use crate::router::Answer;
use crate::transport::HttpReply;
use crate::wire::message::{begin_response, write_response};
use crate::wire::{Era, Kind, Object, codes, method};

/// The response to a call, in the era of the agent that made it.
pub(super) fn respond(id: &str, agent: Era, method: &str, errors: Errors, outcome: Result<Answer, CallError>) -> Body {
    let text = match outcome {
        Ok(Answer {
            body: Ok(result), era, ..
        }) => response(id, method, result.as_str(), era, agent),
        Ok(Answer { body: Err(error), .. }) => return refused(id, error.as_str(), agent),
        Err(error) => {
            let as_result = errors == Errors::Result
                && method == method::TOOLS_CALL
                && !matches!(error.reason, Reason::Cancelled { .. });
            if !as_result {
                return refused(id, &error.to_wire(), agent);
            }
            response(id, method, &error.to_tool_result(), Era::Legacy, agent)
        }
    };
    text.into()
}

/// An error for an agent of an era, with the status that goes with it there.
fn refused(id: &str, error: &str, agent: Era) -> Body {
    let body = Body::from(write_response(id, Err(error)));
    if agent == Era::Legacy {
        return body;
    }
    let code = Object::parse(error)
        .ok()
        .and_then(|e| e.get("code").and_then(|code| code.parse::<i64>().ok()));
    match code {
        Some(codes::METHOD_NOT_FOUND) => Body {
            status: StatusCode::NOT_FOUND,
            ..body
        },
        Some(codes::HEADER_MISMATCH | codes::MISSING_CAPABILITY | codes::UNSUPPORTED_VERSION) => Body {
            status: StatusCode::BAD_REQUEST,
            ..body
        },
        // The modern era has no code of its own for what is not there.
        Some(codes::LEGACY_NOT_FOUND) => {
            let mut object = Object::parse(error).unwrap_or_default();
            object.set("code", codes::INVALID_PARAMS.to_string());
            write_response(id, Err(&object.to_text())).into()
        }
        // Neither has it one for what a user has to do elsewhere first; the message says what that is.
        Some(codes::LEGACY_URL_ELICITATION) => {
            let mut object = Object::parse(error).unwrap_or_default();
            object.set("code", codes::INTERNAL_ERROR.to_string());
            write_response(id, Err(&object.to_text())).into()
        }
        _ => body,
    }
}

/// The response with a result of one era for an agent of that or the other.
fn response(id: &str, method: &str, result: &str, from: Era, to: Era) -> String {
    match (from, to) {
        (Era::Legacy, Era::Modern) => completed(id, method, result),
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

/// A legacy result with what modern clients require: `resultType`, and for a resource how long it may be kept.
fn completed(id: &str, method: &str, result: &str) -> String {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"resultType\""));
    let mentions = FINDER.find(result.as_bytes()).is_some();
    if mentions
        && let Ok(object) = Object::parse(result)
        && object.get("resultType").is_some()
    {
        return write_response(id, Ok(result));
    }
    let rest = result.trim_start().strip_prefix('{').unwrap_or("}").trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    let mut out = begin_response(id, rest.len() + 80);
    let kept = match method {
        method::RESOURCES_READ => ",\"ttlMs\":0,\"cacheScope\":\"private\"",
        _ => "",
    };
    for part in ["{\"resultType\":\"complete\"", kept, comma, rest, "}"] {
        out.push_str(part);
    }
    out
}

/// Items of a list as the list's result.
pub(super) fn list(kind: Kind, items: &str, next: Option<&str>, agent: Era) -> String {
    let next = next
        .map(|cursor| format!(",\"nextCursor\":\"{cursor}\""))
        .unwrap_or_default();
    let member = kind.member();
    match agent {
        Era::Legacy => format!("{{\"{member}\":[{items}]{next}}}"),
        // Lists change when servers restart, and what is seen may come to depend on who asks.
        Era::Modern => format!(
            "{{\"resultType\":\"complete\",\"{member}\":[{items}]{next},\"ttlMs\":0,\"cacheScope\":\"private\",\"_meta\":{}}}",
            server_meta()
        ),
    }
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
            assert_eq!(
                response("7", "tools/call", result, from, to),
                write_response("7", Ok(given))
            );
        }
        let refused = response("7", "tools/call", r#"{"resultType":"input_required"}"#, modern, legacy);
        assert!(
            refused.contains("\"error\"") && refused.contains("input_required"),
            "{refused}"
        );
    }
}
