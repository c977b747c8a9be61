//! What a guest can see: the accessors of the call, the candidates, the targets and the response. Those of a list are
//! in `listing.rs`, what else it can reach in `capability/`.
//!
//! Handles are borrowed for the length of one hook call and carry nothing: there is one call in a store at a
//! time, so every accessor looks at the store's own `Subject`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use wasmtime::component::Resource;
use wasmtime::error::{Context, format_err};

use super::bindings::pointsman::policy::types;
use super::capability::Powers;
use super::lane::{Lane, Turn};
use super::limiter::Limiter;
use super::listing::Catalogue;
use super::observing::Batch;
use super::patience::Patience;
use super::wasi::Printed;
use crate::call::Call;
use crate::policy::{Candidate, TargetView, Trouble};
use crate::wire::{Index, Object, RawJson, method};

/// Marks handles to the call.
pub enum CallHandle {}
/// Marks handles to the candidates.
pub enum CandidatesHandle {}
/// Marks handles to the targets.
pub enum TargetsHandle {}
/// Marks handles to the response.
pub enum ResponseHandle {}

/// What the hook call at hand is about.
#[derive(Default)]
pub(super) struct Subject {
    pub(super) call: Option<Arc<Call>>,
    pub(super) candidates: Option<Arc<[Candidate]>>,
    pub(super) targets: Option<Arc<[TargetView]>>,
    pub(super) response: Option<Arc<Body>>,
    pub(super) catalogue: Option<Arc<Catalogue>>,
    pub(super) trouble: Option<Arc<Trouble>>,
    pub(super) events: Option<Arc<Batch>>,
}

/// A result or an error on its way out, with its index made at the first use.
pub(super) struct Body {
    pub(super) raw: RawJson,
    pub(super) is_error: bool,
    index: OnceLock<Result<Index, String>>,
}

impl Body {
    pub(super) fn new(raw: RawJson, is_error: bool) -> Self {
        Self {
            raw,
            is_error,
            index: OnceLock::new(),
        }
    }

    pub(super) fn index(&self) -> Result<&Index, &str> {
        self.index
            .get_or_init(|| Index::new(self.raw.as_str()))
            .as_ref()
            .map_err(String::as_str)
    }
}

/// The data of one store.
pub(super) struct State {
    pub(super) limiter: Limiter,
    pub(super) subject: Subject,
    /// Ticks of CPU time left before the guest is interrupted.
    pub(super) ticks: u64,
    pub(super) lane: Lane,
    /// Its turn in the lane, once it was slow.
    pub(super) turn: Turn,
    /// Why a document could not be read, where the guest tried: the call is refused, whatever the guest says.
    pub(super) unreadable: Option<String>,
    pub(super) powers: Arc<Powers>,
    pub(super) patience: Patience,
    /// Wall-clock time that the hook call had when it began.
    pub(super) left: Duration,
    /// What it has printed of lines that are not at their end.
    pub(super) printed: Printed,
}

impl State {
    fn call(&self) -> wasmtime::Result<&Arc<Call>> {
        self.subject.call.as_ref().context("there is no call now")
    }

    fn candidate(&self, position: u32) -> wasmtime::Result<&Candidate> {
        at(self.subject.candidates.as_deref(), position)
    }

    fn target(&self, position: u32) -> wasmtime::Result<&TargetView> {
        at(self.subject.targets.as_deref(), position)
    }

    fn response(&self) -> wasmtime::Result<&Arc<Body>> {
        self.subject.response.as_ref().context("there is no response now")
    }

    /// Remembers that a document was unreadable, and says so to the guest.
    fn refuse<T>(&mut self, why: String) -> Result<T, String> {
        self.unreadable.get_or_insert_with(|| why.clone());
        Err(why)
    }
}

pub(super) fn at<T>(list: Option<&[T]>, position: u32) -> wasmtime::Result<&T> {
    usize::try_from(position)
        .ok()
        .and_then(|n| list?.get(n))
        .ok_or_else(|| format_err!("there is no position {position}"))
}

pub(super) fn length<T>(list: Option<&[T]>) -> u32 {
    u32::try_from(list.map_or(0, <[T]>::len)).unwrap_or(u32::MAX)
}

pub(super) fn size(text: &RawJson) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

pub(super) fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl types::Host for State {}

