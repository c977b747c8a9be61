//! What every endpoint asks for, and whether a request has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::sync::watch;

use super::Fetch;
use super::bearer::{self, Found};
use super::challenge::{Lack, Refused, Resource};
use super::jwt::Issuer;
use super::rules::{Proof, Realm, Rule, Rules, nobody, path, union};
use super::tokens::Tokens;
use crate::call::Principal;
use crate::config::{Auth, AuthKind, Config, DEFAULT_ENDPOINT};

/// Stands before the endpoints.
pub struct Guard {
    rules: ArcSwap<Rules>,
    changes: watch::Sender<()>,
    fetch: Fetch,
    /// The router listens on loopback: every name that leads here is its own. Another address waits for a restart.
    loopback: bool,
}

/// What a guard looks at.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The endpoint as in its path, empty for `/mcp`; `None` for the pages.
    pub endpoint: Option<&'a str>,
    /// What stands behind the `?`.
    pub query: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// It came over TLS.
    pub secure: bool,
}

impl Guard {
    /// A guard by this configuration. `fetch` gets the keys of issuers.
    pub fn new(config: &Config, fetch: Fetch) -> Arc<Self> {
        let guard = Self {
            rules: ArcSwap::default(),
            changes: watch::Sender::new(()),
            fetch,
            loopback: config.listen.is_loopback(),
        };
        guard.configure(config);
        Arc::new(guard)
    }

    /// From now on this configuration counts. What did not change keeps the keys that it knows.
    pub fn configure(&self, config: &Config) {
        self.put(self.rules_of(config));
    }

    fn put(&self, rules: Rules) {
        let old = self.rules.swap(Arc::new(rules));
        if !old.asks_as(&self.rules.load()) {
            self.changes.send_replace(());
        }
    }

    /// Wakes when something else is asked.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Until [`Self::configure`] this configuration counts, and the one before it too: endpoints are what they were, or
    /// what they will be. What is asked for is asked already, and what is no longer asked for still is.
    pub fn prepare(&self, config: &Config) {
        let old = self.rules.load();
        let mut rules = self.rules_of(config);
        for (name, before) in &old.endpoints {
            let rule = match (before, rules.endpoints.remove(name)) {
                (Some(before), Some(Some(after))) => Some(before.and(after)),
                (None, Some(after)) => after,
                (before, _) => before.clone(),
            };
            rules.endpoints.insert(name.clone(), rule);
        }
        self.put(rules);
    }

    fn rules_of(&self, config: &Config) -> Rules {
        let old = self.rules.load();
        let realm = |(name, settings): (&String, &Auth)| {
            let kept = old.realms.get(name).filter(|realm| realm.settings == *settings);
            let realm = kept.map_or_else(|| self.realm(name, settings).into(), Arc::clone);
            (name.clone(), realm)
        };
        let realms: BTreeMap<String, Arc<Realm>> = config.auth.iter().map(realm).collect();
        let rule = |endpoint: &str| {
            let (name, more) = config.asks(endpoint);
            // A name without meaning lets nobody in.
            let realm = realms.get(name?).map_or_else(|| Arc::new(nobody()), Arc::clone);
            let scopes = union(&realm.settings.scopes, more);
            Some(Rule { realm, scopes })
        };
        let names = config.endpoints.keys().chain(config.backends.keys());
        let names = names
            .map(|name| if name == DEFAULT_ENDPOINT { "" } else { name })
            .chain([""]);
        let endpoints = names.map(|name| (name.to_owned(), rule(name))).collect();
        // No endpoint has that name.
        let others = rule("\0");
        Rules {
            others: others.or_else(|| rule("")),
            endpoints,
            public_url: config.listen.public_url.clone(),
            realms,
        }
    }

    fn realm(&self, name: &str, settings: &Auth) -> Realm {
        let proof = match &settings.kind {
            AuthKind::Tokens(tokens) => Proof::Tokens(Tokens::new(name, tokens)),
            AuthKind::Jwt(jwt) => Proof::Issuer(Issuer::new(name, jwt, &self.fetch).into()),
        };
        Realm {
            name: name.to_owned(),
            settings: settings.clone(),
            proof,
        }
    }

    /// Whether anybody has to say who asks there. Every request wants to know, and most routers ask nobody.
    pub fn asks(&self, endpoint: Option<&str>) -> bool {
        self.rules.load().rule(endpoint).is_some()
    }

    /// Who asks; `None` where nobody has to say so.
    pub async fn admit(&self, request: Request<'_>) -> Result<Option<Arc<Principal>>, Refused> {
        let rules = self.rules.load_full();
        let Some(rule) = rules.rule(request.endpoint) else {
            return Ok(None);
        };
        let base = rules.base(&request);
        let path = request.endpoint.map_or_else(|| "/mcp".to_owned(), path);
        let resource = Resource {
            base: base.as_deref(),
            path: &path,
            scopes: &rule.scopes,
        };
        let token = match bearer::find(request.headers, request.query) {
            Found::Token(token) => token,
            Found::Nothing => return Err(resource.refuse(Lack::Token)),
            Found::Malformed(why) => return Err(resource.refuse(Lack::Form(why))),
        };
        let principal = match &rule.realm.proof {
            Proof::Tokens(tokens) => tokens.whose(token).ok_or(Lack::Good("it is not known here")),
            Proof::Issuer(issuer) => {
                // A name that the client chose says nothing of whom a token is for, and on all interfaces it chooses.
                let known = self.loopback || rules.public_url.is_some();
                issuer.whose(token, resource.url().filter(|_| known).as_deref()).await
            }
            Proof::Nothing => Err(Lack::Unsure),
        };
        let principal = principal.map_err(|lack| resource.refuse(lack))?;
        match rule.fits(&principal) {
            true => Ok(Some(principal)),
            false => Err(resource.refuse(Lack::Scope)),
        }
    }

    /// Whether one who was let in to an endpoint before his body came is where he was let in: a reload may have put another
    /// rule in its place. His token is not looked at again.
    pub fn still(&self, endpoint: &str, principal: Option<&Principal>) -> Result<(), Refused> {
        let rules = self.rules.load();
        let Some(rule) = rules.rule(Some(endpoint)) else {
            return Ok(());
        };
        if principal.is_some_and(|principal| rule.fits(principal)) {
            return Ok(());
        }
        let resource = Resource {
            base: None,
            path: &path(endpoint),
            scopes: &rule.scopes,
        };
        // The next try hears what is wanted.
        Err(resource.refuse(Lack::Unsure))
    }

    /// The metadata of what is asked for (RFC 9728); `None` where nobody is asked for a token.
    pub fn metadata(&self, request: Request<'_>) -> Option<String> {
        let rules = self.rules.load();
        let endpoint = request.endpoint.unwrap_or_default();
        let rule = rules.endpoints.get(endpoint)?.as_ref()?;
        let base = rules.base(&request);
        let resource = Resource {
            base: base.as_deref(),
            path: &path(endpoint),
            scopes: &rule.scopes,
        };
        resource.metadata(match &rule.realm.proof {
            Proof::Tokens(_) | Proof::Nothing => None,
            Proof::Issuer(issuer) => Some(issuer.name()),
        })
    }
}
