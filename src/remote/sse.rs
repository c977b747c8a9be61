//! Event streams as a server sends them, cut into events; partial input loses nothing, and no event is kept that is
//! larger than a message may be.

use bytes::BytesMut;

/// One event. A field that was not sent is `None`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Event {
    /// `event`: what kind it is; without one it is a message.
    pub kind: Option<String>,
    /// `data`, its lines joined by newlines; empty where there was none.
    pub data: Vec<u8>,
    /// `id`: where the stream can be taken up again.
    pub id: Option<String>,
    /// `retry`: milliseconds before that is tried.
    pub retry: Option<u64>,
}

/// An event, or a line of one, is longer than this. Nothing after it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong(pub usize);

/// Cuts a stream of bytes into events.
#[derive(Debug)]
pub struct Events {
    buffer: BytesMut,
    scanned: usize,
    limit: usize,
    event: Event,
    /// Bytes of data lines, of which the first may be empty.
    lines: usize,
    /// A carriage return ended the last line: a line feed that follows belongs to it.
    returned: bool,
    begun: bool,
    failed: bool,
}

impl Events {
    /// Events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            limit,
            event: Event::default(),
            lines: 0,
            returned: false,
            begun: false,
            failed: false,
        }
    }

    /// Takes in what arrived. After a [`TooLong`] nothing is kept any more.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole event. `None`: read on.
    pub fn next(&mut self) -> Option<Result<Event, TooLong>> {
        while !self.failed {
            if self.returned && !self.buffer.is_empty() {
                self.returned = false;
                if self.buffer[0] == b'\n' {
                    let _ = self.buffer.split_to(1);
                }
            }
            let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                // A line has a field's name before its value.
                return (self.buffer.len() > self.limit + 16).then(|| self.fail());
            };
            let end = self.scanned + found;
            self.scanned = 0;
            self.returned = self.buffer[end] == b'\r';
            let mut line = self.buffer.split_to(end + 1);
            line.truncate(end);
            if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xef\xbb\xbf") {
                let _ = line.split_to(3);
            }
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                let lines = std::mem::take(&mut self.lines);
                if lines > 0 || event.id.is_some() || event.retry.is_some() {
                    return Some(Ok(event));
                }
                continue;
            }
            self.field(&line);
            if self.event.data.len() > self.limit || line.len() > self.limit + 16 {
                return Some(self.fail());
            }
        }
        None
    }

    fn fail(&mut self) -> Result<Event, TooLong> {
        self.failed = true;
        self.buffer = BytesMut::new();
        self.event = Event::default();
        Err(TooLong(self.limit))
    }

    fn field(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || std::str::from_utf8(value).ok();
        match name {
            b"data" => {
                if self.lines > 0 {
                    self.event.data.push(b'\n');
                }
                self.lines += 1;
                self.event.data.extend_from_slice(value);
            }
            b"event" => self.event.kind = text().map(str::to_owned),
            // It goes into a header later.
            b"id" if http::HeaderValue::from_bytes(value).is_ok() => self.event.id = text().map(str::to_owned),
            b"retry" => self.event.retry = text().and_then(|t| t.parse().ok()),
            // Comments, whose name is empty, and fields that are not known.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(events: &mut Events) -> Vec<Result<Event, TooLong>> {
        std::iter::from_fn(|| events.next()).collect()
    }

    fn read(text: &str) -> Vec<Event> {
        let mut events = Events::new(1000);
        events.push(text.as_bytes());
        all(&mut events).into_iter().map(Result::unwrap).collect()
    }

    fn message(data: &str) -> Event {
        Event {
            data: data.into(),
            ..Event::default()
        }
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        assert_eq!(
            read("data: a\n\ndata:b\ndata:  c\n\n"),
            [message("a"), message("b\n c")]
        );
        assert_eq!(
            read("\u{feff}data: a\r\n\r\n: note\r\n\r\ndata\n\n"),
            [message("a"), message("")]
        );
        assert_eq!(read("data: a\r\rdata: b\r\n\n"), [message("a"), message("b")]);
        let primed = Event {
            id: Some("7".to_owned()),
            retry: Some(300),
            ..Event::default()
        };
        assert_eq!(read("id: 7\nretry: 300\n\n"), [primed]);
        assert_eq!(
            read("event: endpoint\ndata: /m\n\n")[0].kind.as_deref(),
            Some("endpoint")
        );
        // Not ended by an empty line: not an event yet.
        assert_eq!(read("data: a\n"), []);
        assert_eq!(read("nonsense\nretry: soon\n\n\n\n"), []);
    }

    #[test]
    fn what_is_too_long_is_not_kept() {
        for text in [format!("data: {}", "x".repeat(200)), "data: xxxxxxxxx\n".repeat(20)] {
            let mut events = Events::new(100);
            events.push(b"data: ok\n\n");
            events.push(text.as_bytes());
            assert_eq!(all(&mut events), [Ok(message("ok")), Err(TooLong(100))]);
            events.push(b"\n\ndata: after\n\n");
            assert_eq!(all(&mut events), []);
            assert_eq!(events.buffer.capacity(), 0);
        }
        // Comments without end take no room.
        let mut events = Events::new(100);
        for _ in 0..10_000 {
            events.push(b": still here\n");
            assert_eq!(events.next(), None);
        }
        assert!(events.buffer.len() < 100);
    }

    proptest! {
        #[test]
        fn cutting_the_stream_anywhere_changes_nothing(
            text in "(data|id|event|retry|:| |[0-9]|a|\n|\n\n|\r\n|\r){0,40}",
            cuts in proptest::collection::vec(0_usize..120, 0..6),
        ) {
            let mut whole = Events::new(1000);
            whole.push(text.as_bytes());
            let expected = all(&mut whole);
            let mut parts = Events::new(1000);
            let mut got = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                parts.push(&text.as_bytes()[pair[0]..pair[1]]);
                got.extend(all(&mut parts));
            }
            prop_assert_eq!(got, expected);
        }
    }
}
