//! A generation: one immutable set of loaded plugins, in the order in which each hook asks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::fault::Fault;
use super::host::Body;
use super::listing::TransformList;
use super::loaded::Loaded;
use super::question::{Opinion, Route, Select, TransformRequest, TransformResponse};
use super::settling::Settle;
use super::status::PluginStatus;
use crate::call::Call;
use crate::config::{DEFAULT_ENDPOINT, OnFault, Pipeline, Pipelines};
use crate::policy::{
    Candidate, Event, FaultKind, Hook, Listing, Policy, PolicyFault, RouteChoice, Selection, Settlement, TargetView,
    Trouble, Verdict,
};
use crate::wire::RawJson;

/// Why a pipeline does not fit the plugins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// It names a plugin that is not loaded.
    #[error("{pipeline}.{hook} names {plugin}, which is no loaded plugin")]
    Missing {
        /// The pipeline: `pipeline`, or that of an endpoint.
        pipeline: String,
        /// The hook.
        hook: Hook,
        /// The plugin.
        plugin: String,
    },
    /// It asks a plugin something that it does not answer.
    #[error("{pipeline}.{hook} names {plugin}, which does not export {hook}; it exports {exports}")]
    NotExported {
        /// The pipeline: `pipeline`, or that of an endpoint.
        pipeline: String,
        /// The hook.
        hook: Hook,
        /// The plugin.
        plugin: String,
        /// What it does export.
        exports: String,
    },
}

/// One immutable set of active policies.
pub struct Generation {
    number: u64,
    loaded: BTreeMap<String, Arc<Loaded>>,
    main: Chains,
    /// Those of endpoints with a pipeline of their own.
    own: BTreeMap<String, Chains>,
    retired: AtomicBool,
}

/// The plugins of one pipeline, by hook.
#[derive(Default)]
struct Chains([Vec<Arc<Loaded>>; Hook::ALL.len()]);

impl Chains {
    fn new(
        name: &str,
        pipeline: &Pipeline,
        loaded: &BTreeMap<String, Arc<Loaded>>,
        misfits: &mut Vec<PipelineError>,
    ) -> Self {
        let mut chains = Self::default();
        for (hook, plugins) in pipeline.iter() {
            for plugin in plugins {
                match build_for(name, hook, plugin, loaded) {
                    Ok(build) => chains.0[hook as usize].push(build),
                    // Every endpoint without a list of its own has those of `[pipeline]`.
                    Err(misfit) if misfits.contains(&misfit) => {}
                    Err(misfit) => misfits.push(misfit),
                }
            }
        }
        chains
    }

    fn of(&self, hook: Hook) -> &[Arc<Loaded>] {
        &self.0[hook as usize]
    }
}

impl Generation {
    /// Strings the plugins of `loaded` together as `pipelines` say. An error is all that does not fit.
    pub(super) fn new(
        number: u64,
        pipelines: &Pipelines,
        loaded: BTreeMap<String, Arc<Loaded>>,
    ) -> Result<Self, Vec<PipelineError>> {
        let mut misfits = Vec::new();
        let main = Chains::new("pipeline", &pipelines.main, &loaded, &mut misfits);
        let mut own = BTreeMap::new();
        for (endpoint, pipeline) in &pipelines.own {
            let name = if endpoint.is_empty() {
                DEFAULT_ENDPOINT
            } else {
                endpoint
            };
            let name = format!("endpoints.{name}.pipeline");
            own.insert(endpoint.clone(), Chains::new(&name, pipeline, &loaded, &mut misfits));
        }
        if !misfits.is_empty() {
            return Err(misfits);
        }
        Ok(Self {
            number,
            main,
            own,
            loaded,
            retired: AtomicBool::new(false),
        })
    }

    /// The chain of an endpoint for one hook. The path of a backend goes by what `/mcp` goes by.
    fn chain(&self, hook: Hook, endpoint: &str, path_backend: Option<&Arc<str>>) -> &[Arc<Loaded>] {
        let own = match self.own.is_empty() {
            true => None,
            false => self.own.get(if path_backend.is_some() { "" } else { endpoint }),
        };
        own.unwrap_or(&self.main).of(hook)
    }

