//! A generation: one immutable set of loaded plugins, in the order in which each hook asks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::time::Instant;

use super::chain::{Builds, Chains, Link, PipelineError};
use super::fault::Fault;
use super::host::Body;
use super::listing::TransformList;
use super::loaded::Loaded;
use super::noting::Notes;
use super::question::{Opinion, Route, Select, TransformRequest, TransformResponse};
use super::settling::Settle;
use super::status::PluginStatus;
use crate::call::Call;
use crate::config::{DEFAULT_ENDPOINT, Pipelines};
use crate::policy::{
    Candidate, Event, FaultKind, Hook, Listing, Policy, PolicyFault, RouteChoice, Selection, Settlement, TargetView,
    Trouble, Verdict,
};
use crate::wire::RawJson;

/// One immutable set of active policies.
pub struct Generation {
    number: u64,
    builds: Builds,
    main: Chains,
    /// Those of endpoints with a pipeline of their own.
    own: BTreeMap<String, Chains>,
    retired: AtomicBool,
}

impl Generation {
    /// Strings the plugins of `builds` together as `pipelines` say. An error is all that does not fit.
    pub(super) fn new(number: u64, pipelines: &Pipelines, builds: Builds) -> Result<Self, Vec<PipelineError>> {
        let mut misfits = Vec::new();
        let main = Chains::new("pipeline", &pipelines.main, &builds, &mut misfits);
        let mut own = BTreeMap::new();
        for (endpoint, pipeline) in &pipelines.own {
            let name = if endpoint.is_empty() {
                DEFAULT_ENDPOINT
            } else {
                endpoint
            };
            let name = format!("endpoints.{name}.pipeline");
            own.insert(endpoint.clone(), Chains::new(&name, pipeline, &builds, &mut misfits));
        }
        if !misfits.is_empty() {
            return Err(misfits);
        }
        Ok(Self {
            number,
            main,
            own,
            builds,
            retired: AtomicBool::new(false),
        })
    }

    /// The chain of an endpoint for one hook. The path of a backend goes by what `/mcp` goes by.
    fn chain(&self, hook: Hook, endpoint: &str, path_backend: Option<&Arc<str>>) -> &[Link] {
        let own = match self.own.is_empty() {
            true => None,
            false => self.own.get(if path_backend.is_some() { "" } else { endpoint }),
        };
        own.unwrap_or(&self.main).of(hook)
    }

    fn chain_of(&self, hook: Hook, call: &Call) -> &[Link] {
        self.chain(hook, &call.endpoint, call.path_backend.as_ref())
    }

    /// Those of a chain that are asked about a call to `backend`, and where that is noted.
    fn asked<'a>(
        &'a self,
        hook: Hook,
        call: &'a Call,
        backend: &'a str,
    ) -> impl Iterator<Item = (&'a Link, Notes<'a>)> {
        let notes = Notes::of(call, self.number);
        let chain = self.chain_of(hook, call).iter().map(move |link| (link, notes));
        chain.filter(move |(link, _)| link.is_asked(hook, call, notes, || std::iter::once(backend)))
    }

    /// Ends the generation although calls still hold it: those meet `on-fault` at `transform-response`.
    pub fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// True after [`Generation::retire`].
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Its plugins, for `status`.
    pub fn status(&self) -> Vec<PluginStatus> {
        self.builds.loaded.values().map(|l| l.status(self.number)).collect()
    }

    async fn route_chain(
        &self,
        call: &Arc<Call>,
        mut candidates: Arc<[Candidate]>,
    ) -> Result<RouteChoice, PolicyFault> {
        // `None`: all of them.
        let mut among: Option<Vec<usize>> = None;
        let all = candidates.len();
        let chain = self.chain_of(Hook::Route, call);
        let notes = Notes::of(call, self.number);
        let mut asked = false;
        for (position, plugin) in chain.iter().enumerate() {
            if !plugin.is_asked(Hook::Route, call, notes, || candidates.iter().map(|c| &*c.backend)) {
                continue;
            }
            asked = true;
            let question = Route {
                call,
                candidates: &candidates,
            };
            match plugin.ask_noted(&question, notes).await? {
                None | Some(Opinion::Next) => {}
                Some(Opinion::Final(choice)) => return Ok(choice),
                Some(Opinion::Narrow(kept)) => {
                    if position + 1 < chain.len() {
                        candidates = kept.iter().filter_map(|k| candidates.get(*k).cloned()).collect();
                    }
                    among = Some(match among {
                        None => kept,
                        Some(before) => kept.iter().filter_map(|k| before.get(*k).copied()).collect(),
                    });
                }
            }
        }
        if !asked {
            // It is as without any policy: who offers it takes it.
            let offering = candidates.iter().enumerate().filter(|(_, c)| all == 1 || c.offers);
            return Ok(RouteChoice::Among(offering.map(|(at, _)| at).collect()));
        }
        Ok(RouteChoice::Among(among.unwrap_or_else(|| (0..all).collect())))
    }

    async fn select_chain(&self, call: &Arc<Call>, targets: &Arc<[TargetView]>) -> Result<Selection, PolicyFault> {
        let backend = targets.first().map_or("", |target| &*target.backend);
        for (plugin, notes) in self.asked(Hook::Select, call, backend) {
            match plugin.ask_noted(&Select { call, targets }, notes).await? {
                None | Some(Selection::Any) => {}
                Some(decision) => return Ok(decision),
            }
        }
        Ok(Selection::Any)
    }

    async fn request_chain(&self, call: &Arc<Call>, backend: &str) -> Result<Option<RawJson>, PolicyFault> {
        let mut params = None;
        let mut current = Arc::clone(call);
        for (plugin, notes) in self.asked(Hook::TransformRequest, call, backend) {
            let answer = plugin.ask_noted(&TransformRequest { call: &current }, notes).await;
            if let Some(changed) = answer?.flatten() {
                current = Arc::new(with_params(call, changed.clone()));
                params = Some(changed);
            }
        }
        Ok(params)
    }

    async fn response_chain(
        &self,
        call: &Arc<Call>,
        backend: &str,
        body: RawJson,
        is_error: bool,
    ) -> Result<Option<RawJson>, PolicyFault> {
        let mut result = None;
        let mut current = Arc::new(Body::new(body, is_error));
        for (plugin, notes) in self.asked(Hook::TransformResponse, call, backend) {
            let answer = if self.is_retired() {
                let message = format!("generation {} was retired while the call was running", self.number);
                let fault = Fault::of_others(FaultKind::Retired, message);
                let failed = plugin.fail_noted(Hook::TransformResponse, fault, Instant::now(), notes);
                failed.map(|()| None)
            } else {
                plugin
                    .ask_noted(&TransformResponse { call, body: &current }, notes)
                    .await
            };
            if let Some(changed) = answer?.flatten() {
                current = Arc::new(Body::new(changed.clone(), is_error));
                result = Some(changed);
            }
        }
        Ok(result)
    }

    async fn settle_chain(&self, call: &Arc<Call>, trouble: &Arc<Trouble>) -> Result<Settlement, PolicyFault> {
        for (plugin, notes) in self.asked(Hook::Settle, call, &trouble.backend) {
            match plugin.ask_noted(&Settle { call, trouble }, notes).await? {
                None | Some(Settlement::Next) => {}
                Some(decision) => return Ok(decision),
            }
        }
        Ok(Settlement::Next)
    }

    async fn list_chain(&self, mut listing: Arc<Listing>) -> Result<Arc<Listing>, PolicyFault> {
        let (endpoint, path) = (Arc::clone(&listing.endpoint), listing.path_backend.clone());
        for plugin in self.chain(Hook::TransformList, &endpoint, path.as_ref()) {
            if listing.items.is_empty() {
                break;
            }
            if !plugin.is_about(listing.backends.iter().map(|b| &**b)) {
                continue;
            }
            match plugin.ask(&TransformList { listing: &listing }).await? {
                Some(Some(shown)) => listing = shown,
                Some(None) => {}
                None => Arc::make_mut(&mut listing).skipped = true,
            }
        }
        Ok(listing)
    }
}

