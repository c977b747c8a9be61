//! Edits as a policy may ask for them, and any edits against the same ones of a parsed value.

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
        r#"{"b" : {"c":[1, 2 ,3]}, "d":{}}"#
    );
    assert_eq!(
        edited(text, &[cut("/d")]).unwrap(),
        r#"{"a": 1.00, "b" : {"c":[1, 2 ,3]}}"#
    );
    assert_eq!(
        edited(text, &[cut("/b/c/0"), cut("/b/c/2")]).unwrap(),
        r#"{"a": 1.00, "b" : {"c":[2]}, "d":{}}"#
    );
    assert_eq!(edited(r#"{"q\"k":1}"#, &[cut("/q\"k")]).unwrap(), "{}");
}

#[test]
fn edits_of_one_container_are_made_together() {
    for (text, edits, result) in [
        (r#"{"x":1}"#, vec![cut("/x"), put("/y", "2")], r#"{"y":2}"#),
        ("{ }", vec![put("/a", "1"), put("/b", "2")], r#"{"a":1,"b":2}"#),
        (r#"{"a":1,"b":2}"#, vec![cut("/a"), cut("/b")], "{}"),
        (r#"{"a":1, "b":2 ,"c":3}"#, vec![cut("/b"), cut("/c")], r#"{"a":1}"#),
        (r#"{"a":1, "b":2 ,"c":3}"#, vec![cut("/b")], r#"{"a":1,"c":3}"#),
        (
            r#"{"a":1, "b":{"c":[1, 2]} }"#,
            vec![put("/z", "0"), cut("/b/c/0"), put("/b/d", "9")],
            r#"{"a":1, "b":{"c":[2],"d":9},"z":0 }"#,
        ),
        ("[1, 2, 3]", vec![cut("/0"), cut("/1"), cut("/2")], "[]"),
    ] {
        assert_eq!(edited(text, &edits).unwrap(), result, "{text} {edits:?}");
    }
}

#[test]
fn an_edit_that_does_not_fit_changes_nothing() {
    let text = r#"{"a":[1]}"#;
    for bad in [
        vec![put("/x/y", "1")],
        vec![put("/a", "{")],
        vec![cut("/z")],
        vec![put("/a", "1"), put("/a/0", "2")],
        vec![put("/a/0", "2"), put("/a", "1")],
        vec![put("/new", "1"), put("/new", "2")],
        vec![put("/new", "1"), put("/new/x", "2")],
        vec![cut("/a"), put("/a", "2")],
        vec![put("/a/1", "2")],
        vec![put("/a/00", "2")],
        vec![put("/a/0/x", "2")],
        vec![put("a", "1")],
        vec![cut("")],
    ] {
        assert!(edited(text, &bad).is_err(), "{bad:?}");
    }
    assert_eq!(edited(text, &[put("", "{}")]).unwrap(), "{}");
}

/// Any document of a few members, and any edits of it, against the same edits of a parsed value.
mod against_values {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(json!(1)), Just(json!("x")), Just(json!(null))];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[abc~/]", inner, 0..4)
                    .prop_map(|m| Value::from(m.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    fn places(value: &Value, pointer: &str, out: &mut Vec<String>) {
        out.push(pointer.to_owned());
        match value {
            Value::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    places(item, &format!("{pointer}/{n}"), out);
                }
            }
            Value::Object(members) => {
                out.push(format!("{pointer}/new"));
                for (key, item) in members {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    places(item, &format!("{pointer}/{key}"), out);
                }
            }
            _ => {}
        }
    }

    fn set_in(value: &mut Value, pointer: &str) {
        match value.pointer_mut(pointer) {
            Some(place) => *place = json!(9),
            None => drop(
                value
                    .pointer_mut(pointer.strip_suffix("/new").unwrap())
                    .unwrap()
                    .as_object_mut()
                    .unwrap()
                    .insert("new".into(), json!(9)),
            ),
        }
    }

    /// Marks what goes, so that positions in arrays stay what they were.
    fn gone() -> Value {
        json!("gone")
    }

    fn sweep(value: &mut Value) {
        match value {
            Value::Array(items) => {
                items.retain(|v| *v != gone());
                items.iter_mut().for_each(sweep);
            }
            Value::Object(members) => {
                members.retain(|_, v| *v != gone());
                members.values_mut().for_each(sweep);
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn the_text_means_what_the_value_would(
            value in document(),
            picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..5),
            pretty in any::<bool>(),
        ) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let mut all = Vec::new();
            places(&value, "", &mut all);
            let edits: Vec<Edit> = picks
                .iter()
                .map(|(at, set)| (at.get(&all).as_str(), *set))
                .map(|(pointer, set)| if set { put(pointer, "9") } else { cut(pointer) })
                .collect();
            let Ok(written) = edited(&text, &edits) else { return Ok(()) };
            let mut expected = value;
            for edit in &edits {
                match edit {
                    Edit::Set { pointer, .. } => set_in(&mut expected, pointer),
                    Edit::Remove { pointer } => *expected.pointer_mut(pointer).unwrap() = gone(),
                }
            }
            sweep(&mut expected);
            prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), expected, "{}", written);
            prop_assert!(Index::new(&written).is_ok());
        }
    }
}
