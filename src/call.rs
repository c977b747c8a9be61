//! One request inside the router, as policies and actors see it.

mod roots;
mod trail;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::HeaderMap;

use crate::wire::json::quote;
use crate::wire::method;
use crate::wire::{Era, Index, Kind, Malformed, Object, RawJson, Version};

pub use self::roots::{Roots, RootsFuture};
pub use self::trail::{Notes, Said, Seen, Step, Trail};

/// Who a call is from, for fairness, order and ownership.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AgentKey {
    /// A legacy session, by its number in the router (never its secret id).
    Session(u64),
    /// An authenticated principal, by its key.
    Principal(Arc<str>),
    /// A connection: for fairness alone, nothing sticks to it.
    Connection(u64),
}

impl AgentKey {
    /// True where calls with this key are known to be of one agent.
    pub fn owns(&self) -> bool {
        matches!(self, Self::Session(_) | Self::Principal(_))
    }
}

impl std::fmt::Display for AgentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(n) => write!(f, "session-{n}"),
            Self::Principal(key) => write!(f, "principal-{key}"),
            Self::Connection(n) => write!(f, "connection-{n}"),
        }
    }
}

/// Who an agent proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    key: Arc<str>,
    /// Its name, as its token has it.
    pub name: String,
    /// What its token is good for.
    pub scopes: Vec<String>,
    /// What else policies can read of it.
    pub labels: BTreeMap<String, String>,
    /// How long its token is good; `None` where that has no end.
    pub until: Option<SystemTime>,
}

impl Principal {
    /// The principal that `[auth.REALM]` knows under this name.
    pub fn new(realm: &str, name: String, scopes: Vec<String>, labels: BTreeMap<String, String>) -> Self {
        // No realm has a slash in its name.
        let key = format!("{realm}/{name}").into();
        Self {
            key,
            name,
            scopes,
            labels,
            until: None,
        }
    }

    /// What tells it from all others, also from those of the same name elsewhere.
    pub fn key(&self) -> &Arc<str> {
        &self.key
    }
}

/// One request. Cheap to share: bodies are shared bytes.
#[derive(Clone, Debug)]
pub struct Call {
    /// The router's number for it, in logs.
    pub id: u64,
    /// The JSON-RPC method.
    pub method: Cow<'static, str>,
    /// What it is about, where its method is about one thing that servers list.
    pub subject: Option<Subject>,
    /// The endpoint: empty for `/mcp`, else the last part of the path.
    pub endpoint: Arc<str>,
    /// The backend that the path names, where it names one.
    pub path_backend: Option<Arc<str>>,
    /// Who it is from.
    pub agent: AgentKey,
    /// Who its agent proved to be, where that was asked.
    pub principal: Option<Arc<Principal>>,
    /// The era the agent speaks.
    pub era: Era,
    /// The headers of the HTTP request.
    pub headers: HeaderMap,
    /// What the agent said in `initialize` about where its calls belong (legacy sessions): the `_meta` of its
    /// params, and the headers that came with it.
    pub initialize: Option<Arc<Introduction>>,
    /// The folders that its agent works in, where that can be asked for them.
    pub roots: Option<Arc<dyn Roots>>,
    /// The params as they came; `{}` where there were none.
    pub params: Params,
    /// What plugins said about it so far.
    pub trail: Trail,
}

/// The thing that a call is about, as its agent knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// What kind of thing.
    pub kind: Kind,
    /// Its name or URI.
    pub key: String,
}

