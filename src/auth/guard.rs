//! What every endpoint asks for, and whether a request has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use http::header::HOST;

use super::Fetch;
use super::bearer::{self, Found};
use super::challenge::{Lack, Refused, Resource};
use super::jwt::Issuer;
use super::tokens::Tokens;
use crate::call::Principal;
use crate::config::{Auth, AuthKind, Config, DEFAULT_ENDPOINT};

/// One `[auth.NAME]`.
struct Realm {
    settings: Auth,
    proof: Proof,
}

enum Proof {
    Tokens(Tokens),
    Issuer(Box<Issuer>),
}

/// What one endpoint asks for.
struct Rule {
    realm: Arc<Realm>,
    scopes: Vec<String>,
}

#[derive(Default)]
struct Rules {
    realms: BTreeMap<String, Arc<Realm>>,
    /// By endpoint; `None` where nobody is asked.
    endpoints: BTreeMap<String, Option<Rule>>,
    /// For what is no endpoint.
    others: Option<Rule>,
    public_url: Option<String>,
}

/// Stands before the endpoints.
pub struct Guard {
    rules: ArcSwap<Rules>,
    fetch: Fetch,
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
            fetch,
        };
        guard.configure(config);
        Arc::new(guard)
    }

    /// From now on this configuration counts. What did not change keeps the keys that it knows.
    pub fn configure(&self, config: &Config) {
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
            let mut scopes = realm.settings.scopes.clone();
            scopes.extend(
                more.iter()
                    .filter(|scope| !realm.settings.scopes.contains(scope))
                    .cloned(),
            );
            Some(Rule { realm, scopes })
        };
        let names = config.endpoints.keys().chain(config.backends.keys());
        let names = names
            .map(|name| if name == DEFAULT_ENDPOINT { "" } else { name })
            .chain([""]);
        let endpoints = names.map(|name| (name.to_owned(), rule(name))).collect();
        // No endpoint has that name.
        let others = rule("\0");
        self.rules.store(Arc::new(Rules {
            others: others.or_else(|| rule("")),
            endpoints,
            public_url: config.listen.public_url.clone(),
            realms,
        }));
    }

    fn realm(&self, name: &str, settings: &Auth) -> Realm {
        let proof = match &settings.kind {
            AuthKind::Tokens(tokens) => Proof::Tokens(Tokens::new(name, tokens)),
            AuthKind::Jwt(jwt) => Proof::Issuer(Issuer::new(name, jwt, &self.fetch).into()),
        };
        Realm {
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
            Proof::Issuer(issuer) => issuer.whose(token, resource.url().as_deref()).await,
        };
        let principal = principal.map_err(|lack| resource.refuse(lack))?;
        match rule.scopes.iter().all(|scope| principal.scopes.contains(scope)) {
            true => Ok(Some(principal)),
            false => Err(resource.refuse(Lack::Scope)),
        }
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
            Proof::Tokens(_) => None,
            Proof::Issuer(issuer) => Some(issuer.name()),
        })
    }
}

impl Rules {
    fn rule(&self, endpoint: Option<&str>) -> Option<&Rule> {
        match endpoint.and_then(|endpoint| self.endpoints.get(endpoint)) {
            Some(rule) => rule.as_ref(),
            None => self.others.as_ref(),
        }
    }

    /// Scheme and host under which the agent knows the router. `Host` was checked before.
    fn base(&self, request: &Request<'_>) -> Option<String> {
        if let Some(url) = &self.public_url {
            return Some(url.clone());
        }
        let host = request.headers.get(HOST)?.to_str().ok()?;
        let scheme = if request.secure { "https" } else { "http" };
        Some(format!("{scheme}://{host}"))
    }
}

fn nobody() -> Realm {
    Realm {
        settings: Auth {
            kind: AuthKind::Tokens(BTreeMap::new()),
            scopes: Vec::new(),
        },
        proof: Proof::Tokens(Tokens::new("", &BTreeMap::new())),
    }
}

fn path(endpoint: &str) -> String {
    match endpoint {
        "" => "/mcp".to_owned(),
        name => format!("/mcp/{name}"),
    }
}
