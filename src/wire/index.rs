//! An index of a JSON text: JSON pointer to the bytes of a value, made once and shared by all who read.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::scan::{Flaw, Malformed, Scan};

/// Values in one text at most: an index takes some fifty bytes for each, and a text of four megabytes may hold two
/// million.
const MAX_VALUES: usize = 256 * 1024;

/// Where a value of a text begins and ends, and what lies inside.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) inside: Inside,
}

#[derive(Debug)]
pub(super) enum Inside {
    Scalar,
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object, and where its key begins.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: Box<str>,
    pub(super) start: usize,
    pub(super) value: Node,
}

/// The index of one text. Duplicate keys at any depth are refused: two readers could take different values.
#[derive(Debug)]
pub struct Index {
    pub(super) root: Node,
}

impl Index {
    /// Indexes `text`.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut scan = Scan::new(text);
        let mut left = MAX_VALUES;
        let walked = value(&mut scan, &mut left).and_then(|root| scan.end().map(|()| root));
        match walked {
            Ok(root) => Ok(Self { root }),
            Err(flaw) => Err(flaw.to_string()),
        }
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
                Inside::Object(members) => &members.iter().find(|m| *m.key == *part)?.value,
            };
        }
        Some(at)
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

/// The position that a step of a pointer names in an array.
pub(super) fn array_position(part: &str) -> Option<usize> {
    let plain = part == "0" || !part.starts_with('0');
    (plain && part.bytes().all(|b| b.is_ascii_digit()))
        .then(|| part.parse().ok())
        .flatten()
}

/// The value that comes next. `left` is how many more there may be. The scan bounds how deep this goes.
fn value(scan: &mut Scan<'_>, left: &mut usize) -> Result<Node, Malformed> {
    let first = scan.peek();
    let start = scan.at();
    *left = left.checked_sub(1).ok_or_else(|| scan.fault(Flaw::Many(MAX_VALUES)))?;
    let inside = match first {
        Some(b'{') => Inside::Object(members(scan, left)?),
        Some(b'[') => Inside::Array(items(scan, left)?),
        _ => {
            scan.scalar()?;
            Inside::Scalar
        }
    };
    Ok(Node {
        span: start..scan.at(),
        inside,
    })
}

fn members(scan: &mut Scan<'_>, left: &mut usize) -> Result<Vec<Member>, Malformed> {
    let mut members: Vec<Member> = Vec::new();
    let mut seen = HashSet::new();
    let mut first = true;
    scan.open(b'{', "expected an object")?;
    while scan.another(b'}', first)? {
        first = false;
        let (start, key) = scan.new_key(members.iter().map(|m| &*m.key), &mut seen)?;
        members.push(Member {
            key: key.into(),
            start,
            value: value(scan, left)?,
        });
    }
    Ok(members)
}

fn items(scan: &mut Scan<'_>, left: &mut usize) -> Result<Vec<Node>, Malformed> {
    let mut items = Vec::new();
    let mut first = true;
    scan.open(b'[', "expected an array")?;
    while scan.another(b']', first)? {
        first = false;
        items.push(value(scan, left)?);
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

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

    #[test]
    fn what_would_cost_too_much_is_refused() {
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert!(Index::new(&many).unwrap_err().contains("values"));
        let keys: Vec<String> = (0..5000).map(|n| format!("\"k{n}\":0")).collect();
        assert!(Index::new(&format!("{{{}}}", keys.join(","))).is_ok());
        assert!(
            Index::new(&format!("{{{},\"k\\u0031\":0}}", keys.join(",")))
                .unwrap_err()
                .contains("duplicate")
        );
    }

    fn arbitrary() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map(".*", inner, 0..8)
                    .prop_map(|m| Value::from(m.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    /// Every value of `value`, with its pointer.
    fn places(value: &Value, pointer: String, out: &mut Vec<(String, Value)>) {
        out.push((pointer.clone(), value.clone()));
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(n, v)| places(v, format!("{pointer}/{n}"), out)),
            Value::Object(members) => members
                .iter()
                .for_each(|(k, v)| places(v, format!("{pointer}/{}", k.replace('~', "~0").replace('/', "~1")), out)),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn every_value_is_found_where_its_pointer_says(value in arbitrary(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let index = Index::new(&text).unwrap();
            let mut all = Vec::new();
            places(&value, String::new(), &mut all);
            for (pointer, expected) in all {
                let span = index.span(&pointer).unwrap();
                prop_assert_eq!(serde_json::from_str::<Value>(&text[span]).unwrap(), expected);
            }
        }

        #[test]
        fn any_text_gives_an_index_or_an_error(text in "[\\[\\]{}\",:0a\\\\ ]{0,24}") {
            let valid = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert!(valid || Index::new(&text).is_err());
        }
    }
}
