//! One state of an endpoint: its settings, its backends, and what they offer under the names that agents see.

use std::sync::Arc;

use super::names::{SEPARATOR, prefixes};
use super::shelf::{Owner, Page, Shelf};
use crate::backend::Backend;
use crate::config;
use crate::policy::Candidate;
use crate::wire::header::Mirrored;
use crate::wire::{Kind, Topic, template};

/// One state of an endpoint: its settings, its backends and the names they give.
pub struct View {
    /// How it names tools and reports errors.
    pub settings: config::Endpoint,
    /// Its backends, in a stable order.
    pub backends: Vec<Arc<Backend>>,
    shelves: [Shelf; 4],
}

impl View {
    pub(super) fn new(settings: config::Endpoint, backends: Vec<Arc<Backend>>) -> Self {
        let prefixed = prefixes(&settings, backends.len());
        let shelves = Kind::ALL.map(|kind| Shelf::new(kind, &backends, prefixed));
        Self {
            settings,
            backends,
            shelves,
        }
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        &self.shelves[kind.position()]
    }

    /// Whether a session must have targets of its own here.
    pub fn has_private(&self) -> bool {
        let private = |b: &Arc<Backend>| b.settings().scope == config::Scope::Session;
        self.backends.iter().any(private)
    }

    /// At most `size` items of the merged list from position `from` on.
    pub fn page(&self, kind: Kind, from: usize, size: usize) -> Page<'_> {
        self.shelf(kind).page(from, size)
    }

    /// Whether its backends have the same lists still.
    pub(super) fn is_fresh(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| {
            let lists = &self.shelf(kind).lists;
            self.backends
                .iter()
                .zip(lists)
                .all(|(backend, list)| match (&*backend.list(kind).borrow(), list) {
                    (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                    (now, then) => now.is_none() && then.is_none(),
                })
        })
    }

    /// Whether agents have to be told that `newer` is in its place.
    pub(super) fn differs(&self, newer: &Self, topic: Topic) -> bool {
        topic.kinds().any(|kind| {
            self.shelf(kind)
                .differs(&self.backends, newer.shelf(kind), &newer.backends)
        })
    }

    /// The arguments of the tool `name` that modern clients mirror in headers, as its first owner says.
    pub fn mirrored(&self, name: &str) -> &[Mirrored] {
        let tool = self.shelf(Kind::Tools).item(name);
        tool.and_then(|tool| tool.mirrored.as_deref().ok()).unwrap_or_default()
    }

    /// Every backend of the endpoint as a candidate for the thing of this kind that agents know as `name`, or for a
    /// call that names none.
    pub fn candidates(&self, kind: Option<Kind>, name: Option<&str>) -> Arc<[Candidate]> {
        let wanted = kind.zip(name);
        let known = wanted.and_then(|(kind, name)| self.owners(kind, name));
        let found;
        let found: Option<&[usize]> = match (wanted, known) {
            (Some((kind, uri)), None) if !kind.is_named() => {
                found = self.claimants(uri);
                Some(&found)
            }
            _ => None,
        };
        self.backends
            .iter()
            .enumerate()
            .map(|(at, backend)| {
                let offers = match (wanted, known, found) {
                    (None, ..) => true,
                    (_, Some(owners), _) => owners.iter().any(|(owner, _)| *owner == at),
                    (_, _, Some(found)) => found.contains(&at),
                    // Before its first list a backend may have anything that its prefix fits.
                    (Some((kind, name)), None, None) => {
                        backend.list(kind).borrow().is_none() && self.may_have(backend, name)
                    }
                };
                let (state, in_flight) = backend.state();
                let (held, ..) = backend.gate().load();
                let held = u32::try_from(held).unwrap_or(u32::MAX);
                Candidate {
                    backend: Arc::clone(backend.name()),
                    offers,
                    state,
                    held,
                    in_flight,
                }
            })
            .collect()
    }

    /// Whose a thing is by the lists. A template may be asked about by its own text or by a URI.
    fn owners(&self, kind: Kind, key: &str) -> Option<&[Owner]> {
        let found = self.shelf(kind).owners(key);
        match kind {
            Kind::Templates => found.or_else(|| self.shelf(Kind::Resources).owners(key)),
            _ => found,
        }
    }

    /// Who may have a resource that stands in no list: whoever has a template that fits; else, since servers need not
    /// list what they have, the only backend with resources, or the one whose URIs begin alike.
    fn claimants(&self, uri: &str) -> Vec<usize> {
        let having = |wanted: &dyn Fn(Kind, &str) -> bool| -> Vec<usize> {
            let has = |at: &usize| {
                [Kind::Resources, Kind::Templates].into_iter().any(|kind| {
                    let list = self.shelf(kind).lists.get(*at).and_then(Option::as_ref);
                    list.is_some_and(|l| l.items().iter().any(|item| wanted(kind, &item.key)))
                })
            };
            (0..self.backends.len()).filter(has).collect()
        };
        let fitting = having(&|kind, key| kind == Kind::Templates && template::matches(key, uri));
        if !fitting.is_empty() {
            return fitting;
        }
        let with_resources: Vec<usize> = self
            .backends
            .iter()
            .enumerate()
            // Before it said anything it may have some.
            .filter(|(_, b)| b.introduced().is_none_or(|i| i.has("resources")))
            .map(|(at, _)| at)
            .collect();
        if with_resources.len() < 2 {
            return with_resources;
        }
        let scheme = |text: &str| text.split_once(':').map(|(scheme, _)| scheme.to_owned());
        let alike = having(&|_, key| scheme(key).is_some() && scheme(key) == scheme(uri));
        if alike.len() == 1 { alike } else { Vec::new() }
    }

    /// What agents know as `name` is called so at `backend`.
    pub fn name_at(&self, kind: Option<Kind>, backend: &str, name: &str) -> Arc<str> {
        let Some(kind) = kind.filter(|kind| kind.is_named()) else {
            return name.into();
        };
        let owners = self.shelf(kind).owners(name).into_iter().flatten();
        for (at, there) in owners {
            if self.backends.get(*at).is_some_and(|b| **b.name() == *backend) {
                return Arc::clone(there);
            }
        }
        let prefix = name.strip_prefix(backend).and_then(|rest| rest.strip_prefix(SEPARATOR));
        match prefix {
            Some(tool) if prefixes(&self.settings, self.backends.len()) => tool.into(),
            _ => name.into(),
        }
    }

    fn may_have(&self, backend: &Backend, name: &str) -> bool {
        !prefixes(&self.settings, self.backends.len())
            || name
                .strip_prefix(&**backend.name())
                .is_some_and(|rest| rest.starts_with(SEPARATOR))
    }
}