    fn chain_of(&self, hook: Hook, call: &Call) -> &[Arc<Loaded>] {
        self.chain(hook, &call.endpoint, call.path_backend.as_ref())
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
        self.loaded.values().map(|l| l.status(self.number)).collect()
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
        for (position, plugin) in chain.iter().enumerate() {
            let question = Route {
                call,
                candidates: &candidates,
            };
            match settle(plugin, Hook::Route, plugin.ask(&question).await)? {
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
        Ok(RouteChoice::Among(among.unwrap_or_else(|| (0..all).collect())))
    }

    async fn select_chain(&self, call: &Arc<Call>, targets: &Arc<[TargetView]>) -> Result<Selection, PolicyFault> {
        for plugin in self.chain_of(Hook::Select, call) {
            match settle(plugin, Hook::Select, plugin.ask(&Select { call, targets }).await)? {
                None | Some(Selection::Any) => {}
                Some(decision) => return Ok(decision),
            }
        }
        Ok(Selection::Any)
    }

    async fn request_chain(&self, call: &Arc<Call>) -> Result<Option<RawJson>, PolicyFault> {
        let mut params = None;
        let mut current = Arc::clone(call);
        for plugin in self.chain_of(Hook::TransformRequest, call) {
            let answer = plugin.ask(&TransformRequest { call: &current }).await;
            if let Some(changed) = settle(plugin, Hook::TransformRequest, answer)?.flatten() {
                current = Arc::new(with_params(call, changed.clone()));
                params = Some(changed);
            }
        }
        Ok(params)
    }

    async fn response_chain(
        &self,
        call: &Arc<Call>,
        body: RawJson,
        is_error: bool,
    ) -> Result<Option<RawJson>, PolicyFault> {
        let mut result = None;
        let mut current = Arc::new(Body::new(body, is_error));
        for plugin in self.chain_of(Hook::TransformResponse, call) {
            let answer = if self.is_retired() {
                let message = format!("generation {} was retired while the call was running", self.number);
                Err(Fault::of_others(FaultKind::Retired, message))
            } else {
                plugin.ask(&TransformResponse { call, body: &current }).await
            };
            if let Some(changed) = settle(plugin, Hook::TransformResponse, answer)?.flatten() {
                current = Arc::new(Body::new(changed.clone(), is_error));
                result = Some(changed);
            }
        }
        Ok(result)
    }

    async fn settle_chain(&self, call: &Arc<Call>, trouble: &Arc<Trouble>) -> Result<Settlement, PolicyFault> {
        for plugin in self.chain_of(Hook::Settle, call) {
            match settle(plugin, Hook::Settle, plugin.ask(&Settle { call, trouble }).await)? {
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
            let answer = plugin.ask(&TransformList { listing: &listing }).await;
            match settle(plugin, Hook::TransformList, answer)? {
                Some(Some(shown)) => listing = shown,
                Some(None) => {}
                None => Arc::make_mut(&mut listing).skipped = true,
            }
        }
        Ok(listing)
    }
}

/// The build of `plugin`, if it answers what `hook` asks.
fn build_for(
    pipeline: &str,
    hook: Hook,
    plugin: &str,
    loaded: &BTreeMap<String, Arc<Loaded>>,
) -> Result<Arc<Loaded>, PipelineError> {
    let (pipeline, plugin) = (pipeline.to_owned(), plugin.to_owned());
    match loaded.get(&plugin) {
        None => Err(PipelineError::Missing { pipeline, hook, plugin }),
        Some(build) if build.hooks.contains(&hook) => Ok(Arc::clone(build)),
        Some(build) => Err(PipelineError::NotExported {
            pipeline,
            hook,
            plugin,
            exports: build.hooks.iter().map(|h| h.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// The answer; or `None` where the plugin failed and is `open`; or the fault.
fn settle<T>(plugin: &Loaded, hook: Hook, answer: Result<T, Fault>) -> Result<Option<T>, PolicyFault> {
    let fault = match answer {
        Ok(answer) => return Ok(Some(answer)),
        Err(fault) => fault,
    };
    // A document that can be read in two ways must not pass a policy, however forgiving that is.
    if fault.kind != FaultKind::Params && plugin.on_fault(hook) == OnFault::Open {
        return Ok(None);
    }
    Err(PolicyFault {
        plugin: Arc::clone(&plugin.name),
        hook,
        kind: fault.kind,
        message: fault.message,
    })
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

    fn has_own(&self, endpoint: &str) -> bool {
        self.own.contains_key(endpoint)
    }

    fn route<'a>(&'a self, call: &'a Arc<Call>, candidates: Arc<[Candidate]>) -> Verdict<'a, RouteChoice> {
        Box::pin(self.route_chain(call, candidates))
    }

    fn select<'a>(&'a self, call: &'a Arc<Call>, targets: Arc<[TargetView]>) -> Verdict<'a, Selection> {
        Box::pin(async move { self.select_chain(call, &targets).await })
    }

    fn transform_request<'a>(&'a self, call: &'a Arc<Call>) -> Verdict<'a, Option<RawJson>> {
        Box::pin(self.request_chain(call))
    }

    fn transform_response<'a>(
        &'a self,
        call: &'a Arc<Call>,
        body: RawJson,
        is_error: bool,
    ) -> Verdict<'a, Option<RawJson>> {
        Box::pin(self.response_chain(call, body, is_error))
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
                for plugin in self.chain_of(Hook::Observe, call) {
                    plugin.tell(event.clone());
                }
            }
            None => {
                let chains = std::iter::once(&self.main).chain(self.own.values());
                let mut told: Vec<&Arc<Loaded>> = Vec::new();
                for plugin in chains.flat_map(|chains| chains.of(Hook::Observe)) {
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
