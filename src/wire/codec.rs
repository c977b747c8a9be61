//! Newline framing of the stdio transport, with a size limit; partial input never loses bytes.

use bytes::{Bytes, BytesMut};

/// Room for one read. What is left after cutting lines off is used up only while it is worth a system call.
const READ: usize = 64 * 1024;
const LEAST_READ: usize = 8 * 1024;

/// Why a line is refused. The line is dropped up to its newline; what follows is framed as before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// The line is longer than the limit in bytes that it carries.
    TooLong(usize),
}

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    scanned: usize,
    limit: usize,
    skipping: bool,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            limit,
            skipping: false,
        }
    }

    /// Where the reader puts what it read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < LEAST_READ {
            self.buffer.reserve(READ);
        }
        &mut self.buffer
    }

    /// The next whole line without its newline, blank ones left out, or why one was dropped. `None`: read on.
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineError>> {
        loop {
            let Some(found) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                if self.skipping {
                    self.buffer.clear();
                    self.scanned = 0;
                } else if self.buffer.len() > self.limit {
                    // Reported at once: a peer that never ends its line must not be buffered for ever.
                    self.buffer.clear();
                    self.scanned = 0;
                    self.skipping = true;
                    return Some(Err(LineError::TooLong(self.limit)));
                }
                return None;
            };
            let end = self.scanned + found;
            self.scanned = 0;
            let mut line = self.buffer.split_to(end + 1).freeze();
            line.truncate(end);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > self.limit {
                return Some(Err(LineError::TooLong(self.limit)));
            }
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.is_empty() {
                return Some(Ok(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(lines: &mut Lines, bytes: &[u8]) -> Vec<Result<String, LineError>> {
        lines.buffer().extend_from_slice(bytes);
        std::iter::from_fn(|| lines.next_line())
            .map(|l| l.map(|b| String::from_utf8_lossy(&b).into_owned()))
            .collect()
    }

    #[test]
    fn a_line_over_the_limit_is_dropped_and_the_next_one_stands() {
        let mut lines = Lines::new(4);
        assert_eq!(
            feed(&mut lines, b"abcd\nabcdef"),
            [Ok("abcd".to_owned()), Err(LineError::TooLong(4))]
        );
        assert_eq!(feed(&mut lines, b"ghi\r\n\r\nok\r\n"), [Ok("ok".to_owned())]);
        assert_eq!(
            feed(&mut lines, b"12345\nend\n"),
            [Err(LineError::TooLong(4)), Ok("end".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_changes_nothing(text in "[a-c\n]{0,60}", cut in 0_usize..60) {
            let cut = cut.min(text.len());
            let mut whole = Lines::new(100);
            let mut halves = Lines::new(100);
            let expected = feed(&mut whole, text.as_bytes());
            let mut got = feed(&mut halves, &text.as_bytes()[..cut]);
            got.extend(feed(&mut halves, &text.as_bytes()[cut..]));
            prop_assert_eq!(got, expected);
        }
    }
}
