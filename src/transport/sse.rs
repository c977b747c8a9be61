//! Server-sent events as bytes.

use std::time::Duration;

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

/// The same with an id, by which a reader who lost its connection says what it has.
pub fn numbered(id: &str, data: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(EVENT.len() + DATA.len() + data.len() + id.len() + 7);
    put_id(&mut out, id);
    out.put_slice(EVENT);
    lines(&mut out, DATA, data);
    out.freeze()
}

/// An event without data: an id to begin with, and how soon to come back.
pub fn primer(id: &str, retry: Duration) -> Bytes {
    let mut out = BytesMut::with_capacity(id.len() + 40);
    put_id(&mut out, id);
    out.put_slice(format!("retry: {}\ndata: \n\n", retry.as_millis()).as_bytes());
    out.freeze()
}

fn put_id(out: &mut BytesMut, id: &str) {
    out.put_slice(b"id: ");
    out.put_slice(id.as_bytes());
    out.put_u8(b'\n');
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
        let bytes = numbered("1.2.3", json);
        assert_eq!(bytes, format!("id: 1.2.3\nevent: message\ndata: {json}\n\n"));
        let bytes = primer("1.2.0", Duration::from_millis(1500));
        assert_eq!(bytes, "id: 1.2.0\nretry: 1500\ndata: \n\n");
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
