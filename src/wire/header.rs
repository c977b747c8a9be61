//! Values of the headers that mirror a modern request's body (2026-07-28, SEP-2243).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Names the revision a request is written in.
pub const VERSION: &str = "mcp-protocol-version";
/// Mirrors the method.
pub const METHOD: &str = "mcp-method";
/// Mirrors `params.name` or `params.uri`.
pub const NAME: &str = "mcp-name";
/// Names a legacy session.
pub const SESSION: &str = "mcp-session-id";

/// The value behind a header: plain, or wrapped as `=?base64?…?=` where it is not safe in a header.
/// `None` where the wrapping holds no base64 of UTF-8.
pub fn value(raw: &str) -> Option<Cow<'_, str>> {
    let raw = raw.trim_matches([' ', '\t']);
    match raw.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) {
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded).ok()?;
            String::from_utf8(bytes).ok().map(Cow::Owned)
        }
        None => Some(Cow::Borrowed(raw)),
    }
}

/// An argument that a tool's schema wants mirrored in a header (`x-mcp-header`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The header, in lower case.
    pub header: String,
    /// Where in the params the argument stands.
    pub pointer: String,
}

/// The key of a schema that wants its value mirrored.
const ANNOTATION: &str = "x-mcp-header";

/// The arguments that an `inputSchema` wants mirrored. An error where it wants what is not allowed: a client must not
/// use such a tool (2026-07-28, SEP-2243).
pub fn mirrored(schema: &str) -> Result<Vec<Mirrored>, &'static str> {
    let mut found = Vec::new();
    // Few schemas have any: those are not parsed.
    if memchr::memmem::find(schema.as_bytes(), ANNOTATION.as_bytes()).is_some()
        && let Ok(schema) = serde_json::from_str(schema)
    {
        collect(&schema, "/arguments", &mut found)?;
        if annotations(&schema) != found.len() {
            return Err("x-mcp-header stands where no property is reached through properties alone");
        }
    }
    Ok(found)
}

fn collect(schema: &Value, at: &str, found: &mut Vec<Mirrored>) -> Result<(), &'static str> {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        match property.get(ANNOTATION) {
            Some(header) => found.push(one(header, property, pointer, found)?),
            None => collect(property, &pointer, found)?,
        }
    }
    Ok(())
}

fn one(header: &Value, property: &Value, pointer: String, found: &[Mirrored]) -> Result<Mirrored, &'static str> {
    let header = header.as_str().ok_or("x-mcp-header is no string")?;
    if !matches!(property["type"].as_str(), Some("string" | "integer" | "boolean")) {
        return Err("x-mcp-header stands at what is no string, integer or boolean");
    }
    let header = format!("mcp-param-{}", header.to_ascii_lowercase());
    // What the name of a header may have in it, and is not empty without its prefix.
    if header.len() == "mcp-param-".len() || http::HeaderName::from_bytes(header.as_bytes()).is_err() {
        return Err("x-mcp-header is no name of a header");
    }
    if found.iter().any(|other| other.header == header) {
        return Err("two arguments have the same x-mcp-header");
    }
    Ok(Mirrored { header, pointer })
}

/// How many annotations a schema has, wherever they stand. A property may be named like one.
fn annotations(schema: &Value) -> usize {
    match schema {
        Value::Array(items) => items.iter().map(annotations).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                (ANNOTATION, _) => 1,
                ("properties", Value::Object(properties)) => properties.values().map(annotations).sum(),
                // Their contents are values, not schemas.
                ("const" | "default" | "enum" | "examples", _) => 0,
                _ => annotations(value),
            })
            .sum(),
        _ => 0,
    }
}

/// Whether a header says what an argument says. An argument that is absent or null has no header.
pub fn says(header: Option<&str>, argument: Option<&str>) -> bool {
    match (header, argument.filter(|a| *a != "null")) {
        (None, None) => true,
        (Some(header), Some(argument)) => {
            let wanted = super::json::unquote(argument).unwrap_or(Cow::Borrowed(argument));
            value(header).as_deref() == Some(&*wanted)
        }
        _ => false,
    }
}

