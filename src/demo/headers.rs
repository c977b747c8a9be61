//! The HTTP headers the demo server checks and mints.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{HeaderMap, HeaderValue, ORIGIN};

use super::wire::Message;

/// Names a legacy session.
pub const SESSION: &str = "mcp-session-id";
/// Names the revision a request speaks.
pub const VERSION: &str = "mcp-protocol-version";

/// Whether the request comes from no browser or from a page of this machine; anything else may be a
/// foreign page that had its name resolved to the loopback address.
pub fn is_local_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    ["localhost", "127.0.0.1", "[::1]"].into_iter().any(|local| {
        let port = host.strip_prefix(local);
        port.is_some_and(|port| port.is_empty() || port.starts_with(':'))
    })
}

/// What is wrong with the headers that mirror a modern request's body, if anything.
pub fn mismatch(headers: &HeaderMap, message: &Message<'_>) -> Option<String> {
    let params = message.params.as_ref();
    let meta = params.and_then(|params| params.meta.as_ref());
    // Without an envelope there is nothing to compare: a notification needs none, and for a request its
    // lack is the error to report.
    let version = meta.and_then(|meta| meta.version.as_deref())?;
    let method = message.method.as_deref();
    let name = params
        .and_then(|params| params.name.as_deref())
        .filter(|_| method == Some("tools/call"));
    check(headers, VERSION, Some(version))
        .or_else(|| check(headers, "mcp-method", method))
        .or_else(|| check(headers, "mcp-name", name))
}

fn check(headers: &HeaderMap, header: &str, body: Option<&str>) -> Option<String> {
    let body = body?;
    let Some(value) = headers.get(header) else {
        return Some(format!("the {header} header is missing"));
    };
    let value = value.to_str().unwrap_or_default().trim();
    let encoded = value
        .strip_prefix("=?base64?")
        .and_then(|value| value.strip_suffix("?="));
    let same = match encoded {
        Some(encoded) => decode(encoded).as_deref() == Some(body.as_bytes()),
        None => value == body,
    };
    (!same).then(|| format!("the {header} header says {value:?} and the body {body:?}"))
}

fn decode(base64: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in base64.trim_end_matches('=').bytes() {
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

/// What the session ids of this process begin with.
static OWN: LazyLock<String> = LazyLock::new(|| format!("{:016x}", getrandom::u64().unwrap_or_default()));

/// A new session id nobody can guess.
pub fn session_id() -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{}{:016x}", *OWN, getrandom::u64().ok()?)).ok()
}

/// Whether a request belongs to a session of an earlier process. Ids that no server made are let pass.
pub fn is_stale(headers: &HeaderMap) -> bool {
    let id = headers.get(SESSION).and_then(|id| id.to_str().ok()).unwrap_or_default();
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && !id.starts_with(OWN.as_str())
}

/// A key no other request has.
pub fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("#{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_pass() {
        let from = |origin: &'static str| {
            let origin = HeaderValue::from_static(origin);
            is_local_origin(&HeaderMap::from_iter([(ORIGIN, origin)]))
        };
        assert!(is_local_origin(&HeaderMap::new()));
        assert!(from("http://localhost:3000") && from("https://127.0.0.1"));
        assert!(!from("http://localhost.evil.example") && !from("null"));
    }

    #[test]
    fn sessions_of_another_process_are_told_from_others() {
        let with = |id: HeaderValue| HeaderMap::from_iter([(hyper::header::HeaderName::from_static(SESSION), id)]);
        assert!(!is_stale(&HeaderMap::new()) && !is_stale(&with(session_id().unwrap())));
        assert!(!is_stale(&with(HeaderValue::from_static("one"))));
        let other = HeaderValue::from_str(&format!("{:032x}", 7)).unwrap();
        assert!(is_stale(&with(other)));
    }

    #[test]
    fn a_mirrored_value_may_be_encoded() {
        let headers = |value: &'static str| {
            HeaderMap::from_iter([(
                hyper::header::HeaderName::from_static("mcp-name"),
                HeaderValue::from_static(value),
            )])
        };
        assert_eq!(check(&headers("echo"), "mcp-name", Some("echo")), None);
        let encoded = headers("=?base64?w6ljaG8=?=");
        assert_eq!(check(&encoded, "mcp-name", Some("écho")), None);
        assert!(check(&encoded, "mcp-name", Some("echo")).is_some());
        assert!(check(&HeaderMap::new(), "mcp-name", Some("echo")).is_some());
    }
}
