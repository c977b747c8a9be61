//! JSON-RPC messages, parsed one level deep by hand-checked fields.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use serde_json::value::RawValue;

use super::json::{self, Object, push_quoted, unquote};
use super::scan::Flaw;

/// The id of a request exactly as its sender wrote it: a JSON string or number, echoed byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Takes the raw text of an id; `None` where it is neither a string nor a number.
    pub fn from_raw(raw: &str) -> Option<Self> {
        matches!(raw.as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9')).then(|| Self(raw.into()))
    }

    /// The raw JSON text.
    pub fn as_raw(&self) -> &str {
        &self.0
    }

    /// The same id in the form under which it is found again however its string was escaped.
    pub fn key(&self) -> Self {
        match unquote(&self.0) {
            Some(Cow::Owned(text)) => Self(json::quote(&text).into()),
            _ => self.clone(),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A request: it wants an answer.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its id as written.
    pub id: RequestId,
    /// Its method.
    pub method: Cow<'a, str>,
    /// Its params, an object, as raw text.
    pub params: Option<&'a str>,
    /// The same, split; `None` where they have a flaw of their own, such as a key that stands twice.
    pub members: Option<Object<'a>>,
}

/// A notification: no answer.
#[derive(Debug)]
pub struct Notification<'a> {
    /// Its method.
    pub method: Cow<'a, str>,
    /// Its params, an object, as raw text.
    pub params: Option<&'a str>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Response<'a> {
    /// The id of the request; `None` where it is null.
    pub id: Option<RequestId>,
    /// The raw `result`, or the raw `error`.
    pub outcome: Result<&'a str, &'a str>,
}

/// One JSON-RPC message.
#[derive(Debug)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Is an answer.
    Response(Response<'a>),
}

/// Why bytes are not a message. `id` is the request's id where it could still be read.
#[derive(Debug)]
pub struct ParseError {
    /// What is wrong, in words for the sender.
    pub reason: String,
    /// True where it is not JSON at all (-32700), false where it is JSON but no request (-32600).
    pub not_json: bool,
    /// The id to answer to.
    pub id: Option<RequestId>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    fn json(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            not_json: true,
            id: None,
        }
    }

    fn invalid(reason: impl Into<String>, id: Option<RequestId>) -> Self {
        Self {
            reason: reason.into(),
            not_json: false,
            id,
        }
    }
}

impl<'a> Message<'a> {
    /// Parses one message. Batches are the caller's matter: see [`is_batch`].
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        match Object::parse_two(text, "params") {
            Ok((object, members)) => Self::from_object(&object, members),
            Err(error) => Err(match &error.flaw {
                Flaw::Duplicate(_) => ParseError::invalid(format!("the envelope is wrong: {error}"), None),
                Flaw::Syntax(_) if !text.trim_ascii_start().starts_with('{') && json::check(text).is_ok() => {
                    ParseError::invalid("a JSON-RPC message is an object", None)
                }
                Flaw::Deep | Flaw::Many(_) => ParseError::json(format!("the message is refused: {error}")),
                Flaw::Syntax(_) => ParseError::json(format!("the message is not JSON: {error}")),
            }),
        }
    }
}

/// What was received, as text.
pub fn text(bytes: Bytes) -> Result<ByteString, ParseError> {
    ByteString::try_from(bytes).map_err(|e| ParseError::json(format!("the message is not UTF-8: {e}")))
}

/// The id of what was meant as an answer and is no message: not UTF-8, too deep, a key twice. Whoever waits for it is
/// told so instead of waiting for ever.
pub fn failed_answer_id(bytes: &[u8]) -> Option<RequestId> {
    let text = String::from_utf8_lossy(bytes);
    let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(&text).ok()?;
    if members.contains_key("method") {
        return None;
    }
    members.get("id").and_then(|id| RequestId::from_raw(id.get()))
}

/// True where `bytes` hold a JSON array, which in 2025-03-26 is a batch.
pub fn is_batch(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'[')
}

impl<'a> Message<'a> {
    fn from_object(object: &Object<'a>, members: Option<Object<'a>>) -> Result<Self, ParseError> {
        let find = |key: &str| object.get_borrowed(key);
        let raw_id = find("id");
        let id = raw_id.and_then(RequestId::from_raw);
        if find("jsonrpc") != Some("\"2.0\"") {
            return Err(ParseError::invalid("jsonrpc must be \"2.0\"", id));
        }
        if let Some(raw) = raw_id
            && id.is_none()
            && raw != "null"
        {
            return Err(ParseError::invalid("an id is a string or a number", None));
        }
        if let Some(raw_method) = find("method") {
            let Some(method) = unquote(raw_method) else {
                return Err(ParseError::invalid("method must be a string", id));
            };
            let params = find("params");
            if params.is_some_and(|p| !p.starts_with('{')) {
                return Err(ParseError::invalid("params must be an object", id));
            }
            return match (id, raw_id) {
                (Some(id), _) => Ok(Message::Request(Request {
                    id,
                    method,
                    params,
                    members,
                })),
                (None, None) => Ok(Message::Notification(Notification { method, params })),
                (None, Some(_)) => Err(ParseError::invalid("the id of a request must not be null", None)),
            };
        }
        let outcome = (find("result"), find("error"));
        // In MCP both are objects always; their readers may rely on it.
        if let (Some(body), None) | (None, Some(body)) = outcome
            && !body.starts_with('{')
        {
            return Err(ParseError::invalid("a result, or an error, must be an object", id));
        }
        match outcome {
            (Some(result), None) => Ok(Message::Response(Response {
                id,
                outcome: Ok(result),
            })),
            (None, Some(error)) => Ok(Message::Response(Response {
                id,
                outcome: Err(error),
            })),
            _ => Err(ParseError::invalid("a message has a method, a result or an error", id)),
        }
    }
}

