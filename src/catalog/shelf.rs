//! The merged list of one kind: its text, where its items end, and whose each of them is.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backend::{Backend, Item, Known};
use crate::config::Exposure;
use crate::policy::{Listed, Listing};
use crate::wire::json::quote;
use crate::wire::{Kind, Object};

/// Whose an item is: the position of a backend, and what the item is called there.
pub(super) type Owner = (usize, Arc<str>);

/// The merged list of one kind.
#[derive(Default)]
pub(super) struct Shelf {
    /// The items, with commas between them.
    text: String,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// Their owners, by the key that agents see.
    by_key: HashMap<Arc<str>, Vec<Owner>>,
    /// The lists it was made of, in the order of the backends.
    pub(super) lists: Vec<Known>,
    /// The names of those.
    backends: Arc<[Arc<str>]>,
    /// What is shown, in order, and what stands for the lists that are not known.
    pub(super) items: Vec<Listed>,
    /// Whether the policies ever decided about it.
    pub(super) decided: bool,
    /// Why it may become another without a change of anything: a policy failed.
    pub(super) fault: Option<String>,
}

/// A part of a merged list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// Its items, with commas between them.
    pub items: &'a str,
    /// The position of the first item of the next page, where there is one.
    pub next: Option<usize>,
}

/// What the backends have of a kind and the endpoint is to have, everything under its own name. Before its first list
/// a backend may have any tool and any prompt.
pub(super) fn gather(kind: Kind, backends: &[Arc<str>], lists: &[Known], rules: &Exposure) -> Vec<Listed> {
    let mut items = Vec::new();
    for (at, (list, backend)) in lists.iter().zip(backends).enumerate() {
        match list {
            Some(list) => {
                let had = list.items().iter().filter(|i| rules.has(kind, backend, &i.key));
                items.extend(had.map(|i| Listed::new(at, &i.key, i.raw.clone())));
            }
            None if kind.is_named() => items.push(Listed::pending(at)),
            None => {}
        }
    }
    items
}

impl Shelf {
    /// What the policies left of a listing that was gathered from `lists`.
    pub(super) fn decided(kind: Kind, listing: &Listing, lists: Vec<Known>) -> Self {
        let fault = listing.skipped.then(|| "a policy failed and was passed by".to_owned());
        Self {
            lists,
            decided: true,
            fault,
            backends: Arc::clone(&listing.backends),
            ..Self::of(kind, listing.items.clone())
        }
    }

    /// What was shown before of what there is now, under the same names, for the policies failed. What nobody decided
    /// about is not shown.
    pub(super) fn as_before(&self, listing: &Listing, lists: Vec<Known>, fault: String) -> Self {
        let now: HashMap<(&str, &str), &Listed> = listing
            .items
            .iter()
            .filter_map(|item| Some(((&**listing.backends.get(item.backend)?, &*item.key), item)))
            .collect();
        let again = |shown: &Listed| {
            let item = now.get(&(&**self.backends.get(shown.backend)?, &*shown.key))?;
            Some(Listed {
                name: Arc::clone(&shown.name),
                ..Listed::clone(item)
            })
        };
        Self {
            lists,
            decided: self.decided,
            fault: Some(fault),
            backends: Arc::clone(&listing.backends),
            ..Self::of(listing.kind, self.items.iter().filter_map(again).collect())
        }
    }

    fn of(kind: Kind, items: Vec<Listed>) -> Self {
        let mut shelf = Self::default();
        for item in &items {
            shelf.put(kind, item);
        }
        Self { items, ..shelf }
    }

    fn put(&mut self, kind: Kind, item: &Listed) {
        let Some(raw) = &item.raw else { return };
        let owners = self.by_key.entry(Arc::clone(&item.name)).or_default();
        // What stands twice is listed once; who takes the call is the policy's matter.
        if owners.is_empty() {
            if !self.text.is_empty() {
                self.text.push(',');
            }
            if item.name == item.key {
                self.text.push_str(raw.as_str());
            } else {
                let mut object = Object::parse(raw.as_str()).unwrap_or_default();
                object.set(kind.key(), quote(&item.name));
                object.write(&mut self.text);
            }
            self.ends.push(self.text.len());
        }
        if !owners.iter().any(|(owner, _)| *owner == item.backend) {
            owners.push((item.backend, Arc::clone(&item.key)));
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
    use crate::wire::RawJson;

    fn shelf(items: usize) -> Shelf {
        let mut shelf = Shelf::default();
        for n in 0..items {
            let key = format!("k{n}");
            let raw = RawJson::from(format!("{{\"name\":\"{key}\"}}"));
            shelf.put(Kind::Tools, &Listed::new(n % 2, &key, raw.clone()));
            shelf.put(Kind::Tools, &Listed::new(0, &key, raw));
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

    fn listing(backends: &[&str], items: &[(usize, &str, &str)]) -> Listing {
        let item = |(at, key, name): &(usize, &str, &str)| Listed {
            name: (*name).into(),
            ..Listed::new(*at, key, RawJson::from(format!("{{\"name\":\"{key}\"}}")))
        };
        Listing {
            kind: Kind::Tools,
            endpoint: "".into(),
            path_backend: None,
            naming: "auto",
            backends: backends.iter().map(|b| (*b).into()).collect(),
            items: items.iter().map(item).collect(),
            skipped: false,
        }
    }

    #[test]
    fn another_name_is_written_into_the_definition() {
        let shown = Shelf::decided(
            Kind::Tools,
            &listing(&["a"], &[(0, "x", "a__x"), (0, "y", "y")]),
            Vec::new(),
        );
        assert_eq!(shown.text, r#"{"name":"a__x"},{"name":"y"}"#);
        assert_eq!(shown.owners("a__x").unwrap(), [(0, Arc::from("x"))]);
        assert!(shown.owners("x").is_none());
    }

    #[test]
    fn after_a_fault_what_was_shown_and_still_is_there_keeps_its_name_and_place() {
        let good = listing(&["a", "b"], &[(1, "z", "b__z"), (0, "y", "a__y"), (0, "x", "a__x")]);
        let good = Shelf::decided(Kind::Tools, &good, Vec::new());
        // `x` is gone, `new` and `c` have come, and `b` is another position.
        let now = listing(
            &["c", "b", "a"],
            &[(0, "y", "y"), (1, "z", "z"), (2, "y", "y"), (2, "new", "new")],
        );
        let left = good.as_before(&now, Vec::new(), "broken".to_owned());
        assert_eq!(left.text, r#"{"name":"b__z"},{"name":"a__y"}"#);
        assert_eq!(left.owners("a__y").unwrap(), [(2, Arc::from("y"))]);
        assert!(left.decided && left.fault.is_some());
        // And so again, after another one.
        let again = left.as_before(&now, Vec::new(), "broken".to_owned());
        assert_eq!(again.text, left.text);
        let never = Shelf::default().as_before(&now, Vec::new(), "broken".to_owned());
        assert!(!never.decided && never.text.is_empty());
    }
}
