//! A case of a fixture as the question that the router would ask.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::fixture::{
    CallData, CandidateData, Case, IntroductionData, ItemData, ListingData, PrincipalData, ResponseData, TargetData,
    TroubleData,
};
use crate::call::{AgentKey, Call, Introduction, Params, Principal, Roots, RootsFuture, Subject, Trail};
use crate::plugin::Asked;
use crate::policy::{Candidate, Facts, Hook, Listed, Listing, TargetView, Trouble, TroubleKind};
use crate::wire::{Era, Kind, Object, RawJson};

const STATES: [&str; 6] = ["ready", "starting", "backoff", "crash-loop", "failed", "stopped"];
const NAMINGS: [&str; 3] = ["auto", "prefixed", "plain"];

/// The question of a case.
pub(super) fn asked(case: &Case) -> Result<Asked, String> {
    let hooks = Hook::CHAINS.into_iter().filter(|hook| *hook != Hook::Observe);
    let Some(hook) = hooks.clone().find(|hook| hook.as_str() == case.hook) else {
        let known: Vec<&str> = hooks.map(Hook::as_str).collect();
        return Err(format!("hook: {:?} is none of {}", case.hook, known.join(", ")));
    };
    let missing = |what: &str| format!("{what} is missing: {hook} is asked about one");
    let call = || call(&case.call).map(Arc::new);
    Ok(match hook {
        Hook::Route => {
            let candidates: Result<Vec<Candidate>, String> = case.candidates.iter().map(candidate).collect();
            Asked::Route(call()?, candidates?.into())
        }
        Hook::Select => {
            let targets: Vec<TargetView> = (0u32..).zip(&case.targets).map(target).collect();
            Asked::Select(call()?, targets.into())
        }
        Hook::TransformResponse => {
            let (body, is_error) = response(case.response.as_ref().ok_or_else(|| missing("response"))?)?;
            Asked::TransformResponse(call()?, body, is_error)
        }
        Hook::TransformList => {
            let listing = listing(case.listing.as_ref().ok_or_else(|| missing("listing"))?)?;
            Asked::TransformList(Arc::new(listing))
        }
        Hook::Settle => {
            let trouble = trouble(case.trouble.as_ref().ok_or_else(|| missing("trouble"))?)?;
            Asked::Settle(call()?, Arc::new(trouble))
        }
        Hook::TransformRequest | Hook::Lifecycle | Hook::Observe => Asked::TransformRequest(call()?),
    })
}

fn call(data: &CallData) -> Result<Call, String> {
    let method = data.method.clone().unwrap_or_else(|| "tools/call".to_owned());
    let params = match (&data.params, &data.params_json) {
        (Some(_), Some(_)) => return Err("call: `params` and `params-json` exclude each other".to_owned()),
        (Some(params), None) => params.to_string(),
        (None, Some(text)) => text.clone(),
        (None, None) => "{}".to_owned(),
    };
    let object = Object::parse(&params).map_err(|why| format!("call.params: {why}"))?;
    // A call without a name is none that the router would let pass, but short fixtures are good ones.
    let subject = Subject::of(&method, &object).ok().flatten();
    let params = Params::try_from(RawJson::from(params.clone())).map_err(|why| format!("call.params: {why}"))?;
    let era = match data.era.as_deref() {
        None | Some("modern") => Era::Modern,
        Some("legacy") => Era::Legacy,
        Some(other) => return Err(format!("call.era: {other:?} is neither `modern` nor `legacy`")),
    };
    let principal = data.principal.as_ref().map(|data| Arc::new(principal(data)));
    let agent = match (&data.agent, &principal) {
        (Some(word), _) => agent(word)?,
        (None, Some(principal)) => AgentKey::Principal(Arc::clone(principal.key())),
        (None, None) => AgentKey::Connection(1),
    };
    let introduced = data.introduction.as_ref();
    Ok(Call {
        id: data.id.unwrap_or(1),
        method: Cow::Owned(method),
        subject,
        endpoint: data.endpoint.as_str().into(),
        path_backend: data.path_backend.as_deref().map(Arc::from),
        agent,
        principal,
        era,
        headers: headers(&data.headers)?,
        initialize: introduced.map(|said| introduction(said).map(Arc::new)).transpose()?,
        roots: data.roots.as_ref().map(|said| roots(said, era)).transpose()?,
        params,
        trail: Trail::default(),
    })
}

fn principal(data: &PrincipalData) -> Principal {
    let PrincipalData {
        name,
        realm,
        scopes,
        labels,
    } = data;
    Principal::new(realm, name.clone(), scopes.clone(), labels.clone())
}

/// An agent as policies see it: `session-3`, `connection-1` or `principal-REALM/NAME`.
fn agent(word: &str) -> Result<AgentKey, String> {
    let number = |text: &str| text.parse().ok();
    let known = match word.split_once('-') {
        Some(("session", n)) => number(n).map(AgentKey::Session),
        Some(("connection", n)) => number(n).map(AgentKey::Connection),
        Some(("principal", key)) => Some(AgentKey::Principal(key.into())),
        _ => None,
    };
    known.ok_or_else(|| format!("call.agent: {word:?} is none of session-NUMBER, connection-NUMBER, principal-KEY"))
}

fn headers(pairs: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let key: HeaderName = name.parse().map_err(|e| format!("headers: {name:?}: {e}"))?;
        let value = HeaderValue::from_str(value).map_err(|e| format!("headers: {name}: {e}"))?;
        headers.insert(key, value);
    }
    Ok(headers)
}