/// The same call with other params.
fn with_params(call: &Call, params: RawJson) -> Call {
    Call {
        params: call.params.edited(params),
        ..call.clone()
    }
}

impl Policy for Generation {
    fn generation(&self) -> u64 {
        self.number
    }

    fn has(&self, hook: Hook, call: &Call) -> bool {
        !self.chain_of(hook, call).is_empty()
    }

    fn plugins(&self, hook: Hook, call: &Call) -> Vec<Arc<str>> {
        let chain = self.chain_of(hook, call).iter();
        chain.map(|link| Arc::clone(link.name())).collect()
    }

    fn has_own(&self, endpoint: &str) -> bool {
        self.own.contains_key(endpoint)
    }

    fn route<'a>(&'a self, call: &'a Arc<Call>, candidates: Arc<[Candidate]>) -> Verdict<'a, RouteChoice> {
        Box::pin(self.route_chain(call, candidates))
    }

    fn select<'a>(&'a self, call: &'a Arc<Call>, targets: Arc<[TargetView]>) -> Verdict<'a, Selection> {
        Box::pin(async move { self.select_chain(call, &targets).await })
    }

    fn transform_request<'a>(&'a self, call: &'a Arc<Call>, backend: &'a str) -> Verdict<'a, Option<RawJson>> {
        Box::pin(self.request_chain(call, backend))
    }

    fn transform_response<'a>(
        &'a self,
        call: &'a Arc<Call>,
        backend: &'a str,
        body: RawJson,
        is_error: bool,
    ) -> Verdict<'a, Option<RawJson>> {
        Box::pin(self.response_chain(call, backend, body, is_error))
    }

    fn settle<'a>(&'a self, call: &'a Arc<Call>, trouble: Arc<Trouble>) -> Verdict<'a, Settlement> {
        Box::pin(async move { self.settle_chain(call, &trouble).await })
    }

    fn observes(&self) -> bool {
        let mut all = std::iter::once(&self.main).chain(self.own.values());
        all.any(|chains| !chains.of(Hook::Observe).is_empty())
    }

    fn tell(&self, event: Event, of: Option<&Call>) {
        match of {
            Some(call) => {
                let told = self.chain_of(Hook::Observe, call).iter();
                for plugin in told.filter(|link| link.hears_of(&event)).filter_map(Link::build) {
                    plugin.tell(event.clone());
                }
            }
            None => {
                let chains = std::iter::once(&self.main).chain(self.own.values());
                let mut told: Vec<&Arc<Loaded>> = Vec::new();
                let links = chains.flat_map(|chains| chains.of(Hook::Observe));
                for plugin in links.filter(|link| link.hears_of(&event)).filter_map(Link::build) {
                    if !told.iter().any(|known| Arc::ptr_eq(known, plugin)) {
                        plugin.tell(event.clone());
                        told.push(plugin);
                    }
                }
            }
        }
    }

    fn transform_list<'a>(&'a self, listing: Arc<Listing>) -> Verdict<'a, Arc<Listing>> {
        Box::pin(self.list_chain(listing))
    }
}
