//! Event streams read: the data of each event, whatever pieces its bytes come in.

use bytes::{Buf, BytesMut};

/// Cuts a stream of bytes into the data of events.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    buffer: BytesMut,
    scanned: usize,
    data: Option<String>,
    /// The last line ended with CR: an LF that comes next belongs to it.
    after_cr: bool,
}

impl EventReader {
    /// Takes bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes of an event that is not complete.
    pub(super) fn pending(&self) -> usize {
        self.buffer.len() + self.data.as_ref().map_or(0, String::len)
    }

    /// The data of the next complete event; events without data are none.
    pub(super) fn next(&mut self) -> Option<String> {
        loop {
            if self.after_cr && self.buffer.first() == Some(&b'\n') {
                self.buffer.advance(1);
            }
            self.after_cr &= self.buffer.is_empty();
            let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                return None;
            };
            let end = self.scanned + found;
            self.scanned = 0;
            self.after_cr = self.buffer[end] == b'\r';
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            if line.is_empty() {
                // Without data it only tells where a reader is who would come back for more.
                if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
                    return Some(data);
                }
            } else if let Some(data) = field(&line, b"data") {
                let data = String::from_utf8_lossy(data);
                match &mut self.data {
                    Some(all) => {
                        all.push('\n');
                        all.push_str(&data);
                    }
                    None => self.data = Some(data.into_owned()),
                }
            }
        }
    }
}

/// The value of a line's field, if that is its name.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::sse;
    use proptest::prelude::*;

    fn read(reader: &mut EventReader, bytes: &[u8]) -> Vec<String> {
        reader.push(bytes);
        std::iter::from_fn(|| reader.next()).collect()
    }

    #[test]
    fn comments_and_other_fields_are_no_data() {
        let mut reader = EventReader::default();
        let stream = b": taken\n\nid: 6\nretry: 9\ndata: \n\nid: 7\nevent: message\ndata: {}\n\nretry: 5\n\ndata:a\r\ndata: b\r\rdata: c\r\n\r\n";
        assert_eq!(read(&mut reader, stream), ["{}", "a\nb", "c"]);
        assert_eq!(read(&mut reader, b"data: half"), Vec::<String>::new());
        assert_eq!(reader.pending(), "data: half".len());
        assert_eq!(read(&mut reader, b"\n\n"), ["half"]);
    }

    proptest! {
        #[test]
        fn what_the_router_writes_is_read_wherever_it_is_cut(
            texts in proptest::collection::vec("[a-z\n\r:]{0,6}x", 1..4), cut in 0_usize..80
        ) {
            let stream: Vec<u8> = texts.iter().flat_map(|t| sse::event(t).to_vec()).collect();
            let cut = cut.min(stream.len());
            let mut reader = EventReader::default();
            let mut got = read(&mut reader, &stream[..cut]);
            got.extend(read(&mut reader, &stream[cut..]));
            let lines = |t: &String| t.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(got, texts.iter().map(lines).collect::<Vec<_>>());
        }
    }
}
