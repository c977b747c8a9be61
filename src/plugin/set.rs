//! A generation: one immutable set of loaded plugins, in the order in which each hook asks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::fault::Fault;
use super::host::Body;
use super::listing::TransformList;
use super::loaded::Loaded;
use super::question::{Opinion, Route, Select, TransformRequest, TransformResponse};
use super::status::PluginStatus;
use crate::call::Call;
use crate::config::{OnFault, Pipeline};
use crate::policy::{
    Candidate, FaultKind, Hook, Listing, Policy, PolicyFault, RouteChoice, Selection, TargetView, Verdict,
};
use crate::wire::RawJson;

/// Why a pipeline does not fit the plugins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// It names a plugin that is not loaded.
    #[error("pipeline.{hook} names {plugin}, which is no loaded plugin")]
    Missing {
        /// The hook.
        hook: Hook,
        /// The plugin.
        plugin: String,
    },
    /// It asks a plugin something that it does not answer.
    #[error("pipeline.{hook} names {plugin}, which does not export {hook}; it exports {exports}")]
    NotExported {
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
    route: Vec<Arc<Loaded>>,
    select: Vec<Arc<Loaded>>,
    transform_request: Vec<Arc<Loaded>>,
    transform_response: Vec<Arc<Loaded>>,
    transform_list: Vec<Arc<Loaded>>,
    retired: AtomicBool,
}

impl Generation {
    /// Strings the plugins of `loaded` together as `pipeline` says. An error is all that does not fit.
    pub(super) fn new(
        number: u64,
        pipeline: &Pipeline,
        loaded: BTreeMap<String, Arc<Loaded>>,
    ) -> Result<Self, Vec<PipelineError>> {
        let mut misfits = Vec::new();
        let mut chain = |hook: Hook, names: &[String]| -> Vec<Arc<Loaded>> {
            let builds = names.iter().map(|plugin| build_for(hook, plugin, &loaded));
            builds
                .filter_map(|build| build.map_err(|e| misfits.push(e)).ok())
                .collect()
        };
        let route = chain(Hook::Route, &pipeline.route);
        let select = chain(Hook::Select, &pipeline.select);
        let transform_request = chain(Hook::TransformRequest, &pipeline.transform_request);
        let transform_response = chain(Hook::TransformResponse, &pipeline.transform_response);
        let transform_list = chain(Hook::TransformList, &pipeline.transform_list);
        if !misfits.is_empty() {
            return Err(misfits);
        }
        Ok(Self {
            number,
            route,
            select,
            transform_request,
            transform_response,
            transform_list,
            loaded,
            retired: AtomicBool::new(false),
        })
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
        for (position, plugin) in self.route.iter().enumerate() {
            let question = Route {
                call,
                candidates: &candidates,
            };
            match settle(plugin, Hook::Route, plugin.ask(&question).await)? {
                None | Some(Opinion::Next) => {}
                Some(Opinion::Final(choice)) => return Ok(choice),
                Some(Opinion::Narrow(kept)) => {
                    if position + 1 < self.route.len() {
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
        for plugin in &self.select {
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
        for plugin in &self.transform_request {
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
        for plugin in &self.transform_response {
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

    async fn list_chain(&self, mut listing: Arc<Listing>) -> Result<Arc<Listing>, PolicyFault> {
        for plugin in &self.transform_list {
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
fn build_for(hook: Hook, plugin: &str, loaded: &BTreeMap<String, Arc<Loaded>>) -> Result<Arc<Loaded>, PipelineError> {
    let plugin = plugin.to_owned();
    match loaded.get(&plugin) {
        None => Err(PipelineError::Missing { hook, plugin }),
        Some(build) if build.hooks.contains(&hook) => Ok(Arc::clone(build)),
        Some(build) => Err(PipelineError::NotExported {
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

    fn has(&self, hook: Hook) -> bool {
        match hook {
            Hook::Lifecycle => false,
            Hook::Route => !self.route.is_empty(),
            Hook::Select => !self.select.is_empty(),
            Hook::TransformRequest => !self.transform_request.is_empty(),
            Hook::TransformResponse => !self.transform_response.is_empty(),
            Hook::TransformList => !self.transform_list.is_empty(),
        }
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

    fn transform_list<'a>(&'a self, listing: Arc<Listing>) -> Verdict<'a, Arc<Listing>> {
        Box::pin(self.list_chain(listing))
    }
}
