//! An index of a JSON text: JSON pointer to the bytes of a value, made once and shared by all who read.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::json::Object;
use super::message::MAX_DEPTH;

/// Where a value of a text begins and ends, and what lies inside.
#[derive(Debug)]
struct Node {
    span: Range<usize>,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Scalar,
    Array(Vec<Node>),
    Object(Vec<(Box<str>, Node)>),
}

/// The index of one text. Duplicate keys at any depth are refused: two readers could take different values.
#[derive(Debug)]
pub struct Index {
    root: Node,
}

impl Index {
    /// Indexes `text`, which must be JSON.
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(Self {
            root: node(text, 0, 0)?,
        })
    }

    /// The bytes of the value at `pointer` (RFC 6901), or `None` where there is none.
    pub fn span(&self, pointer: &str) -> Option<Range<usize>> {
        self.find(pointer).map(|n| n.span.clone())
    }

    fn find(&self, pointer: &str) -> Option<&Node> {
        let mut at = &self.root;
        if pointer.is_empty() {
            return Some(at);
        }
        for part in pointer.strip_prefix('/')?.split('/') {
            let part = unescape(part);
            at = match &at.inside {
                Inside::Scalar => return None,
                Inside::Array(items) => items.get(array_position(&part)?)?,
                Inside::Object(members) => members.iter().find(|(k, _)| **k == *part).map(|(_, n)| n)?,
            };
        }
        Some(at)
    }

    /// True where the value at `pointer` is an object, and how many members it has.
    pub(super) fn object_len(&self, pointer: &str) -> Option<usize> {
        match &self.find(pointer)?.inside {
            Inside::Object(members) => Some(members.len()),
            _ => None,
        }
    }
}

/// Undoes the escapes of one reference token of a JSON pointer.
pub(super) fn unescape(part: &str) -> Cow<'_, str> {
    if part.contains('~') {
        Cow::Owned(part.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(part)
    }
}

/// The first step of a pointer, unescaped; `None` where it leads nowhere but to the whole.
pub(crate) fn first_step(pointer: &str) -> Option<Cow<'_, str>> {
    pointer.strip_prefix('/')?.split('/').next().map(unescape)
}

fn array_position(part: &str) -> Option<usize> {
    let plain = part == "0" || !part.starts_with('0');
    (plain && part.bytes().all(|b| b.is_ascii_digit()))
        .then(|| part.parse().ok())
        .flatten()
}

fn node(text: &str, offset: usize, depth: usize) -> Result<Node, String> {
    if depth > MAX_DEPTH {
        return Err(format!("nests deeper than {MAX_DEPTH} levels"));
    }
    let start = text.len() - text.trim_ascii_start().len();
    let body = text.trim_ascii();
    let span = offset + start..offset + start + body.len();
    let at = |raw: &str| offset + (raw.as_ptr() as usize - text.as_ptr() as usize);
    let inside = match body.as_bytes().first() {
        Some(b'{') => {
            let object = Object::parse(body).map_err(|e| e.to_string())?;
            let mut members = Vec::new();
            for (key, raw) in object.into_borrowed() {
                members.push((key.as_ref().into(), node(raw, at(raw), depth + 1)?));
            }
            Inside::Object(members)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(body).map_err(|e| e.to_string())?;
            Inside::Array(
                items
                    .into_iter()
                    .map(|raw| node(raw.get(), at(raw.get()), depth + 1))
                    .collect::<Result<_, _>>()?,
            )
        }
        Some(_) => Inside::Scalar,
        None => return Err("empty".to_owned()),
    };
    Ok(Node { span, inside })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
        Index::new(text).unwrap().span(pointer).map(|span| &text[span])
    }

    #[test]
    fn a_pointer_leads_to_the_bytes_of_its_value() {
        let text = r#" {"a": {"b/c": [1, {"~": "x"} , 3.0]}, "d":null} "#;
        assert_eq!(get(text, "/a/b~1c/2"), Some("3.0"));
        assert_eq!(get(text, "/a/b~1c/1/~0"), Some("\"x\""));
        assert_eq!(get(text, "/d"), Some("null"));
        assert_eq!(get(text, ""), Some(text.trim()));
        for missing in ["/x", "/a/b~1c/3", "/a/b~1c/01", "/d/x", "a"] {
            assert_eq!(get(text, missing), None, "{missing}");
        }
    }

    #[test]
    fn duplicates_and_depth_are_refused_anywhere() {
        assert!(
            Index::new(r#"{"a":[{"k":1,"k":2}]}"#)
                .unwrap_err()
                .contains("duplicate key")
        );
        let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
        assert!(Index::new(&deep).is_err());
    }
}
