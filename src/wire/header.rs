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
    fn plain_and_wrapped_values() {
        assert_eq!(value(" echo ").as_deref(), Some("echo"));
        assert_eq!(value("=?base64?w6ljaG8=?=").as_deref(), Some("écho"));
        assert_eq!(value("=?base64?*?="), None);
    }
}
