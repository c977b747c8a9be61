//! Edits that a policy asks for: values set or removed by JSON pointer, checked, and spliced into the text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::index::{Index, Inside, Node, array_position, unescape};
use super::json::{check, push_quoted};

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

/// Applies `edits` to `text`. An edit that does not fit (no such place, no JSON, at or within the place of another)
/// is an error and nothing is applied.
pub fn apply(text: &str, index: &Index, edits: &[Edit]) -> Result<String, String> {
    let mut plan = Plan::default();
    for edit in edits {
        let (pointer, change) = match edit {
            Edit::Set { pointer, json } => {
                check(json).map_err(|e| format!("the value for {pointer:?} is not JSON: {e}"))?;
                (pointer, Change::Set(json))
            }
            Edit::Remove { pointer } if pointer.is_empty() => return Err("the whole cannot be removed".to_owned()),
            Edit::Remove { pointer } => (pointer, Change::Remove),
        };
        plan.add(pointer, change)?;
    }
    let mut out = String::with_capacity(text.len());
    write(text, &index.root, &plan, &mut out)?;
    Ok(out)
}

/// What becomes of a place.
#[derive(Clone, Copy)]
enum Change<'e> {
    Set(&'e str),
    Remove,
}

/// The edits at a place and below it.
#[derive(Default)]
struct Plan<'e> {
    change: Option<Change<'e>>,
    below: BTreeMap<Cow<'e, str>, Plan<'e>>,
}

impl<'e> Plan<'e> {
    fn add(&mut self, pointer: &'e str, change: Change<'e>) -> Result<(), String> {
        let mut place = self;
        if !pointer.is_empty() {
            let steps = pointer
                .strip_prefix('/')
                .ok_or_else(|| format!("{pointer:?} is not a JSON pointer"))?;
            for step in steps.split('/') {
                if place.change.is_some() {
                    return Err(format!("an edit of {pointer:?} and one above it"));
                }
                place = place.below.entry(unescape(step)).or_default();
            }
        }
        if place.change.is_some() || !place.below.is_empty() {
            return Err(format!("two edits touch {pointer:?}"));
        }
        place.change = Some(change);
        Ok(())
    }
}

/// Writes the value of `node` as it is after the edits. What none of them touches is copied.
fn write(text: &str, node: &Node, plan: &Plan<'_>, out: &mut String) -> Result<(), String> {
    if let Some(Change::Set(json)) = plan.change {
        out.push_str(json);
        return Ok(());
    }
    let mut left: BTreeMap<&str, &Plan<'_>> = plan.below.iter().map(|(step, plan)| (step.as_ref(), plan)).collect();
    let mut items = Items::new(text, node, out);
    match &node.inside {
        _ if left.is_empty() => {
            out.push_str(&text[node.span.clone()]);
            return Ok(());
        }
        Inside::Scalar => {}
        Inside::Array(elements) => {
            let mut at: BTreeMap<usize, &Plan<'_>> = BTreeMap::new();
            left.retain(
                |step, plan| match array_position(step).filter(|at| *at < elements.len()) {
                    Some(position) => at.insert(position, plan).is_some(),
                    None => true,
                },
            );
            for (position, element) in elements.iter().enumerate() {
                items.item(element.span.start, element, at.remove(&position))?;
            }
        }
        Inside::Object(members) => {
            for member in members {
                items.item(member.start, &member.value, left.remove(&*member.key))?;
            }
            let mut unknown = BTreeMap::new();
            for (key, plan) in left {
                match plan.change {
                    Some(Change::Set(json)) => items.new_member(key, json),
                    _ => drop(unknown.insert(key, plan)),
                }
            }
            left = unknown;
        }
    }
    items.end();
    match left.into_keys().next() {
        Some(step) => Err(format!(
            "there is nothing at {step:?} to edit, and no object that could take it"
        )),
        None => Ok(()),
    }
}

/// Writes the items of one container. Between items that were neighbours before, the text stays as it was.
struct Items<'t, 'o> {
    text: &'t str,
    out: &'o mut String,
    /// Up to where the text was copied or left out.
    done: usize,
    end: usize,
    /// An item was written.
    some: bool,
    /// The item before was left out.
    gap: bool,
}

impl<'t, 'o> Items<'t, 'o> {
    fn new(text: &'t str, node: &Node, out: &'o mut String) -> Self {
        Self {
            text,
            out,
            done: node.span.start,
            end: node.span.end,
            some: false,
            gap: false,
        }
    }

    /// The item that begins at `start`, its key included, and whose value is `node`.
    fn item(&mut self, start: usize, node: &Node, plan: Option<&Plan<'_>>) -> Result<(), String> {
        if self.done < start && !self.some && !self.gap {
            // The bracket, and the space after it.
            self.out.push_str(&self.text[self.done..start]);
            self.done = start;
        }
        if matches!(plan.and_then(|plan| plan.change), Some(Change::Remove)) {
            self.gap = true;
            self.done = node.span.end;
            return Ok(());
        }
        match (self.some, self.gap) {
            (true, true) => self.out.push(','),
            (true, false) => self.out.push_str(&self.text[self.done..start]),
            (false, _) => {}
        }
        self.out.push_str(&self.text[start..node.span.start]);
        match plan {
            Some(plan) => write(self.text, node, plan, self.out)?,
            None => self.out.push_str(&self.text[node.span.clone()]),
        }
        (self.some, self.gap, self.done) = (true, false, node.span.end);
        Ok(())
    }

    /// A member that was not there.
    fn new_member(&mut self, key: &str, json: &str) {
        if self.done < self.end && !self.some && !self.gap {
            self.out.push('{');
            self.done = self.end - 1;
        }
        if self.some {
            self.out.push(',');
        }
        push_quoted(self.out, key);
        self.out.push(':');
        self.out.push_str(json);
        self.some = true;
    }

    /// The bracket that closes it.
    fn end(&mut self) {
        let tail = if self.gap { self.end - 1 } else { self.done };
        self.out.push_str(&self.text[tail..self.end]);
    }
}

#[cfg(test)]
mod tests;
