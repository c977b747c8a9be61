//! One instance of a component in a store of its own. A store that saw a fault is never used again.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::InstancePre;
use wasmtime::error::Context;
use wasmtime::{Store, UpdateDeadline};

use super::bindings::exports::pointsman::policy::{
    lifecycle, observe, route, select, settle, transform_list, transform_request, transform_response,
};
use super::capability::Powers;
use super::fault::Fault;
use super::host::{State, Subject};
use super::lane::{Lane, Turn};
use super::limiter::Limiter;
use super::patience::Patience;
use super::question::{Question, unreadable};
use super::ticker::TICK;
use super::wasi::Printed;
use crate::policy::{FaultKind, Hook};

/// Where the exports of each hook stand in a component; `None` where it does not export the hook.
#[derive(Clone, Default)]
pub(super) struct Indices {
    pub(super) lifecycle: Option<lifecycle::GuestIndices>,
    pub(super) route: Option<route::GuestIndices>,
    pub(super) select: Option<select::GuestIndices>,
    pub(super) transform_request: Option<transform_request::GuestIndices>,
    pub(super) transform_response: Option<transform_response::GuestIndices>,
    pub(super) transform_list: Option<transform_list::GuestIndices>,
    pub(super) settle: Option<settle::GuestIndices>,
    pub(super) observe: Option<observe::GuestIndices>,
}

impl Indices {
    /// The hooks that are there.
    pub(super) fn hooks(&self) -> Vec<Hook> {
        let there = |hook: &Hook| match hook {
            Hook::Lifecycle => self.lifecycle.is_some(),
            Hook::Route => self.route.is_some(),
            Hook::Select => self.select.is_some(),
            Hook::TransformRequest => self.transform_request.is_some(),
            Hook::TransformResponse => self.transform_response.is_some(),
            Hook::TransformList => self.transform_list.is_some(),
            Hook::Settle => self.settle.is_some(),
            Hook::Observe => self.observe.is_some(),
        };
        Hook::ALL.into_iter().filter(there).collect()
    }
}

/// What an instance is made from.
pub(super) struct Blueprint {
    pub(super) pre: InstancePre<State>,
    pub(super) indices: Indices,
    /// Given to `init`.
    pub(super) config: String,
    pub(super) memory: usize,
    pub(super) output: usize,
    /// CPU time of one hook call, in ticks.
    pub(super) ticks: u64,
    pub(super) patience: Patience,
    pub(super) lane: Lane,
    /// Whether its engine counts fuel.
    pub(super) is_metered: bool,
    pub(super) powers: Arc<Powers>,
}

/// CPU time for instantiation and `init`, in ticks: interpreters do their start-up work there.
const INIT_TICKS: u64 = 1000;

/// Growth that an idle instance may keep besides twice what it began with.
const SWELLING: usize = 1 << 20;

/// A hook of the right name has other types.
#[derive(Debug, thiserror::Error)]
#[error("a hook has other types than in the contract")]
pub(super) struct ShapeMismatch;

/// An instance, warm: `init` went well.
pub(super) struct Instance {
    store: Store<State>,
    lifecycle: Option<lifecycle::Guest>,
    route: Option<route::Guest>,
    select: Option<select::Guest>,
    transform_request: Option<transform_request::Guest>,
    transform_response: Option<transform_response::Guest>,
    transform_list: Option<transform_list::Guest>,
    settle: Option<settle::Guest>,
    observe: Option<observe::Guest>,
    /// Hook calls answered so far.
    pub(super) uses: u32,
    /// Memory held when `init` was over.
    born_with: usize,
}

impl Instance {
    /// Makes one and runs its `init`.
    pub(super) async fn create(from: &Blueprint) -> Result<Self, Fault> {
        let instance = Self::bare(from).await.map_err(|e| Fault::of_error(&e))?;
        instance.init(from).await
    }

    /// Runs `init`.
    pub(super) async fn init(mut self, from: &Blueprint) -> Result<Self, Fault> {
        if let Some(lifecycle) = &self.lifecycle {
            arm(&mut self.store, INIT_TICKS);
            match lifecycle.call_init(&mut self.store, &from.config).await {
                Ok(Ok(())) => {}
                Ok(Err(message)) => return Err(Fault::of_plugin(FaultKind::Error, message)),
                Err(error) => return Err(Fault::of_error(&error)),
            }
        }
        let state = self.store.data();
        state.turn.end();
        self.born_with = state.limiter.held();
        Ok(self)
    }