/// A value as it stands in a header, the other way round: plain where that is safe, wrapped where it is not, or would
/// be taken for wrapped.
pub fn encode(text: &str) -> Cow<'_, str> {
    let safe = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    let trimmed = text.trim_matches(' ').len() == text.len();
    if safe && trimmed && !text.starts_with("=?base64?") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("=?base64?{}?=", STANDARD.encode(text)))
}

/// What mirrors an argument, given as JSON text; `None` where it is absent, null, or nothing that fits a header.
pub fn mirror(argument: &str) -> Option<Cow<'_, str>> {
    match argument.as_bytes().first()? {
        b'"' => Some(Cow::Owned(encode(&super::json::unquote(argument)?).into_owned())),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(argument)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_that_want_what_is_not_allowed_are_refused() {
        for (properties, fine) in [
            (
                r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"boolean","x-mcp-header":"B"}}"#,
                true,
            ),
            (r#"{"x-mcp-header":{"type":"string"}}"#, true),
            (r#"{"a":{"type":"string","default":{"x-mcp-header":"A"}}}"#, true),
            (r#"{"a":{"type":"string","x-mcp-header":""}}"#, false),
            (r#"{"a":{"type":"string","x-mcp-header":7}}"#, false),
            (r#"{"a":{"type":"number","x-mcp-header":"A"}}"#, false),
            (r#"{"a":{"type":"object","x-mcp-header":"A"}}"#, false),
            (
                r#"{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}"#,
                false,
            ),
            (r#"{"a":{"anyOf":[{"type":"string","x-mcp-header":"A"}]}}"#, false),
            (
                r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}"#,
                false,
            ),
            (r#"{"a":{"type":"string","x-mcp-header":"A:B"}}"#, false),
            (r#"{"a":{"type":"string","x-mcp-header":"A B"}}"#, false),
            (r#"{"a":{"type":"string","x-mcp-header":"Région"}}"#, false),
            (r#"{"a":{"type":"string","x-mcp-header":"A\r\nB"}}"#, false),
        ] {
            let schema = format!(r#"{{"type":"object","properties":{properties}}}"#);
            assert_eq!(mirrored(&schema).is_ok(), fine, "{schema}");
        }
    }

    #[test]
    fn arguments_are_mirrored_where_the_schema_says() {
        let schema = r#"{"properties":{"region":{"type":"string","x-mcp-header":"Region"},"deep":{"properties":{"a/b":{"type":"integer","x-mcp-header":"N"}}},"free":{}}}"#;
        let found = mirrored(schema).unwrap();
        let found: Vec<_> = found.into_iter().map(|m| (m.header, m.pointer)).collect();
        let expected = [
            ("mcp-param-region", "/arguments/region"),
            ("mcp-param-n", "/arguments/deep/a~1b"),
        ];
        for (header, pointer) in expected {
            assert!(found.contains(&(header.to_owned(), pointer.to_owned())), "{found:?}");
        }
        assert_eq!(found.len(), 2);
        assert!(says(Some("eu"), Some("\"eu\"")) && says(Some("42"), Some("42")) && says(Some("true"), Some("true")));
        assert!(says(None, None) && says(None, Some("null")));
        assert!(!says(Some("eu"), Some("\"us\"")) && !says(None, Some("1")) && !says(Some("1"), None));
    }

    #[test]
    fn what_is_safe_is_plain_and_the_rest_is_wrapped() {
        for (text, header) in [
            ("echo", "echo"),
            ("a b", "a b"),
            ("écho", "=?base64?w6ljaG8=?="),
            (" a", "=?base64?IGE=?="),
            ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
            ("", ""),
        ] {
            assert_eq!(encode(text), header, "{text}");
        }
        assert_eq!(mirror("42").as_deref(), Some("42"));
        assert_eq!(mirror(r#""e\u0075""#).as_deref(), Some("eu"));
        assert_eq!((mirror("null"), mirror("[1]")), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_read_again(text in ".{0,40}") {
            let header = encode(&text);
            let read = value(&header);
            proptest::prop_assert_eq!(read.as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn plain_and_wrapped_values() {
        assert_eq!(value(" echo ").as_deref(), Some("echo"));
        assert_eq!(value("=?base64?w6ljaG8=?=").as_deref(), Some("écho"));
        for wrong in ["*", "SGVsbG8", "SGVsbG8==", "SGVs bG8="] {
            assert_eq!(value(&format!("=?base64?{wrong}?=")), None, "{wrong}");
        }
    }
}