impl types::HostCall for State {
    fn id(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<u64> {
        Ok(self.call()?.id)
    }
    fn method(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<String> {
        Ok(self.call()?.method.as_ref().to_owned())
    }
    fn name(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        Ok(self.call()?.name().map(str::to_owned))
    }
    fn endpoint(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<String> {
        Ok(self.call()?.endpoint.as_ref().to_owned())
    }
    fn path_backend(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        Ok(self.call()?.path_backend.as_deref().map(str::to_owned))
    }
    fn agent(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<String> {
        Ok(self.call()?.agent.to_string())
    }
    fn principal(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        let principal = self.call()?.principal.as_ref();
        Ok(principal.map(|principal| principal.name.clone()))
    }
    fn label(&mut self, _: Resource<CallHandle>, name: String) -> wasmtime::Result<Option<String>> {
        let principal = self.call()?.principal.as_ref();
        Ok(principal.and_then(|principal| principal.labels.get(&name).cloned()))
    }
    fn scopes(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Vec<String>> {
        let principal = self.call()?.principal.as_ref();
        Ok(principal.map(|principal| principal.scopes.clone()).unwrap_or_default())
    }
    fn era(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<String> {
        Ok(self.call()?.era.as_str().to_owned())
    }
    fn header(&mut self, _: Resource<CallHandle>, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.call()?.header(&name).map(str::to_owned))
    }
    fn meta(&mut self, _: Resource<CallHandle>, key: String) -> wasmtime::Result<Option<String>> {
        let found = self.call()?.meta(&key);
        // An absent key and an unreadable one look the same to the guest; the call ends here anyway.
        Ok(found
            .or_else(|why| self.refuse(format!("params: {why}")))
            .unwrap_or_default())
    }
    fn introduction_header(&mut self, _: Resource<CallHandle>, name: String) -> wasmtime::Result<Option<String>> {
        let introduction = self.call()?.initialize.as_ref();
        let value = introduction.and_then(|i| i.headers.get(&name)?.to_str().ok());
        Ok(value.map(str::to_owned))
    }
    fn introduction_meta(&mut self, _: Resource<CallHandle>, key: String) -> wasmtime::Result<Option<String>> {
        let introduction = self.call()?.initialize.as_ref();
        Ok(introduction.and_then(|i| {
            let meta = Object::parse(i.meta.as_ref()?.as_str()).ok()?;
            meta.get(&key).map(str::to_owned)
        }))
    }
    fn param(&mut self, _: Resource<CallHandle>, pointer: String) -> wasmtime::Result<Result<Option<String>, String>> {
        let call = Arc::clone(self.call()?);
        Ok(match call.param(&pointer) {
            Ok(value) => Ok(value.map(str::to_owned)),
            Err(why) => self.refuse(format!("params: {why}")),
        })
    }
    fn params_json(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Result<String, String>> {
        let call = Arc::clone(self.call()?);
        Ok(match call.index() {
            Ok(_) => Ok(call.params.as_str().to_owned()),
            Err(why) => self.refuse(format!("params: {why}")),
        })
    }
    fn params_size(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<u64> {
        Ok(size(self.call()?.params.raw()))
    }
    fn path(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<String> {
        let endpoint = &*self.call()?.endpoint;
        Ok(match endpoint {
            "" => "/mcp".to_owned(),
            name => format!("/mcp/{name}"),
        })
    }
    fn subject(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        Ok(self.call()?.subject.as_ref().map(|subject| subject.key.clone()))
    }
    fn header_names(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Vec<String>> {
        Ok(self.call()?.headers.keys().map(ToString::to_string).collect())
    }
    fn client(&mut self, handle: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        match &self.call()?.initialize {
            Some(said) => Ok(said.client.as_ref().map(|client| client.as_str().to_owned())),
            None => types::HostCall::meta(self, handle, method::META_CLIENT.to_owned()),
        }
    }
    fn client_capabilities(&mut self, handle: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        match &self.call()?.initialize {
            Some(said) => Ok(said.capabilities.as_ref().map(|said| said.as_str().to_owned())),
            None => types::HostCall::meta(self, handle, method::META_CAPABILITIES.to_owned()),
        }
    }
    async fn roots(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<Option<String>> {
        let Some(roots) = self.call()?.roots.clone() else {
            return Ok(None);
        };
        // Others may compute meanwhile.
        self.turn.end();
        let known = self.patience.roots(&*roots, self.left).await;
        Ok(known.map(|known| known.as_str().to_owned()))
    }
    fn drop(&mut self, _: Resource<CallHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl types::HostCandidates for State {
    fn len(&mut self, _: Resource<CandidatesHandle>) -> wasmtime::Result<u32> {
        Ok(length(self.subject.candidates.as_deref()))
    }
    fn backend(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.candidate(position)?.backend.as_ref().to_owned())
    }
    fn offers(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<bool> {
        Ok(self.candidate(position)?.offers)
    }
    fn offering(&mut self, _: Resource<CandidatesHandle>) -> wasmtime::Result<Vec<u32>> {
        let candidates = self.subject.candidates.as_deref().unwrap_or_default();
        let offering = (0u32..).zip(candidates).filter(|(_, c)| c.offers);
        Ok(offering.map(|(position, _)| position).collect())
    }
    fn state(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.candidate(position)?.state.to_owned())
    }
    fn held(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<u32> {
        Ok(self.candidate(position)?.held)
    }
    fn in_flight(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<u32> {
        Ok(self.candidate(position)?.in_flight)
    }
    fn label(
        &mut self,
        _: Resource<CandidatesHandle>,
        position: u32,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self
            .candidate(position)?
            .facts
            .as_ref()
            .and_then(|facts| facts.label(&name)))
    }
    fn latency_us(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<Option<u64>> {
        let latency = self
            .candidate(position)?
            .facts
            .as_ref()
            .and_then(|facts| facts.latency());
        Ok(latency.map(|latency| whole(latency.as_micros())))
    }
    fn eta_ms(&mut self, _: Resource<CandidatesHandle>, position: u32) -> wasmtime::Result<Option<u64>> {
        let eta = self.candidate(position)?.facts.as_ref().and_then(|facts| facts.eta());
        Ok(eta.map(|eta| whole(eta.as_millis())))
    }
    fn definition(
        &mut self,
        _: Resource<CandidatesHandle>,
        position: u32,
        pointer: String,
    ) -> wasmtime::Result<Result<Option<String>, String>> {
        let Some(item) = self.candidate(position)?.item.clone() else {
            return Ok(Ok(None));
        };
        let index = match Index::new(item.as_str()) {
            Ok(index) => index,
            // The server's fault, and not the call's: it may go on.
            Err(why) => return Ok(Err(format!("the definition: {why}"))),
        };
        Ok(Ok(index.span(&pointer).map(|span| item.as_str()[span].to_owned())))
    }
    fn drop(&mut self, _: Resource<CandidatesHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl types::HostTargets for State {
    fn len(&mut self, _: Resource<TargetsHandle>) -> wasmtime::Result<u32> {
        Ok(length(self.subject.targets.as_deref()))
    }
    fn backend(&mut self, _: Resource<TargetsHandle>, position: u32) -> wasmtime::Result<String> {
        Ok(self.target(position)?.backend.as_ref().to_owned())
    }
    fn replica(&mut self, _: Resource<TargetsHandle>, position: u32) -> wasmtime::Result<u32> {
        Ok(self.target(position)?.replica)
    }
    fn incarnation(&mut self, _: Resource<TargetsHandle>, position: u32) -> wasmtime::Result<u64> {
        Ok(self.target(position)?.incarnation)
    }
    fn in_flight(&mut self, _: Resource<TargetsHandle>, position: u32) -> wasmtime::Result<u32> {
        Ok(self.target(position)?.in_flight)
    }
    fn loads(&mut self, _: Resource<TargetsHandle>) -> wasmtime::Result<Vec<u32>> {
        let targets = self.subject.targets.as_deref().unwrap_or_default();
        Ok(targets.iter().map(|t| t.in_flight).collect())
    }
    fn answered(&mut self, _: Resource<TargetsHandle>, position: u32) -> wasmtime::Result<u64> {
        Ok(self.target(position)?.answered)
    }
    fn label(&mut self, _: Resource<TargetsHandle>, position: u32, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self
            .target(position)?
            .facts
            .as_ref()
            .and_then(|facts| facts.label(&name)))
    }
    fn latency_us(&mut self, _: Resource<TargetsHandle>, position: u32) -> wasmtime::Result<Option<u64>> {
        Ok(self.target(position)?.latency.map(|latency| whole(latency.as_micros())))
    }
    fn drop(&mut self, _: Resource<TargetsHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl types::HostResponse for State {
    fn is_error(&mut self, _: Resource<ResponseHandle>) -> wasmtime::Result<bool> {
        Ok(self.response()?.is_error)
    }
    fn get(
        &mut self,
        _: Resource<ResponseHandle>,
        pointer: String,
    ) -> wasmtime::Result<Result<Option<String>, String>> {
        let body = Arc::clone(self.response()?);
        Ok(match body.index() {
            Ok(index) => Ok(index.span(&pointer).map(|span| body.raw.as_str()[span].to_owned())),
            Err(why) => self.refuse(format!("the response: {why}")),
        })
    }
    fn json(&mut self, _: Resource<ResponseHandle>) -> wasmtime::Result<Result<String, String>> {
        let body = Arc::clone(self.response()?);
        Ok(match body.index() {
            Ok(_) => Ok(body.raw.as_str().to_owned()),
            Err(why) => self.refuse(format!("the response: {why}")),
        })
    }
    fn size(&mut self, _: Resource<ResponseHandle>) -> wasmtime::Result<u64> {
        Ok(size(&self.response()?.raw))
    }
    fn drop(&mut self, _: Resource<ResponseHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}
