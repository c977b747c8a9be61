//! One state of an endpoint: its settings, its backends, and what they offer as the policies show it.

use std::sync::Arc;

use super::Wanted;
use super::follow::Shared;
use super::shelf::{Owner, Page, Shelf, gather};
use crate::backend::{Backend, List};
use crate::config;
use crate::policy::{Candidate, Facts, Listing, Policy};
use crate::wire::header::Mirrored;
use crate::wire::{Kind, RawJson, Topic, template};

/// One state of an endpoint: its settings, its backends and the names they give.
pub struct View {
    /// How it names tools and reports errors.
    pub settings: config::Endpoint,
    /// Its backends, in a stable order.
    pub backends: Vec<Arc<Backend>>,
    /// Whether a session must have targets of its own here. Every legacy message asks.
    pub has_private: bool,
    /// The generation of policies that made it; `None` before there was any.
    pub(super) generation: Option<u64>,
    shelves: [Arc<Shelf>; 4],
}

/// What a thing is called at a backend.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name or URI there.
    pub name: Arc<str>,
    /// True where the backend has not said yet what it has, so that this is a guess: look again when it has.
    pub presumed: bool,
}

impl View {
    /// One that shows nothing yet.
    pub(super) fn blank(settings: config::Endpoint, backends: Vec<Arc<Backend>>) -> Self {
        let shelves = Kind::ALL.map(|_| Arc::default());
        let private = |b: &Arc<Backend>| b.settings().scope == config::Scope::Session;
        Self {
            has_private: backends.iter().any(private),
            settings,
            backends,
            generation: None,
            shelves,
        }
    }

    /// The view of an endpoint now: lists that did not change are those of the view before.
    pub(super) async fn make(endpoint: &Shared, wanted: &Wanted, policy: &dyn Policy) -> Self {
        let before = endpoint.view.load_full();
        let same = before.generation == Some(policy.generation()) && before.is_of(wanted);
        let names: Arc<[Arc<str>]> = wanted.backends.iter().map(|b| Arc::clone(b.name())).collect();
        let mut view = Self::blank(wanted.settings.clone(), wanted.backends.clone());
        for kind in Kind::ALL {
            let old = before.shelf(kind);
            if same && old.fault.is_none() && before.is_kind_up_to_date(kind) {
                view.shelves[kind.position()] = Arc::clone(&before.shelves[kind.position()]);
                continue;
            }
            let lists: Vec<_> = wanted.backends.iter().map(|b| b.known(kind)).collect();
            let listing = Arc::new(Listing {
                kind,
                endpoint: Arc::clone(&endpoint.name),
                path_backend: endpoint.path_backend.clone(),
                naming: wanted.settings.names.as_str(),
                backends: Arc::clone(&names),
                items: gather(kind, &names, &lists, &wanted.settings.exposure),
                skipped: false,
            });
            let shelf = if wanted.lacks_policies(endpoint, policy) {
                old.as_before(
                    &listing,
                    lists,
                    "the policies of this endpoint are not in force".to_owned(),
                )
            } else if listing.items.is_empty() {
                Shelf::decided(kind, &listing, lists)
            } else {
                match policy.transform_list(Arc::clone(&listing)).await {
                    Ok(shown) => Shelf::decided(kind, &shown, lists),
                    Err(fault) => {
                        let endpoint = &*endpoint.name;
                        tracing::warn!(
                            endpoint,
                            kind = kind.as_str(),
                            "what agents see stays as it was: {fault}"
                        );
                        old.as_before(&listing, lists, fault.to_string())
                    }
                }
            };
            view.shelves[kind.position()] = Arc::new(shelf);
        }
        view.generation = Some(policy.generation());
        view
    }

    /// Whether it is made of this.
    pub(super) fn is_of(&self, wanted: &Wanted) -> bool {
        let same = |(a, b): (&Arc<Backend>, &Arc<Backend>)| Arc::ptr_eq(a, b);
        self.settings == wanted.settings
            && self.backends.len() == wanted.backends.len()
            && self.backends.iter().zip(&wanted.backends).all(same)
    }

    /// False where a policy failed, so that another try may end otherwise.
    pub(super) fn is_sound(&self) -> bool {
        self.shelves.iter().all(|shelf| shelf.fault.is_none())
    }

    /// Why nothing of this kind is shown, where that is not for want of anything: no policy has decided yet what is.
    /// Then nothing else can be asked for either.
    pub fn undecided(&self, kind: Option<Kind>) -> Option<&str> {
        let shelf = self.shelf(kind.unwrap_or(Kind::Tools));
        let why = shelf
            .fault
            .as_deref()
            .unwrap_or("what is shown here is not decided yet");
        (!shelf.decided).then_some(why)
    }

    fn shelf(&self, kind: Kind) -> &Shelf {
        &self.shelves[kind.position()]
    }

