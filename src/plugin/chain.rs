//! The plugins of one pipeline by hook, and what stands in for one that could not be loaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fault::Fault;
use super::loaded::Loaded;
use super::noting::{Noted, Notes, failed};
use super::question::Question;
use super::scope;
use crate::call::{Call, Said};
use crate::config::{self, OnFault, OnLoadFailure, Pipeline, PluginScope};
use crate::policy::{Event, FaultKind, Hook, PolicyFault};

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

/// A plugin that could not be loaded, and that the router goes on without.
#[derive(Clone, Debug, PartialEq)]
pub struct Absent {
    name: Arc<str>,
    settings: config::Plugin,
    why: String,
}

impl Absent {
    /// The plugin of this name, if its settings let the router go on without it.
    pub fn new(name: &str, settings: &config::Plugin, why: &str) -> Option<Self> {
        (settings.on_load_failure != OnLoadFailure::RefuseStart).then(|| Self {
            name: name.into(),
            settings: settings.clone(),
            why: why.to_owned(),
        })
    }

    /// Whether it would have these settings.
    pub fn is_of(&self, settings: &config::Plugin) -> bool {
        self.settings == *settings
    }

    /// Whether it is passed by; else whatever would ask it fails.
    pub fn is_open(&self) -> bool {
        self.settings.on_load_failure == OnLoadFailure::Open
    }
}

/// What there is of the plugins.
#[derive(Clone, Default)]
pub struct Builds {
    /// Those that were loaded.
    pub loaded: BTreeMap<String, Arc<Loaded>>,
    /// Those that were not.
    pub absent: BTreeMap<String, Arc<Absent>>,
}

/// One plugin in a chain, and what it is asked about there.
pub(super) struct Link {
    what: What,
    /// `None` where it is asked about everything: the usual call then has nothing to compare.
    scope: Option<PluginScope>,
}

enum What {
    /// It is there.
    Build(Arc<Loaded>),
    /// It is not, and whoever asks it has to know.
    Absent(Arc<Absent>),
}

impl Link {
    /// Its name in the configuration.
    pub(super) fn name(&self) -> &Arc<str> {
        match &self.what {
            What::Build(build) => &build.name,
            What::Absent(absent) => &absent.name,
        }
    }

    /// The answer; or `None` where the plugin failed and is `open`; or the fault.
    pub(super) async fn ask<Q: Question>(&self, question: &Q) -> Result<Option<Q::Answer>, PolicyFault> {
        match self.put(question).await {
            Ok(answer) => Ok(Some(answer)),
            Err(fault) => self.fail(Q::HOOK, fault).map(|()| None),
        }
    }

    /// The same about a call, noted there.
    pub(super) async fn ask_noted<Q: Noted>(
        &self,
        question: &Q,
        notes: Notes<'_>,
    ) -> Result<Option<Q::Answer>, PolicyFault> {
        let began = Instant::now();
        match self.put(question).await {
            Ok(answer) => {
                notes.add(Q::HOOK, self.name(), question.said(&answer), began.elapsed());
                Ok(Some(answer))
            }
            Err(fault) => self.fail_noted(Q::HOOK, fault, began, notes).map(|()| None),
        }
    }

    async fn put<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Fault> {
        match &self.what {
            What::Build(build) => build.ask(question).await,
            What::Absent(absent) => {
                let message = format!("it could not be loaded: {}", absent.why);
                Err(Fault::of_others(FaultKind::Error, message))
            }
        }
    }

    /// What comes of a fault: nothing where it is passed by, else the call fails.
    fn fail(&self, hook: Hook, fault: Fault) -> Result<(), PolicyFault> {
        let open = match &self.what {
            // A document that can be read in two ways must not pass a policy, however forgiving that is.
            What::Build(build) => fault.kind != FaultKind::Params && build.on_fault(hook) == OnFault::Open,
            What::Absent(_) => false,
        };
        if open {
            return Ok(());
        }
        Err(PolicyFault {
            plugin: Arc::clone(self.name()),
            hook,
            kind: fault.kind,
            message: fault.message,
        })
    }

