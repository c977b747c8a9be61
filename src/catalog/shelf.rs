//! The merged list of one kind: its text, where its items end, and whose each of them is.

use std::collections::HashMap;
use std::sync::Arc;

use super::names::prefixed_name;
use crate::backend::{Backend, Item, Known};
use crate::wire::json::quote;
use crate::wire::{Kind, Object};

/// Whose an item is: the position of a backend, and what the item is called there.
pub(super) type Owner = (usize, Arc<str>);

/// The merged list of one kind.
pub(super) struct Shelf {
    /// The items, with commas between them.
    text: String,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// Their owners, by the key that agents see.
    by_key: HashMap<String, Vec<Owner>>,
    /// The lists it was made of, in the order of the backends.
    pub(super) lists: Vec<Known>,
}

/// A part of a merged list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Its items, with commas between them.
    pub items: &'a str,
    /// The position of the first item of the next page, where there is one.
    pub next: Option<usize>,
}

impl Shelf {
    /// Merges the lists of `backends`. `prefixed`: names carry their backend.
    pub(super) fn new(kind: Kind, backends: &[Arc<Backend>], prefixed: bool) -> Self {
        let lists: Vec<Known> = backends.iter().map(|b| b.known(kind)).collect();
        let mut shelf = Self {
            text: String::new(),
            ends: Vec::new(),
            by_key: HashMap::new(),
            lists: Vec::new(),
        };
        let prefixed = prefixed && kind.is_named();
        for (at, (backend, list)) in backends.iter().zip(&lists).enumerate() {
            for item in list.iter().flat_map(|l| l.items()) {
                match prefixed {
                    true => shelf.put(at, item, Some(prefixed_name(backend.name(), &item.key))),
                    false => shelf.put(at, item, None),
                }
            }
        }
        Self { lists, ..shelf }
    }

    fn put(&mut self, at: usize, item: &Item, name: Option<String>) {
        let owners = self
            .by_key
            .entry(name.as_ref().unwrap_or(&item.key).clone())
            .or_default();
        // What stands twice is listed once; who takes the call is the policy's matter.
        if owners.is_empty() {
            if !self.text.is_empty() {
                self.text.push(',');
            }
            match name {
                None => self.text.push_str(item.raw.as_str()),
                Some(name) => {
                    let mut object = Object::parse(item.raw.as_str()).unwrap_or_default();
                    object.set("name", quote(&name));
                    object.write(&mut self.text);
                }
            }
            self.ends.push(self.text.len());
        }
        if !owners.iter().any(|(owner, _)| *owner == at) {
            owners.push((at, item.key.as_str().into()));
        }
    }

    /// Whose the item is that agents see as `key`.
    pub(super) fn owners(&self, key: &str) -> Option<&[Owner]> {
        self.by_key.get(key).map(Vec::as_slice)
    }

    /// The item that agents see as `key`, as its first owner gave it.
    pub(super) fn item(&self, key: &str) -> Option<&Item> {
        let (at, there) = self.by_key.get(key)?.first()?;
        self.lists.get(*at)?.as_ref()?.get(there)
    }

    /// At most `size` items from position `from` on.
    pub(super) fn page(&self, from: usize, size: usize) -> Page<'_> {
        let until = from.saturating_add(size).min(self.ends.len());
        let end = |items: usize| items.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        let items = match (end(from), end(until)) {
            // After the comma.
            (Some(start), Some(end)) => self.text.get(start + 1..end),
            (None, Some(end)) if from == 0 => self.text.get(..end),
            _ => None,
        };
        Page {
            items: items.unwrap_or_default(),
            next: (until < self.ends.len()).then_some(until),
        }
    }

    /// Whether agents have to be told that `newer` is in its place: it reads otherwise, or a server said so.
    pub(super) fn differs(&self, backends: &[Arc<Backend>], newer: &Self, newer_backends: &[Arc<Backend>]) -> bool {
        if self.text != newer.text {
            return true;
        }
        let revision = |list: &Known| list.as_ref().map_or(0, |l| l.revision);
        newer_backends.iter().zip(&newer.lists).any(|(backend, list)| {
            let before = backends.iter().position(|b| Arc::ptr_eq(b, backend));
            before
                .and_then(|at| self.lists.get(at))
                .is_some_and(|before| before.is_some() && revision(before) != revision(list))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(items: usize) -> Shelf {
        let mut shelf = Shelf {
            text: String::new(),
            ends: Vec::new(),
            by_key: HashMap::new(),
            lists: Vec::new(),
        };
        for n in 0..items {
            let key = format!("k{n}");
            let raw = format!("{{\"name\":\"{key}\"}}");
            let item = Item {
                raw: raw.into(),
                key,
                repeatable: false,
                mirrored: Ok(Vec::new()),
            };
            shelf.put(n % 2, &item, None);
            shelf.put(0, &item, None);
        }
        shelf
    }

    #[test]
    fn pages_follow_each_other_and_lose_nothing() {
        let shelf = shelf(5);
        for size in 1..7 {
            let (mut from, mut all) = (0, Vec::new());
            loop {
                let page = shelf.page(from, size);
                all.push(page.items.to_owned());
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
            assert_eq!(all.join(","), shelf.text, "{size}");
        }
        assert_eq!(shelf.page(5, 2), Page { items: "", next: None });
        assert_eq!(shelf.page(99, 2), Page { items: "", next: None });
        assert_eq!(Shelf { ..self::shelf(0) }.page(0, 9).items, "");
    }

    #[test]
    fn what_stands_twice_is_listed_once_and_has_two_owners() {
        let shelf = shelf(2);
        assert_eq!(shelf.text, r#"{"name":"k0"},{"name":"k1"}"#);
        assert_eq!(shelf.owners("k0").unwrap().len(), 1);
        assert_eq!(shelf.owners("k1").unwrap().len(), 2);
    }
}