    /// At most `size` items of the merged list from position `from` on.
    pub fn page(&self, kind: Kind, from: usize, size: usize) -> Page<'_> {
        self.shelf(kind).page(from, size)
    }

    /// Whether its backends have the same lists still.
    pub(super) fn is_up_to_date(&self) -> bool {
        Kind::ALL.into_iter().all(|kind| self.is_kind_up_to_date(kind))
    }

    fn is_kind_up_to_date(&self, kind: Kind) -> bool {
        let lists = &self.shelf(kind).lists;
        let mut pairs = self.backends.iter().zip(lists);
        lists.len() == self.backends.len()
            && pairs.all(|(backend, list)| match (&*backend.list(kind).borrow(), list) {
                (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                (now, then) => now.is_none() && then.is_none(),
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
                    (Some((kind, uri)), _, Some(found)) => {
                        found.contains(&at) && !self.hides(kind, at, uri) && self.may_have(kind, at, uri)
                    }
                    // Before its first list a backend may have anything that fits what stands for it.
                    (Some((kind, name)), None, None) => {
                        let expected = self.expected(kind, at, name);
                        expected.is_some_and(|name| self.may_have(kind, at, name))
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
                    item: wanted.and_then(|(kind, name)| self.definition(kind, known, at, name)),
                    facts: Some(Arc::clone(backend) as Arc<dyn Facts>),
                }
            })
            .collect()
    }

    /// The definition that the backend at that position gave of a thing.
    fn definition(&self, kind: Kind, owners: Option<&[Owner]>, at: usize, name: &str) -> Option<RawJson> {
        let there = match owners {
            Some(owners) => &*owners.iter().find(|(owner, _)| *owner == at)?.1,
            None => name,
        };
        Some(self.list_of(kind, at)?.get(there)?.raw.clone())
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
                    let mut shown = self.shelf(kind).items.iter().filter(|item| item.backend == *at);
                    shown.any(|item| wanted(kind, &item.key))
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

    /// What agents know as `name` is called so at `backend`. `None` for what that backend has and does not show, or
    /// not under this name. What stands in no list passes as it is: servers need not list all they have.
    pub fn name_at(&self, kind: Kind, backend: &str, name: &str) -> Option<Named> {
        let named = |name: &str, presumed| {
            Some(Named {
                name: name.into(),
                presumed,
            })
        };
        let Some(at) = self.backends.iter().position(|b| **b.name() == *backend) else {
            return named(name, false);
        };
        let owner = |(owner, _): &&Owner| *owner == at;
        if let Some((_, there)) = self.owners(kind, name).into_iter().flatten().find(owner) {
            return Some(Named {
                // A URI is the same on both sides.
                name: if kind.is_named() {
                    Arc::clone(there)
                } else {
                    name.into()
                },
                presumed: false,
            });
        }
        let there = self.expected(kind, at, name).unwrap_or(name);
        if self.hides(kind, at, name) || !self.may_have(kind, at, there) {
            return None;
        }
        let unknown = kind.is_named() && self.list_of(kind, at).is_none();
        named(there, unknown)
    }

    /// Whether the endpoint is to have what `key` is at a backend, if it is anything.
    fn may_have(&self, kind: Kind, at: usize, key: &str) -> bool {
        let backend = self.backends.get(at);
        backend.is_none_or(|backend| self.settings.exposure.has(kind, backend.name(), key))
    }

    fn list_of(&self, kind: Kind, at: usize) -> Option<&Arc<List>> {
        self.shelf(kind).lists.get(at)?.as_ref()
    }

    /// What `name` would be at a backend that has not said yet what it has.
    fn expected<'n>(&self, kind: Kind, at: usize, name: &'n str) -> Option<&'n str> {
        let mut of = self.shelf(kind).items.iter().filter(|item| item.backend == at);
        of.find_map(|item| item.stands_for(name))
    }

    /// Whether a backend has what `key` is there, and it is not shown under that: then `key` is not a name of it.
    /// Asked about what it is no owner of.
    fn hides(&self, kind: Kind, at: usize, key: &str) -> bool {
        let listed = |kind| self.list_of(kind, at).is_some_and(|list| list.get(key).is_some());
        if kind.is_named() {
            return match self.list_of(kind, at) {
                Some(list) => list.get(key).is_some(),
                // What stands for its list is hidden, and with it all that it stands for.
                None => !self.shelf(kind).items.iter().any(|item| item.backend == at),
            };
        }
        let templates = self.list_of(Kind::Templates, at);
        let fits = |template: &str| template::matches(template, key);
        let mut shown = self.shelf(Kind::Templates).items.iter().filter(|t| t.backend == at);
        let by_template = || templates.is_some_and(|list| list.items().iter().any(|t| fits(&t.key)));
        listed(Kind::Resources) || listed(Kind::Templates) || (!shown.any(|t| fits(&t.key)) && by_template())
    }
}
