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
    fn plain_and_wrapped_values() {
        assert_eq!(value(" echo ").as_deref(), Some("echo"));
        assert_eq!(value("=?base64?w6ljaG8=?=").as_deref(), Some("écho"));
        assert_eq!(value("=?base64?*?="), None);
    }
}