const ENVELOPE: &str = "{\"jsonrpc\":\"2.0\",\"id\":";
const RESULT: &str = ",\"result\":";

/// Writes a response line without its newline.
pub fn write_response(id: &str, outcome: Result<&str, &str>) -> String {
    let (key, body) = match outcome {
        Ok(result) => (RESULT, result),
        Err(error) => (",\"error\":", error),
    };
    // No more room than is needed: then it becomes shared bytes as it is.
    [ENVELOPE, id, key, body, "}"].concat()
}

/// Writes a response up to its result, with room for `room` bytes of that; who continues it also closes it.
pub fn begin_response(id: &str, room: usize) -> String {
    let mut out = String::with_capacity(ENVELOPE.len() + id.len() + RESULT.len() + room + 1);
    for part in [ENVELOPE, id, RESULT] {
        out.push_str(part);
    }
    out
}

/// Writes a request, or with no id a notification, without its newline. `params` is raw JSON.
pub fn write_request(id: Option<&str>, method: &str, params: Option<&str>) -> String {
    let mut out = String::with_capacity(params.map_or(0, str::len) + method.len() + 64);
    out.push_str("{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        for part in ["\"id\":", id, ","] {
            out.push_str(part);
        }
    }
    out.push_str("\"method\":");
    push_quoted(&mut out, method);
    if let Some(params) = params {
        out.push_str(",\"params\":");
        out.push_str(params);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<(), ParseError> {
        Message::parse(&text(Bytes::copy_from_slice(bytes))?).map(drop)
    }

    #[test]
    fn params_are_split_along_the_way_unless_they_have_a_flaw() {
        for (params, members) in [
            (
                r#"{"name":"x","_meta":{"a":1}}"#,
                Some(r#"{"name":"x","_meta":{"a":1}}"#),
            ),
            (r#"{ "a" : [ 1 ] }"#, Some(r#"{"a":[ 1 ]}"#)),
            (r#"{"a":1,"a":2}"#, None),
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","params":{params},"id":1,"method":"m"}}"#);
            let Message::Request(request) = Message::parse(&text).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(request.params, Some(params));
            assert_eq!(request.members.map(|m| m.to_text()).as_deref(), members);
        }
    }

    #[test]
    fn an_answer_that_is_no_message_still_has_its_id() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":7,"result":{}{}}}"#,
            "[".repeat(5000),
            "]".repeat(5000)
        );
        for answer in [
            b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"caf\xe9\"}".as_slice(),
            deep.as_bytes(),
            br#"{"id":7,"result":{}}"#,
            br#"{"jsonrpc":"2.0","id":7,"result":{},"result":1}"#,
        ] {
            assert!(parsed(answer).is_err());
            assert_eq!(failed_answer_id(answer).unwrap().as_raw(), "7");
        }
        for other in ["{\"id\":7", "[7]", "7", "{\"id\":7,\"method\":1}", "{\"id\":null}"] {
            assert!(failed_answer_id(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn ids_are_echoed_as_they_were_written() {
        for id in ["0", "-1", "18446744073709551616", "1.50", "1e3", "\"a\\u0062\"", "\"\""] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            let Message::Request(request) = Message::parse(&text).unwrap() else {
                panic!("{text}")
            };
            assert_eq!(request.id.as_raw(), id);
        }
        assert_eq!(
            RequestId::from_raw("\"a\\u0062\"").unwrap().key(),
            RequestId::from_raw("\"ab\"").unwrap().key()
        );
        assert_ne!(
            RequestId::from_raw("\"1\"").unwrap().key(),
            RequestId::from_raw("1").unwrap().key()
        );
    }

    #[test]
    fn what_is_no_message_says_why_and_keeps_the_id() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{}{}}}"#,
            "{\"a\":".repeat(200),
            "}".repeat(200)
        );
        let cases: Vec<(&[u8], bool, Option<&str>)> = vec![
            (b"", true, None),
            (b"{", true, None),
            (b"\xff\xfe", true, None),
            (b"42", false, None),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"x\"}", false, None),
            (b"{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"x\"}", false, Some("7")),
            (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"x\"}", false, None),
            (b"{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"x\"}", false, None),
            (b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":5}", false, Some("7")),
            (
                b"{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"x\",\"params\":[1]}",
                false,
                Some("7"),
            ),
            (b"{\"jsonrpc\":\"2.0\",\"id\":7}", false, Some("7")),
            (b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":5}", false, Some("7")),
            (b"{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":\"x\"}", false, Some("7")),
            (deep.as_bytes(), true, None),
        ];
        for (bytes, not_json, id) in cases {
            let error = parsed(bytes).unwrap_err();
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
            assert_eq!(error.not_json, not_json, "{shown}: {error}");
            assert_eq!(error.id.as_ref().map(RequestId::as_raw), id, "{shown}: {error}");
        }
    }

    #[test]
    fn brackets_inside_strings_are_not_depth() {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":"{}\"["}}}}"#,
            "[".repeat(500)
        );
        assert!(Message::parse(&text).is_ok());
    }
}
