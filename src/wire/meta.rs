//! One member of a message's `_meta`, changed in its params; everything else keeps its bytes.

use super::json::Object;

/// What happens to the member.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// It gets this value, JSON text, whether it was there or not.
    Set(&'a str),
    /// It gets this value if it was there.
    Replace(&'a str),
    /// It is taken out, and `_meta` with it where nothing is left.
    Remove,
}

/// The params with that member of their `_meta` changed; `None` where nothing is to change, or they are no object.
pub fn changed(params: &str, key: &str, change: Change<'_>) -> Option<String> {
    let mut object = Object::parse(params).ok()?;
    let text = object.get("_meta").unwrap_or("{}").to_owned();
    let mut meta = Object::parse(&text).ok()?;
    let known = meta.get(key).is_some();
    match change {
        Change::Set(value) => meta.set(key, value),
        Change::Replace(value) if known => meta.set(key, value),
        Change::Remove if known => meta.remove(key),
        Change::Replace(_) | Change::Remove => return None,
    }
    if meta.is_empty() {
        object.remove("_meta");
    } else {
        object.set("_meta", meta.to_text());
    }
    Some(object.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_changes_and_the_rest_keeps_its_bytes() {
        let both = r#"{"x": 1.0,"_meta":{"t":0,"k":[ ]}}"#;
        for (params, change, result) in [
            (both, Change::Set("7"), Some(r#"{"x":1.0,"_meta":{"t":7,"k":[ ]}}"#)),
            (both, Change::Replace("7"), Some(r#"{"x":1.0,"_meta":{"t":7,"k":[ ]}}"#)),
            (both, Change::Remove, Some(r#"{"x":1.0,"_meta":{"k":[ ]}}"#)),
            (r#"{"_meta":{"t":0}}"#, Change::Remove, Some("{}")),
            (r#"{"x":1}"#, Change::Set("7"), Some(r#"{"x":1,"_meta":{"t":7}}"#)),
            (r#"{"x":1}"#, Change::Replace("7"), None),
            (r#"{"x":1}"#, Change::Remove, None),
            (r#"{"_meta":5}"#, Change::Set("7"), None),
            ("[]", Change::Set("7"), None),
        ] {
            assert_eq!(changed(params, "t", change).as_deref(), result, "{params} {change:?}");
        }
    }
}
