//! A list on its way to agents, as `transform-list` sees it.

use std::sync::Arc;

use crate::wire::{Kind, RawJson};

/// The key of an item that stands for all that its backend may have. No text of a name is excluded by it, and MCP
/// has no such name.
pub const PENDING: &str = "*";

/// What an endpoint's backends have of one kind, in the order in which agents see it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What is listed.
    pub kind: Kind,
    /// The endpoint; empty for `/mcp`.
    pub endpoint: Arc<str>,
    /// The backend that the path names, where it names one.
    pub path_backend: Option<Arc<str>>,
    /// The endpoint's setting `names`, as it is written.
    pub naming: &'static str,
    /// All backends of the endpoint.
    pub backends: Arc<[Arc<str>]>,
    /// The items.
    pub items: Vec<Listed>,
    /// Whether a plugin failed and was passed by: another try may end otherwise.
    pub skipped: bool,
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Whose it is: a position among the backends.
    pub backend: usize,
    /// What it is called there.
    pub key: Arc<str>,
    /// What agents call it.
    pub name: Arc<str>,
    /// Its definition; `None` where it stands for all that the backend may have, for it has not said yet. Its key is
    /// [`PENDING`] then, and a name that fits its name may be one of that backend's.
    pub raw: Option<RawJson>,
}

impl Listed {
    /// An item under its own name.
    pub fn new(backend: usize, key: &str, raw: RawJson) -> Self {
        let key: Arc<str> = key.into();
        Self {
            backend,
            name: Arc::clone(&key),
            key,
            raw: Some(raw),
        }
    }

    /// What stands for all that a backend may have.
    pub fn pending(backend: usize) -> Self {
        Self {
            backend,
            key: PENDING.into(),
            name: PENDING.into(),
            raw: None,
        }
    }

    /// What a thing that agents call `name` would be called at the backend, if this stands for it too.
    pub fn stands_for<'n>(&self, name: &'n str) -> Option<&'n str> {
        if self.raw.is_some() {
            return None;
        }
        match self.name.split_once(PENDING) {
            Some((before, after)) => name.strip_prefix(before)?.strip_suffix(after),
            None => (name == &*self.name).then_some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pending_stands_for_every_name_that_fits() {
        let called = |name: &str| Listed {
            name: name.into(),
            ..Listed::pending(0)
        };
        assert_eq!(called("*").stands_for("status"), Some("status"));
        assert_eq!(called("git__*").stands_for("git__status"), Some("status"));
        assert_eq!(called("git__*").stands_for("git_status"), None);
        assert_eq!(called("*@git").stands_for("status@git"), Some("status"));
        assert_eq!(called("a*a").stands_for("a"), None);
        assert_eq!(called("git").stands_for("git"), Some("git"));
        let known = Listed::new(0, "*", RawJson::from("{}".to_owned()));
        assert_eq!(known.stands_for("status"), None);
    }
}
