//! Server-sent events as bytes.

use bytes::{BufMut, Bytes, BytesMut};

const EVENT: &[u8] = b"event: message\n";
const DATA: &[u8] = b"data: ";

/// One `message` event. Compact JSON is one line; other data becomes one `data:` line for each of its lines.
pub fn event(data: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(EVENT.len() + DATA.len() + data.len() + 2);
    out.put_slice(EVENT);
    lines(&mut out, DATA, data);
    out.freeze()
}

/// A comment, which keeps a quiet stream open and is no event.
pub fn comment(text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + 4);
    lines(&mut out, b": ", text);
    out.freeze()
}

/// Every line of `text` behind `prefix`, then the blank line that ends an event. A line may end with CR LF, LF
/// or CR: a bare CR left inside would end the line for the reader and turn what follows into a field.
fn lines(out: &mut BytesMut, prefix: &[u8], text: &str) {
    let mut rest = text.as_bytes();
    loop {
        out.put_slice(prefix);
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else {
            out.put_slice(rest);
            out.put_slice(b"\n\n");
            return;
        };
        out.put_slice(&rest[..end]);
        out.put_u8(b'\n');
        let ending = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one_event_in_one_allocation() {
        let json = r#"{"jsonrpc":"2.0"}"#;
        let bytes = event(json);
        assert_eq!(bytes, format!("event: message\ndata: {json}\n\n"));
    }

    #[test]
    fn every_kind_of_line_ending_splits() {
        assert_eq!(
            event("a\nb\r\nc\rd\n"),
            "event: message\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
        );
        assert_eq!(event(""), "event: message\ndata: \n\n");
    }

    #[test]
    fn a_comment_cannot_smuggle_an_event() {
        assert_eq!(comment("waiting"), ": waiting\n\n");
        assert_eq!(comment("x\rdata: y\n\nid: 7"), ": x\n: data: y\n: \n: id: 7\n\n");
    }
}
