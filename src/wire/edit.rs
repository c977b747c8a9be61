//! Edits that a policy asks for: values set or removed by JSON pointer, checked, and spliced into the text.

use super::index::{Index, unescape};
use super::json::{check, quote};

/// One edit. Pointers are RFC 6901 and refer to the text before any edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Puts a value at `pointer`: replaces the one there, or adds a member to the object above it.
    Set {
        /// Where.
        pointer: String,
        /// The value, as JSON text.
        json: String,
    },
    /// Takes away the member of an object or the element of an array.
    Remove {
        /// Where.
        pointer: String,
    },
}

/// Applies `edits` to `text`. An edit that does not fit (no such place, no JSON, overlapping another) is an
/// error and nothing is applied.
pub fn apply(text: &str, index: &Index, edits: &[Edit]) -> Result<String, String> {
    let mut splices = Vec::with_capacity(edits.len());
    for edit in edits {
        splices.push(match edit {
            Edit::Set { pointer, json } => {
                check(json).map_err(|e| format!("the value for {pointer:?} is not JSON: {e}"))?;
                set(index, pointer, json)?
            }
            Edit::Remove { pointer } => (removal(text, index, pointer)?, String::new()),
        });
    }
    splices.sort_by_key(|(span, _)| (span.start, span.end));
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (span, insert) in splices {
        if span.start < done {
            return Err("two edits touch the same place".to_owned());
        }
        out.push_str(&text[done..span.start]);
        out.push_str(&insert);
        done = span.end;
    }
    out.push_str(&text[done..]);
    Ok(out)
}

fn set(index: &Index, pointer: &str, json: &str) -> Result<(std::ops::Range<usize>, String), String> {
    if let Some(span) = index.span(pointer) {
        return Ok((span, json.to_owned()));
    }
    let (parent, key) = split(pointer)?;
    let (Some(members), Some(span)) = (index.object_len(parent), index.span(parent)) else {
        return Err(format!("there is nothing at {pointer:?} and no object above it"));
    };
    let comma = if members == 0 { "" } else { "," };
    let before_brace = span.end - 1;
    Ok((
        before_brace..before_brace,
        format!("{comma}{}:{json}", quote(&unescape(key))),
    ))
}

/// The span of a member or element together with the comma that separates it.
fn removal(text: &str, index: &Index, pointer: &str) -> Result<std::ops::Range<usize>, String> {
    let value = index
        .span(pointer)
        .ok_or_else(|| format!("there is nothing at {pointer:?}"))?;
    let (parent, _) = split(pointer)?;
    let parent = index
        .span(parent)
        .ok_or_else(|| format!("there is nothing above {pointer:?}"))?;
    let bytes = text.as_bytes();
    let mut start = value.start;
    if bytes[parent.start] == b'{' {
        start = key_start(bytes, start);
    }
    let after = value.end + text[value.end..].bytes().take_while(u8::is_ascii_whitespace).count();
    if bytes.get(after) == Some(&b',') {
        return Ok(start..after + 1);
    }
    let before = text[..start].trim_ascii_end();
    if before.ends_with(',') {
        start = before.len() - 1;
    }
    Ok(start..value.end)
}

/// Where the key begins whose value begins at `value`: back over the colon, then back to the opening quote.
fn key_start(bytes: &[u8], value: usize) -> usize {
    let mut at = value;
    while at > 0 && bytes[at - 1] != b'"' {
        at -= 1;
    }
    let closing = at.saturating_sub(1);
    let mut at = closing;
    while at > 0 {
        at -= 1;
        if bytes[at] == b'"' {
            let slashes = bytes[..at].iter().rev().take_while(|b| **b == b'\\').count();
            if slashes % 2 == 0 {
                break;
            }
        }
    }
    at
}

fn split(pointer: &str) -> Result<(&str, &str), String> {
    pointer
        .rsplit_once('/')
        .ok_or_else(|| format!("{pointer:?} is not a JSON pointer to a member"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, edits: &[Edit]) -> Result<String, String> {
        apply(text, &Index::new(text).unwrap(), edits)
    }
    fn put(pointer: &str, json: &str) -> Edit {
        Edit::Set {
            pointer: pointer.into(),
            json: json.into(),
        }
    }
    fn cut(pointer: &str) -> Edit {
        Edit::Remove {
            pointer: pointer.into(),
        }
    }

    #[test]
    fn what_no_edit_touches_keeps_its_bytes() {
        let text = r#"{"a": 1.00, "b" : {"c":[1, 2 ,3]}, "d":{}}"#;
        assert_eq!(
            edited(text, &[put("/b/c/1", "\"x\"")]).unwrap(),
            r#"{"a": 1.00, "b" : {"c":[1, "x" ,3]}, "d":{}}"#
        );
        assert_eq!(
            edited(text, &[put("/d/new~1key", "0"), put("/e", "[]")]).unwrap(),
            r#"{"a": 1.00, "b" : {"c":[1, 2 ,3]}, "d":{"new/key":0},"e":[]}"#
        );
        assert_eq!(
            edited(text, &[cut("/a")]).unwrap(),
            r#"{ "b" : {"c":[1, 2 ,3]}, "d":{}}"#
        );
        assert_eq!(
            edited(text, &[cut("/d")]).unwrap(),
            r#"{"a": 1.00, "b" : {"c":[1, 2 ,3]}}"#
        );
        assert_eq!(
            edited(text, &[cut("/b/c/0"), cut("/b/c/2")]).unwrap(),
            r#"{"a": 1.00, "b" : {"c":[ 2 ]}, "d":{}}"#
        );
        assert_eq!(edited(r#"{"q\"k":1}"#, &[cut("/q\"k")]).unwrap(), "{}");
    }

    #[test]
    fn an_edit_that_does_not_fit_changes_nothing() {
        let text = r#"{"a":[1]}"#;
        for bad in [
            vec![put("/x/y", "1")],
            vec![put("/a", "{")],
            vec![cut("/z")],
            vec![put("/a", "1"), put("/a/0", "2")],
            vec![put("a", "1")],
            vec![cut("")],
        ] {
            assert!(edited(text, &bad).is_err(), "{bad:?}");
        }
        assert_eq!(edited(text, &[put("", "{}")]).unwrap(), "{}");
    }
}