fn introduction(said: &IntroductionData) -> Result<Introduction, String> {
    Ok(Introduction {
        headers: headers(&said.headers)?,
        meta: said.meta.as_ref().map(raw),
        client: said.client.as_ref().map(raw),
        capabilities: said.capabilities.as_ref().map(raw),
        ..Introduction::default()
    })
}

fn raw(value: &Value) -> RawJson {
    RawJson::from(value.to_string())
}

/// What the router would show of an agent's answer to `roots/list`.
fn roots(said: &Value, era: Era) -> Result<Arc<dyn Roots>, String> {
    if era != Era::Legacy {
        return Err("call.roots: no modern agent is asked for them: add `era = \"legacy\"`".to_owned());
    }
    let is_root = |root: &Value| root["uri"].is_string();
    if !said.as_array().is_some_and(|roots| roots.iter().all(is_root)) {
        return Err(format!("call.roots: {said} is no list of {{ uri = \"TEXT\" }}"));
    }
    Ok(Arc::new(Told(raw(said))))
}

/// What an agent says at once.
#[derive(Debug)]
struct Told(RawJson);

impl Roots for Told {
    fn roots(&self, _: Duration) -> RootsFuture<'_> {
        Box::pin(std::future::ready(Some(self.0.clone())))
    }
}

/// One of these words, which the router knows.
fn word(what: &str, known: &[&'static str], word: Option<&str>) -> Result<&'static str, String> {
    let Some(word) = word else {
        return Ok(known.first().copied().unwrap_or_default());
    };
    let found = known.iter().find(|one| **one == word);
    found
        .copied()
        .ok_or_else(|| format!("{what}: {word:?} is none of {}", known.join(", ")))
}

/// Facts as they are written down.
struct Written {
    labels: BTreeMap<String, String>,
    latency: Option<Duration>,
    eta: Option<Duration>,
}

impl Facts for Written {
    fn label(&self, name: &str) -> Option<String> {
        self.labels.get(name).cloned()
    }
    fn latency(&self) -> Option<Duration> {
        self.latency
    }
    fn eta(&self) -> Option<Duration> {
        self.eta
    }
}

fn candidate(data: &CandidateData) -> Result<Candidate, String> {
    let facts = Written {
        labels: data.labels.clone(),
        latency: data.latency_us.map(Duration::from_micros),
        eta: data.eta_ms.map(Duration::from_millis),
    };
    Ok(Candidate {
        backend: data.backend.as_str().into(),
        offers: data.offers,
        state: word("candidates.state", &STATES, data.state.as_deref())?,
        held: data.held,
        in_flight: data.in_flight,
        item: data.definition.as_ref().map(raw),
        facts: Some(Arc::new(facts)),
    })
}

fn target((position, data): (u32, &TargetData)) -> TargetView {
    let latency = data.latency_us.map(Duration::from_micros);
    TargetView {
        backend: data.backend.as_str().into(),
        replica: data.replica.unwrap_or(position),
        incarnation: data.incarnation.unwrap_or(1),
        in_flight: data.in_flight,
        answered: data.answered,
        latency,
        facts: Some(Arc::new(Written {
            labels: data.labels.clone(),
            latency,
            eta: None,
        })),
    }
}

fn response(data: &ResponseData) -> Result<(RawJson, bool), String> {
    match (&data.result, &data.result_json, &data.error) {
        (Some(result), None, None) => Ok((raw(result), false)),
        (None, Some(text), None) => match crate::wire::json::check(text) {
            Ok(()) => Ok((RawJson::from(text.clone()), false)),
            Err(why) => Err(format!("response.result-json: {why}")),
        },
        (None, None, Some(error)) => Ok((raw(error), true)),
        _ => Err("response: it has one of `result`, `result-json` and `error`".to_owned()),
    }
}

fn listing(data: &ListingData) -> Result<Listing, String> {
    let kind = data.kind.as_deref().unwrap_or("tools");
    let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
    let item = |item: &ItemData| {
        let at = data.backends.iter().position(|name| *name == item.backend);
        let at = at.ok_or_else(|| format!("listing.items: {:?} is none of its backends", item.backend))?;
        let defined = item.definition.as_ref();
        let own = defined.and_then(|d| ["name", "uri", "uriTemplate"].iter().find_map(|key| d[*key].as_str()));
        let mut listed = match (defined, item.key.as_deref().or(own)) {
            (None, _) => Listed::pending(at),
            (Some(definition), Some(key)) => Listed::new(at, key, raw(definition)),
            (Some(_), None) => return Err("listing.items: neither `key` nor the definition says its name".to_owned()),
        };
        if let Some(name) = &item.name {
            listed.name = name.as_str().into();
        }
        Ok(listed)
    };
    Ok(Listing {
        kind: known.ok_or_else(|| format!("listing.kind: {kind:?} is no kind of list"))?,
        endpoint: data.endpoint.as_str().into(),
        path_backend: data.path_backend.as_deref().map(Arc::from),
        naming: word("listing.naming", &NAMINGS, data.naming.as_deref())?,
        backends: data.backends.iter().map(|name| Arc::from(name.as_str())).collect(),
        items: data.items.iter().map(item).collect::<Result<_, String>>()?,
        skipped: false,
    })
}

fn trouble(data: &TroubleData) -> Result<Trouble, String> {
    let kinds = [TroubleKind::Held, TroubleKind::Died];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == data.kind);
    Ok(Trouble {
        kind: kind.ok_or_else(|| format!("trouble.kind: {:?} is neither `held` nor `died`", data.kind))?,
        why: data.why.clone(),
        backend: data.backend.as_str().into(),
        state: word("trouble.state", &STATES, data.state.as_deref())?,
        attempts: data.attempts,
        is_read: data.is_read,
        ahead: data.ahead,
        eta: data.eta_ms.map(Duration::from_millis),
    })
}
