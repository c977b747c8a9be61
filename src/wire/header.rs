//! Values of the headers that mirror a modern request's body (2026-07-28, SEP-2243).

use std::borrow::Cow;

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
        Some(encoded) => String::from_utf8(base64(encoded)?).ok().map(Cow::Owned),
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

/// The arguments that an `inputSchema` wants mirrored: those reached through `properties` alone.
pub fn mirrored(schema: &str) -> Vec<Mirrored> {
    let mut found = Vec::new();
    // Few schemas have any: those are not parsed.
    if memchr::memmem::find(schema.as_bytes(), b"x-mcp-header").is_some()
        && let Ok(schema) = serde_json::from_str(schema)
    {
        collect(&schema, "/arguments", &mut found);
    }
    found
}

fn collect(schema: &serde_json::Value, at: &str, found: &mut Vec<Mirrored>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let pointer = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        match property["x-mcp-header"].as_str() {
            Some(header) => found.push(Mirrored {
                header: format!("mcp-param-{}", header.to_ascii_lowercase()),
                pointer,
            }),
            None => collect(property, &pointer, found),
        }
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
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(text.len() * 4 / 3 + 16);
    out.push_str("=?base64?");
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * position) & 63).unwrap_or(0);
            out.push(if position > chunk.len() {
                '='
            } else {
                char::from(DIGITS[digit])
            });
        }
    }
    out.push_str("?=");
    Cow::Owned(out)
}

/// What mirrors an argument, given as JSON text; `None` where it is absent, null, or nothing that fits a header.
pub fn mirror(argument: &str) -> Option<Cow<'_, str>> {
    match argument.as_bytes().first()? {
        b'"' => Some(Cow::Owned(encode(&super::json::unquote(argument)?).into_owned())),
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(argument)),
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_mirrored_where_the_schema_says() {
        let schema = r#"{"properties":{"region":{"type":"string","x-mcp-header":"Region"},"deep":{"properties":{"a/b":{"x-mcp-header":"N"}}},"free":{}}}"#;
        let found: Vec<_> = mirrored(schema).into_iter().map(|m| (m.header, m.pointer)).collect();
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
        assert_eq!(value("=?base64?*?="), None);
    }
}
