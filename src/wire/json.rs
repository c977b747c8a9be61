//! Raw JSON: text that is known to be JSON and stays the bytes it was, and objects parsed one level deep.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use bytestring::ByteString;
use serde_json::value::RawValue;

use super::scan::{Malformed, Scan};

/// A JSON text kept as the bytes it arrived in; cloning shares them.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(ByteString);

impl RawJson {
    /// Takes `text`, which must be a slice of `owner`, without copying it.
    pub fn slice_of(owner: &ByteString, text: &str) -> Self {
        Self(owner.slice_ref(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for no text at all, which is never a parsed value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&RawValue> for RawJson {
    fn from(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }
}

impl From<String> for RawJson {
    /// For text that the router itself composed of checked parts.
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

/// Checks that `text` is one JSON value.
pub fn check(text: &str) -> Result<(), Malformed> {
    let mut scan = Scan::new(text);
    scan.value()?;
    scan.end()
}

/// `text` as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// The same, put at the end of `out`.
pub fn push_quoted(out: &mut String, text: &str) {
    // Not a search that could stop early: this way many bytes are compared at once.
    let plain = |all: bool, b: u8| all & (b >= b' ') & (b != b'"') & (b != b'\\');
    if text.bytes().fold(true, plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The value of a JSON string, or `None` where `raw` is something else.
pub fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(raw).ok().map(Cow::Owned)
}

/// A key and the raw text of its value.
type Member<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A JSON object parsed one level deep. Members keep their order and their values keep their bytes.
/// A key that stands twice is an error: two readers could take different values.
#[derive(Clone, Debug, Default)]
pub struct Object<'a> {
    members: Vec<Member<'a>>,
}

impl<'a> Object<'a> {
    /// Parses `text`, which must be one JSON object without duplicate keys.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let mut scan = Scan::new(text);
        let object = Self::scan(&mut scan, |scan, _| scan.value())?;
        scan.end()?;
        Ok(object)
    }

    /// The same, and the member `inner` split as well where it is an object, in the same walk through the text. An
    /// `inner` that could not be parsed by itself is left whole.
    pub(super) fn parse_two(text: &'a str, inner: &str) -> Result<(Self, Option<Self>), Malformed> {
        let mut scan = Scan::new(text);
        let mut found = None;
        let outer = Self::scan(&mut scan, |scan, key| {
            if key != inner || scan.peek() != Some(b'{') {
                return scan.value();
            }
            let before = *scan;
            match Self::scan(scan, |scan, _| scan.value()) {
                Ok(object) => {
                    found = Some(object);
                    Ok(scan.since(before.at()))
                }
                Err(_) => {
                    *scan = before;
                    scan.value()
                }
            }
        })?;
        scan.end()?;
        Ok((outer, found))
    }

    /// Splits the object that comes next. `value` passes over the value of a key and returns its text.
    fn scan(
        scan: &mut Scan<'a>,
        mut value: impl FnMut(&mut Scan<'a>, &str) -> Result<&'a str, Malformed>,
    ) -> Result<Self, Malformed> {
        scan.open(b'{', "expected an object")?;
        let mut members = Vec::with_capacity(6);
        let mut seen = HashSet::new();
        let mut first = true;
        while scan.another(b'}', first)? {
            first = false;
            let before = members.iter().map(|(key, _): &Member<'_>| key.as_ref());
            let (_, key) = scan.new_key(before, &mut seen)?;
            let value = value(scan, &key)?;
            members.push((key, Cow::Borrowed(value)));
        }
        Ok(Self { members })
    }

    /// The raw text of a member.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.members.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }

    /// The value of a member that is a JSON string.
    pub fn get_str(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).and_then(unquote)
    }

    /// Sets a member in place, or appends it.
    pub fn set(&mut self, key: &'a str, value: impl Into<Cow<'a, str>>) {
        match self.members.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value.into(),
            None => self.members.push((Cow::Borrowed(key), value.into())),
        }
    }

    /// Puts a member at the end, one whose key is not there yet.
    pub fn append(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.members.push((key.into(), value.into()));
    }

    /// Takes a member out.
    pub fn remove(&mut self, key: &str) {
        self.members.retain(|(k, _)| k != key);
    }

    /// The raw text of a member, borrowed from what was parsed; `None` where it was set since.
    pub fn get_borrowed(&self, key: &str) -> Option<&'a str> {
        match self.members.iter().find(|(k, _)| k == key) {
            Some((_, Cow::Borrowed(value))) => Some(value),
            _ => None,
        }
    }

    /// True where it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The members in their order, values as raw text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }

    /// Writes the object, values byte for byte.
    pub fn write(&self, out: &mut String) {
        out.push('{');
        for (position, (key, value)) in self.members.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            push_quoted(out, key);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
    }

    /// The object as text.
    pub fn to_text(&self) -> String {
        let mut out =
            String::with_capacity(64 + self.members.iter().map(|(k, v)| k.len() + v.len() + 4).sum::<usize>());
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_keep_their_bytes_and_order() {
        let text = r#"{"b": 1.0e0 ,"a":{"x" : [1,  2]},"é":"\u00e9"}"#;
        let object = Object::parse(text).unwrap();
        assert_eq!(object.get("b"), Some("1.0e0"));
        assert_eq!(object.to_text(), r#"{"b":1.0e0,"a":{"x" : [1,  2]},"é":"\u00e9"}"#);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_even_when_escaped() {
        assert!(Object::parse(r#"{"id":1,"id":2}"#).is_err());
        assert!(Object::parse(r#"{"id":1,"\u0069d":2}"#).is_err());
        let many = (0..40).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(",");
        assert!(Object::parse(&format!("{{{many}}}")).is_ok());
        assert!(Object::parse(&format!("{{{many},\"k39\":1}}")).is_err());
        assert!(Object::parse(&format!("{{{many},\"k3\":1}}")).is_err());
    }

    #[test]
    fn set_and_remove_touch_one_member() {
        let mut object = Object::parse(r#"{"a":1,"b":2}"#).unwrap();
        object.set("a", "7");
        object.set("c", "8");
        object.remove("b");
        assert_eq!(object.to_text(), r#"{"a":7,"c":8}"#);
    }

    proptest! {
        #[test]
        fn writing_what_was_parsed_means_the_same(entries in proptest::collection::btree_map(".*", ".*", 0..8)) {
            let value = serde_json::Value::from(entries.into_iter().map(|(k, v)| (k, v.into())).collect::<serde_json::Map<_, _>>());
            let text = value.to_string();
            let written = Object::parse(&text).unwrap().to_text();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        }
    }
}
