//! The question that a list puts to plugins, the accessors of the list, and the check of the answer.

use std::sync::{Arc, OnceLock};

use wasmtime::component::Resource;
use wasmtime::error::Context;

use super::bindings::pointsman::policy::types as wit;
use super::fault::Fault;
use super::host::{State, Subject, at, length, size};
use super::instance::Instance;
use super::question::{Question, bad, within};
use crate::policy::{Hook, Listed, Listing};
use crate::wire::{Index, RawJson};

/// Marks handles to a listing.
pub enum ListingHandle {}

/// Items that cost no more CPU time than a call. A longer list has that much time for each so many.
const PORTION: usize = 100;

/// A list that a guest looks at, with the indexes of the definitions that it looked into.
pub(super) struct Catalogue {
    listing: Arc<Listing>,
    indexes: Vec<OnceLock<Result<Index, String>>>,
}

impl Catalogue {
    fn new(listing: &Arc<Listing>) -> Self {
        Self {
            listing: Arc::clone(listing),
            indexes: listing.items.iter().map(|_| OnceLock::new()).collect(),
        }
    }

    /// The definition of an item, and its index.
    fn definition(&self, position: u32) -> wasmtime::Result<Result<(&str, &Index), String>> {
        let item = at(Some(&self.listing.items), position)?;
        let text = item.raw.as_ref().map_or("{}", RawJson::as_str);
        let index = at(Some(&self.indexes), position)?.get_or_init(|| Index::new(text));
        Ok(index.as_ref().map(|index| (text, index)).map_err(String::clone))
    }
}

impl State {
    fn catalogue(&self) -> wasmtime::Result<&Catalogue> {
        self.subject.catalogue.as_deref().context("there is no listing now")
    }

    fn listing(&self) -> wasmtime::Result<&Listing> {
        Ok(&*self.catalogue()?.listing)
    }

    fn listed(&self, position: u32) -> wasmtime::Result<&Listed> {
        at(Some(&self.listing()?.items), position)
    }
}

impl wit::HostListing for State {
    fn kind(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<String> {
        Ok(self.listing()?.kind.as_str().to_owned())
    }
    fn endpoint(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<String> {
        Ok(self.listing()?.endpoint.as_ref().to_owned())
    }
    fn path_backend(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<Option<String>> {
        Ok(self.listing()?.path_backend.as_deref().map(str::to_owned))
    }
    fn naming(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<String> {
        Ok(self.listing()?.naming.to_owned())
    }
    fn backends(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<Vec<String>> {
        Ok(self.listing()?.backends.iter().map(|b| b.as_ref().to_owned()).collect())
    }
    fn len(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<u32> {
        Ok(length(Some(&self.listing()?.items)))
    }
    fn owners(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<Vec<u32>> {
        let owner = |item: &Listed| u32::try_from(item.backend).unwrap_or(u32::MAX);
        Ok(self.listing()?.items.iter().map(owner).collect())
    }
    fn names(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<Vec<String>> {
        let items = &self.listing()?.items;
        Ok(items.iter().map(|item| item.name.as_ref().to_owned()).collect())
    }
    fn keys(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<Vec<String>> {
        let items = &self.listing()?.items;
        Ok(items.iter().map(|item| item.key.as_ref().to_owned()).collect())
    }
    fn backend(&mut self, _: Resource<ListingHandle>, position: u32) -> wasmtime::Result<String> {
        let backend = self.listing()?.backends.get(self.listed(position)?.backend);
        Ok(backend.context("an item has no backend")?.as_ref().to_owned())
    }
    fn name(&mut self, _: Resource<ListingHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.listed(position)?.name.as_ref().to_owned())
    }
    fn key(&mut self, _: Resource<ListingHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.listed(position)?.key.as_ref().to_owned())
    }
    fn is_pending(&mut self, _: Resource<ListingHandle>, position: u32) -> wasmtime::Result<bool> {
        Ok(self.listed(position)?.raw.is_none())
    }
    fn get(
        &mut self,
        _: Resource<ListingHandle>,
        position: u32,
        pointer: String,
    ) -> wasmtime::Result<Result<Option<String>, String>> {
        let definition = self.catalogue()?.definition(position)?;
        Ok(definition.map(|(text, index)| index.span(&pointer).map(|span| text[span].to_owned())))
    }
    fn json(&mut self, _: Resource<ListingHandle>, position: u32) -> wasmtime::Result<Result<String, String>> {
        let definition = self.catalogue()?.definition(position)?;
        Ok(definition.map(|(text, _)| text.to_owned()))
    }
    fn size(&mut self, _: Resource<ListingHandle>, position: u32) -> wasmtime::Result<u64> {
        Ok(self.listed(position)?.raw.as_ref().map_or(2, size))
    }
    fn drop(&mut self, _: Resource<ListingHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// What do agents see, and under which names?
pub(super) struct TransformList<'a> {
    pub(super) listing: &'a Arc<Listing>,
}

impl Question for TransformList<'_> {
    type Raw = Option<Vec<wit::Shown>>;
    type Answer = Option<Arc<Listing>>;
    const HOOK: Hook = Hook::TransformList;

    fn subject(&self) -> Subject {
        Subject {
            catalogue: Some(Arc::new(Catalogue::new(self.listing))),
            ..Subject::default()
        }
    }

    fn portions(&self) -> u64 {
        u64::try_from(1 + self.listing.items.len() / PORTION).unwrap_or(u64::MAX)
    }

    async fn put(&self, to: &mut Instance) -> wasmtime::Result<Result<Self::Raw, String>> {
        let (store, hook) = to.transform_list()?;
        hook.call_transform(store, Resource::new_borrow(0)).await
    }

    fn check(&self, raw: Self::Raw, limit: usize) -> Result<Self::Answer, Fault> {
        let Some(shown) = raw else { return Ok(None) };
        let before = &self.listing.items;
        let mut used = vec![false; before.len()];
        let mut bytes = 0;
        let mut items = Vec::with_capacity(shown.len().min(before.len()));
        for wit::Shown { position, name } in shown {
            let there = usize::try_from(position).unwrap_or(usize::MAX);
            let (Some(item), Some(used)) = (before.get(there), used.get_mut(there)) else {
                return bad(format!("shows position {position} of {}", before.len()));
            };
            if std::mem::replace(used, true) {
                return bad(format!("shows position {position} twice"));
            }
            let mut item = item.clone();
            if let Some(name) = name.filter(|name| **name != *item.name) {
                if name.is_empty() || name.contains(char::is_control) {
                    return bad(format!("gives {:?} a name that is none: {name:?}", item.key));
                }
                if !self.listing.kind.is_named() {
                    return bad(format!("renames {:?}: URIs stay what they are", item.key));
                }
                bytes += name.len();
                within(bytes, limit)?;
                item.name = name.into();
            }
            items.push(item);
        }
        Ok(Some(Arc::new(Listing {
            items,
            ..Listing::clone(self.listing)
        })))
    }
}