    /// Makes one without `init`. An error that is a [`ShapeMismatch`] says that its hooks have other types.
    pub(super) async fn bare(from: &Blueprint) -> wasmtime::Result<Self> {
        let state = State {
            limiter: Limiter::new(from.memory),
            subject: Subject::default(),
            ticks: 0,
            lane: from.lane.clone(),
            turn: Turn::default(),
            unreadable: None,
            powers: Arc::clone(&from.powers),
            patience: from.patience.clone(),
            left: Duration::ZERO,
            printed: Printed::default(),
        };
        let mut store = Store::new(from.pre.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(from.output);
        if from.is_metered {
            store.set_fuel(u64::MAX)?;
        }
        store.epoch_deadline_callback(|mut store| {
            let state = store.data_mut();
            if state.ticks == 0 {
                return Ok(UpdateDeadline::Interrupt);
            }
            state.ticks -= 1;
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(state.turn.next(&state.lane))))
        });
        arm(&mut store, INIT_TICKS);
        let instance = from.pre.instantiate_async(&mut store).await?;
        let at = &from.indices;
        macro_rules! load {
            ($hook:ident) => {
                match &at.$hook {
                    Some(indices) => Some(indices.load(&mut store, &instance).context(ShapeMismatch)?),
                    None => None,
                }
            };
        }
        Ok(Self {
            lifecycle: load!(lifecycle),
            route: load!(route),
            select: load!(select),
            transform_request: load!(transform_request),
            transform_response: load!(transform_response),
            transform_list: load!(transform_list),
            settle: load!(settle),
            observe: load!(observe),
            store,
            uses: 0,
            born_with: 0,
        })
    }

    /// Puts a question, to which the caller waits `left` for the answer. After an error the instance must not be used again.
    pub(super) async fn ask<Q: Question>(
        &mut self,
        question: &Q,
        from: &Blueprint,
        left: Duration,
    ) -> Result<Q::Answer, Fault> {
        let state = self.store.data_mut();
        state.subject = question.subject();
        state.left = left;
        // Armed just before the call, so that no time spent waiting is billed to the guest.
        arm(&mut self.store, from.ticks.saturating_mul(question.portions()));
        let outcome = question.put(self).await;
        let state = self.store.data_mut();
        state.turn.end();
        // A pooled instance must not keep a call's body alive.
        state.subject = Subject::default();
        if let Some(why) = state.unreadable.take() {
            return Err(unreadable(&why));
        }
        match outcome {
            Ok(Ok(raw)) => question.check(raw, from.output),
            Ok(Err(message)) => Err(Fault::of_plugin(FaultKind::Error, message)),
            Err(error) => Err(Fault::of_error(&error)),
        }
    }

    /// What is left of its fuel, where that is counted.
    pub(super) fn fuel(&self, from: &Blueprint) -> Option<u64> {
        // Elsewhere it would be an error, which is dear to make.
        from.is_metered.then(|| self.store.get_fuel().ok()).flatten()
    }

    /// True where a large call made it grow. Linear memory never shrinks, so it had better be replaced than kept.
    pub(super) fn is_swollen(&self) -> bool {
        self.store.data().limiter.held() > self.born_with.saturating_mul(2).saturating_add(SWELLING)
    }

    /// Runs `shutdown`, as a last courtesy.
    pub(super) async fn shutdown(mut self, ticks: u64, wall: Duration) {
        if let Some(lifecycle) = &self.lifecycle {
            arm(&mut self.store, ticks);
            // Nobody is left to care how it ended.
            let _ = tokio::time::timeout(wall, lifecycle.call_shutdown(&mut self.store)).await;
        }
    }

    pub(super) fn route(&mut self) -> wasmtime::Result<(&mut Store<State>, &route::Guest)> {
        let hook = self.route.as_ref().context("has no route hook")?;
        Ok((&mut self.store, hook))
    }

    pub(super) fn select(&mut self) -> wasmtime::Result<(&mut Store<State>, &select::Guest)> {
        let hook = self.select.as_ref().context("has no select hook")?;
        Ok((&mut self.store, hook))
    }

    pub(super) fn transform_request(&mut self) -> wasmtime::Result<(&mut Store<State>, &transform_request::Guest)> {
        let hook = self
            .transform_request
            .as_ref()
            .context("has no transform-request hook")?;
        Ok((&mut self.store, hook))
    }

    pub(super) fn transform_response(&mut self) -> wasmtime::Result<(&mut Store<State>, &transform_response::Guest)> {
        let hook = self
            .transform_response
            .as_ref()
            .context("has no transform-response hook")?;
        Ok((&mut self.store, hook))
    }

    pub(super) fn transform_list(&mut self) -> wasmtime::Result<(&mut Store<State>, &transform_list::Guest)> {
        let hook = self.transform_list.as_ref().context("has no transform-list hook")?;
        Ok((&mut self.store, hook))
    }

    pub(super) fn settle(&mut self) -> wasmtime::Result<(&mut Store<State>, &settle::Guest)> {
        let hook = self.settle.as_ref().context("has no settle hook")?;
        Ok((&mut self.store, hook))
    }

    pub(super) fn observe(&mut self) -> wasmtime::Result<(&mut Store<State>, &observe::Guest)> {
        let hook = self.observe.as_ref().context("has no observe hook")?;
        Ok((&mut self.store, hook))
    }
}

/// Gives the guest so many ticks from now on. It yields to other tasks at every one of them but the first, so that
/// it never pins a worker thread. The first may come at once, and whoever is done within a tick is not to yield at
/// all: the next call of the same agent would overtake.
fn arm(store: &mut Store<State>, ticks: u64) {
    store.data_mut().ticks = ticks.saturating_sub(1);
    store.set_epoch_deadline(2);
}

/// A budget of CPU time in ticks, at least one.
pub(super) fn ticks(budget: Duration) -> u64 {
    u64::try_from(budget.as_nanos().div_ceil(TICK.as_nanos()))
        .unwrap_or(u64::MAX)
        .max(1)
}
