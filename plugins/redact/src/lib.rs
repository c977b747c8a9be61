//! Redaction: masks secrets in the arguments of requests and in responses.
//!
//! A member whose key is listed loses its value, whatever that is; a word that begins with a listed prefix is
//! masked wherever it stands in a string. Everything else keeps its bytes: only edits leave this plugin.

use std::cell::RefCell;

use json::Value;

wit_bindgen::generate!({ path: "../../wit", world: "transform-plugin" });

use exports::pointsman::policy::{lifecycle, transform_request, transform_response};
use pointsman::policy::types::{Call, Edit, Response, SetEdit};

mod rules;
use rules::Rules;

thread_local! {
    /// Set by `init`: an instance has one configuration for life.
    static RULES: RefCell<Rules> = const { RefCell::new(Rules::none()) };
}

struct Redact;

impl lifecycle::Guest for Redact {
    fn init(config: String) -> Result<(), String> {
        let rules = Rules::read(&config)?;
        RULES.with(|slot| *slot.borrow_mut() = rules);
        Ok(())
    }

    fn shutdown() {}
}

impl transform_request::Guest for Redact {
    fn transform(call: &Call) -> Result<Vec<Edit>, String> {
        match call.param("/arguments")? {
            Some(arguments) => edits(&arguments, "/arguments"),
            None => Ok(Vec::new()),
        }
    }
}

impl transform_response::Guest for Redact {
    fn transform(_: &Call, response: &Response) -> Result<Vec<Edit>, String> {
        edits(&response.json()?, "")
    }
}

/// The edits that `text`, which stands at `pointer`, needs.
fn edits(text: &str, pointer: &str) -> Result<Vec<Edit>, String> {
    let value = json::parse(text)?;
    let mut edits = Vec::new();
    RULES.with(|rules| walk(&rules.borrow(), &value, &mut pointer.to_owned(), &mut edits));
    Ok(edits)
}

fn walk(rules: &Rules, value: &Value, pointer: &mut String, edits: &mut Vec<Edit>) {
    match value {
        Value::Plain(_) => {}
        Value::Text(text) => {
            if let Some(masked) = rules.masked(text) {
                edits.push(put(pointer, &masked));
            }
        }
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                below(pointer, &position.to_string(), |pointer| {
                    walk(rules, item, pointer, edits)
                });
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                below(pointer, key, |pointer| {
                    if rules.hides(key) {
                        edits.push(put(pointer, rules.replacement()));
                    } else {
                        walk(rules, value, pointer, edits);
                    }
                });
            }
        }
    }
}

/// Runs `then` with the pointer one step longer, escaped as RFC 6901 says.
fn below(pointer: &mut String, step: &str, then: impl FnOnce(&mut String)) {
    let length = pointer.len();
    pointer.push('/');
    for c in step.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
    then(pointer);
    pointer.truncate(length);
}

fn put(pointer: &str, text: &str) -> Edit {
    Edit::Set(SetEdit {
        pointer: pointer.to_owned(),
        json: json::quote(text),
    })
}

export!(Redact);
