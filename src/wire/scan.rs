//! A walk through JSON text that checks it and finds where values begin and end, without making anything of them.
//!
//! Every message is looked at one level deep, several times on its way. A scan passes over what is not looked at many
//! bytes at a time, and keeps no stack: it knows at most [`MAX_DEPTH`] levels.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use super::json::{quote, unquote};
use super::plain::plain;

/// How deep a text may nest. Peers parse recursively; serde_json's own limit is 128.
pub const MAX_DEPTH: usize = 128;

/// So many keys of one object are compared one by one.
const FEW_KEYS: usize = 32;

/// Why a text is not the JSON that was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The flaw.
    pub flaw: Flaw,
    /// The byte where it was found.
    pub at: usize,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It is not JSON, or JSON of another type.
    Syntax(&'static str),
    /// It is JSON, but nests deeper than [`MAX_DEPTH`].
    Deep,
    /// It holds more values than this.
    Many(usize),
    /// It is JSON, but an object has this key twice.
    Duplicate(String),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flaw {
            Flaw::Syntax(what) => write!(f, "{what} at byte {}", self.at),
            Flaw::Many(most) => write!(f, "it holds more than {most} values"),
            Flaw::Deep => write!(f, "it nests deeper than {MAX_DEPTH} levels"),
            Flaw::Duplicate(key) => write!(f, "duplicate key {} at byte {}", quote(key), self.at),
        }
    }
}

impl std::error::Error for Malformed {}

/// A place in a text.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Containers that its user has opened around the place.
    outer: usize,
}

/// The containers around a place: how many, and which of them are objects.
struct Nesting {
    depth: usize,
    objects: u128,
}

impl<'a> Scan<'a> {
    /// The beginning of `text`.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, outer: 0 }
    }

    /// The place, in bytes from the beginning.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Passes over white space; the byte after it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Passes over `byte` where it is next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Enters a container: passes over its first byte.
    pub(super) fn open(&mut self, byte: u8, what: &'static str) -> Result<(), Malformed> {
        if !self.take(byte) {
            return Err(self.wrong(what));
        }
        self.outer += 1;
        if self.outer > MAX_DEPTH {
            return Err(self.fault(Flaw::Deep));
        }
        Ok(())
    }

    /// After a member or an element of the container that was opened last: whether another one follows. Before the
    /// first, `first` says so.
    pub(super) fn another(&mut self, last: u8, first: bool) -> Result<bool, Malformed> {
        if (first && self.peek() != Some(last)) || (!first && self.take(b',')) {
            return Ok(true);
        }
        if self.take(last) {
            self.outer -= 1;
            return Ok(false);
        }
        Err(self.wrong("expected a comma or the end"))
    }

    /// The key of a member, quotes and escapes included, whether it has escapes; and past its colon.
    fn key(&mut self) -> Result<(&'a str, bool), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a key in quotes"));
        }
        let key = self.string()?;
        if self.take(b':') {
            return Ok(key);
        }
        Err(self.wrong("expected a colon"))
    }

    /// Where the next key is, and what it says; and past its colon. A key that is one of those `before` it is refused:
    /// by a search while they are few, as in most objects, and by `seen` where a hostile one has a hundred thousand.
    pub(super) fn new_key<'k>(
        &mut self,
        mut before: impl ExactSizeIterator<Item = &'k str>,
        seen: &mut HashSet<String>,
    ) -> Result<(usize, Cow<'a, str>), Malformed> {
        let (at, key) = self.key_as_text()?;
        let twice = if before.len() < FEW_KEYS {
            before.any(|other| other == key)
        } else {
            if seen.is_empty() {
                seen.extend(before.map(str::to_owned));
            }
            !seen.insert(key.as_ref().to_owned())
        };
        if twice {
            let flaw = Flaw::Duplicate(key.into_owned());
            return Err(Malformed { flaw, at });
        }
        Ok((at, key))
    }

    /// Where the next key is, and what it says; and past its colon.
    fn key_as_text(&mut self) -> Result<(usize, Cow<'a, str>), Malformed> {
        self.peek();
        let at = self.at;
        let (raw, escapes) = self.key()?;
        if !escapes {
            return Ok((at, Cow::Borrowed(&raw[1..raw.len() - 1])));
        }
        let flaw = Flaw::Syntax("expected a key that is text");
        let key = unquote(raw).ok_or(Malformed { flaw, at })?;
        Ok((at, key))
    }

    /// A whole value, whatever it is.
    pub(super) fn value(&mut self) -> Result<&'a str, Malformed> {
        self.peek();
        let start = self.at;
        let mut around = Nesting { depth: 0, objects: 0 };
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.enter(&mut around, true)?;
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.enter(&mut around, false)?;
                    if self.peek() != Some(b']') {
                        continue;
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            // A value is over, or a container is about to be that holds nothing.
            loop {
                if around.depth == 0 {
                    return Ok(self.since(start));
                }
                let in_object = around.objects & 1 == 1;
                match (self.peek(), in_object) {
                    (Some(b','), true) => {
                        self.at += 1;
                        self.key()?;
                        break;
                    }
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        around.depth -= 1;
                        around.objects >>= 1;
                    }
                    _ => return Err(self.wrong("expected a comma or the end")),
                }
            }
        }
    }

    fn enter(&mut self, around: &mut Nesting, object: bool) -> Result<(), Malformed> {
        if self.outer + around.depth >= MAX_DEPTH {
            return Err(self.fault(Flaw::Deep));
        }
        self.at += 1;
        around.depth += 1;
        around.objects = around.objects << 1 | u128::from(object);
        Ok(())
    }

    /// A string, a number, a truth value or null.
    pub(super) fn scalar(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        match self.text.as_bytes().get(start) {
            Some(b'"') => return Ok(self.string()?.0),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.wrong("expected a value")),
        }
        Ok(self.since(start))
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("expected nothing more")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        self.skip(b'-');
        // A zero stands alone: what follows it is taken for whatever comes after the number.
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.wrong("expected a digit"));
        }
        self.at += count;
        Ok(())
    }

    /// The string that begins here, quotes and escapes included, and whether it has escapes.
    fn string(&mut self) -> Result<(&'a str, bool), Malformed> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut escapes = false;
        self.at += 1;
        loop {
            self.at += plain(&bytes[self.at..]);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((self.since(start), escapes));
                }
                Some(b'\\') => {
                    escapes = true;
                    self.at += 1;
                    match bytes.get(self.at) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') if is_hex(bytes.get(self.at + 1..self.at + 5)) => self.at += 5,
                        _ => return Err(self.wrong("expected an escape that there is")),
                    }
                }
                Some(_) => return Err(self.wrong("expected no control character in a string")),
                None => return Err(self.wrong("expected the end of a string")),
            }
        }
    }

    fn wrong(&self, what: &'static str) -> Malformed {
        self.fault(Flaw::Syntax(what))
    }

    /// The flaw, here.
    pub(super) fn fault(&self, flaw: Flaw) -> Malformed {
        Malformed { flaw, at: self.at }
    }
}

fn is_hex(digits: Option<&[u8]>) -> bool {
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests;
