//! What every endpoint asks for: made of a configuration, and of two while one takes the place of the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::HOST;

use super::Request;
use super::jwt::Issuer;
use super::tokens::Tokens;
use crate::call::Principal;
use crate::config::{Auth, AuthKind};

/// One `[auth.NAME]`.
pub(super) struct Realm {
    pub(super) name: String,
    pub(super) settings: Auth,
    pub(super) proof: Proof,
}

pub(super) enum Proof {
    Tokens(Tokens),
    Issuer(Box<Issuer>),
    /// Nothing is, as long as the endpoint passes from one realm to another.
    Nothing,
}

/// What one endpoint asks for.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) realm: Arc<Realm>,
    pub(super) scopes: Vec<String>,
}

#[derive(Default)]
pub(super) struct Rules {
    pub(super) realms: BTreeMap<String, Arc<Realm>>,
    /// By endpoint; `None` where nobody is asked.
    pub(super) endpoints: BTreeMap<String, Option<Rule>>,
    /// For what is no endpoint.
    pub(super) others: Option<Rule>,
    pub(super) public_url: Option<String>,
}

impl Rule {
    /// Whether a principal is of this realm, and may do what is asked here.
    pub(super) fn fits(&self, principal: &Principal) -> bool {
        let realm = principal.key().split_once('/').map(|(realm, _)| realm);
        realm == Some(self.realm.name.as_str()) && self.scopes.iter().all(|scope| principal.scopes.contains(scope))
    }

    /// What fits this one and `after`.
    pub(super) fn and(&self, after: Self) -> Self {
        match self.realm.name == after.realm.name {
            true => Self {
                scopes: union(&after.scopes, &self.scopes),
                realm: after.realm,
            },
            // No token is of both.
            false => Self {
                realm: Arc::new(Realm {
                    proof: Proof::Nothing,
                    ..nobody()
                }),
                ..after
            },
        }
    }
}

impl Rules {
    /// Whether whoever is let in by these is let in by the others.
    pub(super) fn asks_as(&self, other: &Self) -> bool {
        fn same(some: Option<&Rule>, other: Option<&Rule>) -> bool {
            match (some, other) {
                (Some(some), Some(other)) => Arc::ptr_eq(&some.realm, &other.realm) && some.scopes == other.scopes,
                (some, other) => some.is_none() && other.is_none(),
            }
        }
        let mut all = self.endpoints.iter().zip(&other.endpoints);
        self.public_url == other.public_url
            && same(self.others.as_ref(), other.others.as_ref())
            && self.endpoints.len() == other.endpoints.len()
            && all.all(|((name, rule), (with, then))| name == with && same(rule.as_ref(), then.as_ref()))
    }

    pub(super) fn rule(&self, endpoint: Option<&str>) -> Option<&Rule> {
        match endpoint.and_then(|endpoint| self.endpoints.get(endpoint)) {
            Some(rule) => rule.as_ref(),
            None => self.others.as_ref(),
        }
    }

    /// Scheme and host under which the agent knows the router. `Host` was checked before.
    pub(super) fn base(&self, request: &Request<'_>) -> Option<String> {
        if let Some(url) = &self.public_url {
            return Some(url.clone());
        }
        let host = request.headers.get(HOST)?.to_str().ok()?;
        let scheme = if request.secure { "https" } else { "http" };
        Some(format!("{scheme}://{host}"))
    }
}

pub(super) fn union(some: &[String], more: &[String]) -> Vec<String> {
    let more = more.iter().filter(|scope| !some.contains(scope));
    some.iter().chain(more).cloned().collect()
}

pub(super) fn nobody() -> Realm {
    Realm {
        name: String::new(),
        settings: Auth {
            kind: AuthKind::Tokens(BTreeMap::new()),
            scopes: Vec::new(),
        },
        proof: Proof::Tokens(Tokens::new("", &BTreeMap::new())),
    }
}

pub(super) fn path(endpoint: &str) -> String {
    match endpoint {
        "" => "/mcp".to_owned(),
        name => format!("/mcp/{name}"),
    }
}