    /// The same, noted.
    #[cold]
    pub(super) fn fail_noted(
        &self,
        hook: Hook,
        fault: Fault,
        began: Instant,
        notes: Notes<'_>,
    ) -> Result<(), PolicyFault> {
        let outcome = self.fail(hook, fault.clone());
        notes.add(hook, self.name(), failed(&fault, outcome.is_ok()), began.elapsed());
        outcome
    }

    /// The build, if there is one.
    pub(super) fn build(&self) -> Option<&Arc<Loaded>> {
        match &self.what {
            What::Build(build) => Some(build),
            What::Absent(_) => None,
        }
    }

    /// Whether it is asked about a call that has to do with these backends. That it is not is noted.
    pub(super) fn is_asked<'a, I: Iterator<Item = &'a str>>(
        &self,
        hook: Hook,
        call: &Call,
        notes: Notes<'_>,
        backends: impl FnOnce() -> I,
    ) -> bool {
        let Some(scope) = &self.scope else {
            return true;
        };
        let asked = scope::has_call(scope, call) && scope::has_backend(scope, backends());
        if !asked {
            notes.add(hook, self.name(), Said::OutOfScope, Duration::ZERO);
        }
        asked
    }

    /// Whether it is asked about what has to do with these backends, and is of no call.
    pub(super) fn is_about<'a>(&self, backends: impl Iterator<Item = &'a str>) -> bool {
        self.scope
            .as_ref()
            .is_none_or(|scope| scope::has_backend(scope, backends))
    }

    /// Whether it is told of an event. One that is about no backend is for everybody.
    pub(super) fn hears_of(&self, event: &Event) -> bool {
        event
            .backend()
            .is_none_or(|backend| self.is_about(std::iter::once(backend)))
    }
}

fn scope_of(settings: &config::Plugin) -> Option<PluginScope> {
    Some(settings.scope.clone()).filter(|scope| *scope != PluginScope::default())
}

/// The plugins of one pipeline, by hook.
#[derive(Default)]
pub(super) struct Chains([Vec<Link>; Hook::ALL.len()]);

impl Chains {
    pub(super) fn new(name: &str, pipeline: &Pipeline, builds: &Builds, misfits: &mut Vec<PipelineError>) -> Self {
        let mut chains = Self::default();
        for (hook, plugins) in pipeline.iter() {
            for plugin in plugins {
                match link(name, hook, plugin, builds) {
                    Ok(link) => chains.0[hook as usize].extend(link),
                    // Every endpoint without a list of its own has those of `[pipeline]`.
                    Err(misfit) if misfits.contains(&misfit) => {}
                    Err(misfit) => misfits.push(misfit),
                }
            }
        }
        chains
    }

    pub(super) fn of(&self, hook: Hook) -> &[Link] {
        &self.0[hook as usize]
    }
}

/// The build of `plugin`, if it answers what `hook` asks, or what stands in for it: nothing where it is passed by.
fn link(pipeline: &str, hook: Hook, plugin: &str, builds: &Builds) -> Result<Option<Link>, PipelineError> {
    let (pipeline, plugin) = (pipeline.to_owned(), plugin.to_owned());
    match (builds.loaded.get(&plugin), builds.absent.get(&plugin)) {
        (None, None) => Err(PipelineError::Missing { pipeline, hook, plugin }),
        (None, Some(absent)) => Ok((!absent.is_open()).then(|| Link {
            what: What::Absent(Arc::clone(absent)),
            scope: scope_of(&absent.settings),
        })),
        (Some(build), _) if build.hooks.contains(&hook) => Ok(Some(Link {
            what: What::Build(Arc::clone(build)),
            scope: scope_of(&build.settings),
        })),
        (Some(build), _) => Err(PipelineError::NotExported {
            pipeline,
            hook,
            plugin,
            exports: build.hooks.iter().map(|h| h.as_str()).collect::<Vec<_>>().join(", "),
        }),
    }
}
