//! The demo server's JSON-RPC envelope: borrowed parsing on the way in, raw concatenation on the way out.
//!
//! The same binary is the benchmark's echo server, so nothing here builds a document tree: a message is
//! parsed once into borrowed fields, and an answer is a handful of slices copied into the output.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub const PARSE_ERROR: i32 = -32700;
pub const INVALID_REQUEST: i32 = -32600;
pub const METHOD_NOT_FOUND: i32 = -32601;
pub const INVALID_PARAMS: i32 = -32602;
pub const INTERNAL_ERROR: i32 = -32603;
pub const HEADER_MISMATCH: i32 = -32020;
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// One message from the client: a request, a notification or a response.
#[derive(Deserialize)]
pub struct Message<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub params: Option<Params<'a>>,
}

/// The union of the parameters of every method this server knows, so that one pass reads any of them
/// whatever the order of `method` and `params` on the wire.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Params<'a> {
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Option<Meta<'a>>,
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub protocol_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub level: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub request_id: Option<&'a RawValue>,
    #[serde(default)]
    pub notifications: Option<Filter>,
}

/// The `_meta` keys that matter here; all others are ignored.
#[derive(Default, Deserialize)]
pub struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    pub progress_token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub version: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub capabilities: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    pub log_level: Option<Cow<'a, str>>,
}

/// What a `subscriptions/listen` asks for; the only kind this server has is the tool list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    #[serde(default)]
    pub tools_list_changed: Option<bool>,
}

/// Why a message could not be taken, with the id to answer to when it was readable.
pub struct Malformed<'a> {
    pub id: Option<&'a RawValue>,
    pub code: i32,
    pub text: String,
}

impl Malformed<'_> {
    fn without_id(code: i32, text: impl Into<String>) -> Self {
        Self {
            id: None,
            code,
            text: text.into(),
        }
    }
}

/// Reads one message. Batches are refused: the last revision that had them is also served without.
pub fn parse(bytes: &[u8]) -> Result<Message<'_>, Malformed<'_>> {
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(Malformed::without_id(INVALID_REQUEST, "batches are not supported"));
    }
    let message: Message<'_> = serde_json::from_slice(bytes).map_err(|error| diagnose(bytes, &error))?;
    if message.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
        return Err(Malformed::without_id(INVALID_REQUEST, "jsonrpc must be \"2.0\""));
    }
    if let Some(id) = message.id
        && !matches!(id.get().as_bytes()[0], b'"' | b'-' | b'0'..=b'9')
    {
        return Err(Malformed::without_id(
            INVALID_REQUEST,
            "id must be a string or a number",
        ));
    }
    Ok(message)
}

/// The slow path after a failed parse: tells broken JSON from a well-formed request with parameters of
/// the wrong type, which still has an id to answer to.
fn diagnose<'a>(bytes: &'a [u8], error: &serde_json::Error) -> Malformed<'a> {
    #[derive(Deserialize)]
    struct Loose<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default)]
        method: Option<&'a RawValue>,
    }
    match serde_json::from_slice::<Loose<'_>>(bytes) {
        Ok(Loose { id, method }) => Malformed {
            id,
            code: match method {
                Some(method) if method.get().starts_with('"') => INVALID_PARAMS,
                _ => INVALID_REQUEST,
            },
            text: error.to_string(),
        },
        Err(error) => Malformed::without_id(PARSE_ERROR, error.to_string()),
    }
}

/// Appends a result line. `members` are concatenated into the result object, `tail` closes it with the
/// members every result of an era carries.
pub fn push_result(out: &mut Vec<u8>, id: &RawValue, members: &[&str], tail: &str) {
    push(out, &["{\"jsonrpc\":\"2.0\",\"id\":", id.get(), ",\"result\":{"]);
    push(out, members);
    push(out, &[tail, "}}\n"]);
}

/// Appends a tool result with one text block; `text` is a JSON string as it stood on the wire.
pub fn push_text(out: &mut Vec<u8>, id: &RawValue, text: &str, tail: &str) {
    let members = ["\"content\":[{\"type\":\"text\",\"text\":", text, "}]"];
    push_result(out, id, &members, tail);
}

/// Appends a tool result that reports a failure the model should read.
pub fn push_failure(out: &mut Vec<u8>, id: &RawValue, text: &str, tail: &str) {
    let text = quote(text);
    let members = [
        "\"content\":[{\"type\":\"text\",\"text\":",
        &text,
        "}],\"isError\":true",
    ];
    push_result(out, id, &members, tail);
}

/// Appends an error line; `data` is raw JSON.
pub fn push_error(out: &mut Vec<u8>, id: Option<&RawValue>, code: i32, text: &str, data: Option<&str>) {
    let id = id.map_or("null", RawValue::get);
    push(out, &["{\"jsonrpc\":\"2.0\",\"id\":", id, ",\"error\":{\"code\":"]);
    push(out, &[&code.to_string(), ",\"message\":", &quote(text)]);
    if let Some(data) = data {
        push(out, &[",\"data\":", data]);
    }
    push(out, &["}}\n"]);
}

/// Appends a notification line; `params` are the raw members of its parameters.
pub fn push_notification(out: &mut Vec<u8>, method: &str, params: &[&str]) {
    push(out, &["{\"jsonrpc\":\"2.0\",\"method\":\"", method, "\""]);
    if !params.is_empty() {
        push(out, &[",\"params\":{"]);
        push(out, params);
        push(out, &["}"]);
    }
    push(out, &["}\n"]);
}

/// A text as a JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}