impl Subject {
    /// Of a call of `method` with these params; an error where it must name something and does not.
    pub fn of(method: &str, params: &Object<'_>) -> Result<Option<Self>, String> {
        let named = |kind, object: &Object<'_>, key: &str| match object.get_str(key) {
            Some(name) => Ok(Some(Self {
                kind,
                key: name.into_owned(),
            })),
            None => Err(format!("{key} is missing")),
        };
        match method {
            method::TOOLS_CALL => named(Kind::Tools, params, "name"),
            method::PROMPTS_GET => named(Kind::Prompts, params, "name"),
            method::RESOURCES_READ | method::SUBSCRIBE | method::UNSUBSCRIBE => named(Kind::Resources, params, "uri"),
            method::COMPLETE => {
                let whose = params.get("ref").and_then(|r| Object::parse(r).ok());
                let whose = whose.ok_or("ref is missing")?;
                match whose.get_str("type").as_deref() {
                    Some("ref/prompt") => named(Kind::Prompts, &whose, "name"),
                    Some("ref/resource") => named(Kind::Templates, &whose, "uri"),
                    // Whoever knows that type may take it.
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }
}

/// What a legacy agent said once, when its session began.
#[derive(Debug, Default)]
pub struct Introduction {
    /// Headers of the `initialize` request.
    pub headers: HeaderMap,
    /// `_meta` of its params, as JSON text.
    pub meta: Option<RawJson>,
    /// `clientInfo`, as JSON text.
    pub client: Option<RawJson>,
    /// What the client can do, as JSON text.
    pub capabilities: Option<RawJson>,
    /// [`Self::only_modern_meta`], once it was asked for.
    pub modern: OnceLock<String>,
}

impl Introduction {
    /// What a modern request of this agent says of it in its `_meta`: version, client and capabilities.
    pub fn modern_meta(&self) -> [(&'static str, Cow<'_, str>); 3] {
        fn or<'a>(said: &'a Option<RawJson>, nothing: &'a str) -> Cow<'a, str> {
            Cow::Borrowed(said.as_ref().map_or(nothing, RawJson::as_str))
        }
        [
            (method::META_VERSION, quote(Version::NEWEST_MODERN.as_str()).into()),
            (
                method::META_CLIENT,
                or(&self.client, "{\"name\":\"unknown\",\"version\":\"0\"}"),
            ),
            (method::META_CAPABILITIES, or(&self.capabilities, "{}")),
        ]
    }

    /// The same as the whole `_meta` of a request that brings none of its own: made once, for most calls are such.
    pub fn only_modern_meta(&self) -> &str {
        self.modern.get_or_init(|| {
            let mut meta = Object::default();
            for (key, value) in self.modern_meta() {
                meta.set(key, value);
            }
            meta.to_text()
        })
    }
}

/// The params of a call, and an index of them that is made at the first use and shared by every hook.
#[derive(Debug)]
pub struct Params {
    raw: RawJson,
    meta: Option<RawJson>,
    index: OnceLock<Result<Index, String>>,
}

impl Params {
    /// Params as text, and their `_meta`, where they have one.
    pub fn new(raw: RawJson, meta: Option<RawJson>) -> Self {
        let index = OnceLock::new();
        Self { raw, meta, index }
    }

    /// The same after an edit, which may change anything but `_meta`.
    pub fn edited(&self, raw: RawJson) -> Self {
        Self::new(raw, self.meta.clone())
    }

    /// Their `_meta`.
    pub fn meta(&self) -> Option<&str> {
        self.meta.as_ref().map(RawJson::as_str)
    }

    /// The text, and its shared bytes.
    pub fn raw(&self) -> &RawJson {
        &self.raw
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.raw.as_str()
    }

    /// Length in bytes.
    pub fn size(&self) -> usize {
        self.raw.len()
    }
}

impl TryFrom<RawJson> for Params {
    type Error = Malformed;

    /// For params that were not split yet.
    fn try_from(raw: RawJson) -> Result<Self, Malformed> {
        let object = Object::parse(raw.as_str())?;
        let meta = object.get("_meta").map(|meta| RawJson::from(meta.to_owned()));
        Ok(Self::new(raw, meta))
    }
}

impl Clone for Params {
    /// Shares the text; the index is made anew where it is wanted.
    fn clone(&self) -> Self {
        self.edited(self.raw.clone())
    }
}

impl Call {
    /// The tool or the prompt that it is a call of, as the agent wrote it.
    pub fn name(&self) -> Option<&str> {
        let called =
            |s: &&Subject| matches!(&*self.method, method::TOOLS_CALL | method::PROMPTS_GET) && s.kind.is_named();
        self.subject.as_ref().filter(called).map(|s| s.key.as_str())
    }

    /// The key of the authenticated principal that it is from; empty where agents are not told apart.
    pub fn principal(&self) -> &str {
        self.principal.as_ref().map_or("", |principal| &principal.key)
    }

    /// The index of the params. An error where arguments hold a key twice: a policy and a target could read
    /// different values.
    pub fn index(&self) -> Result<&Index, &str> {
        let Params { index, .. } = &self.params;
        index
            .get_or_init(|| Index::new(self.params.as_str()))
            .as_ref()
            .map_err(String::as_str)
    }

    /// The JSON text at a pointer into the params.
    pub fn param(&self, pointer: &str) -> Result<Option<&str>, &str> {
        Ok(self.index()?.span(pointer).map(|span| &self.params.as_str()[span]))
    }

    /// The JSON text of one member of `params._meta`; an error where that holds a key twice.
    pub fn meta(&self, key: &str) -> Result<Option<String>, Malformed> {
        match self.params.meta().filter(|meta| meta.starts_with('{')) {
            Some(meta) => Ok(Object::parse(meta)?.get(key).map(str::to_owned)),
            None => Ok(None),
        }
    }

    /// A header of this request, where it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_meta_are_found_however_they_are_written() {
        for (params, value) in [
            (r#"{"_meta":{"a/b":{"x":1}}}"#, Ok(Some(r#"{"x":1}"#))),
            (r#"{"_meta":{"a\/b":2}}"#, Ok(Some("2"))),
            (r#"{"_\u006deta":{"a/b":2}}"#, Ok(Some("2"))),
            (r#"{"_meta":{"c":2},"a/b":1}"#, Ok(None)),
            (r#"{"_meta":"a/b"}"#, Ok(None)),
            ("{}", Ok(None)),
            (r#"{"_meta":{"a/b":1,"a/b":2}}"#, Err(())),
        ] {
            let call = Call {
                id: 1,
                method: "tools/call".into(),
                subject: None,
                endpoint: Arc::from(""),
                path_backend: None,
                agent: AgentKey::Connection(1),
                principal: None,
                era: Era::Legacy,
                headers: HeaderMap::new(),
                initialize: None,
                roots: None,
                params: RawJson::from(params.to_owned()).try_into().unwrap(),
                trail: Trail::default(),
            };
            let found = call.meta("a/b").map_err(drop);
            assert_eq!(
                found.as_ref().map(Option::as_deref),
                value.as_ref().copied(),
                "{params}"
            );
        }
    }
}
