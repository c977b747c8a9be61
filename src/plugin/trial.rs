//! One question to one plugin outside of any pipeline: how `pointsman plugin test` and `bench` ask, with all bounds and
//! checks of a real hook call, and with its cost.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::LoadError;
use super::fault::Fault;
use super::host::Body;
use super::instance::Instance;
use super::listing::TransformList;
use super::load::Host;
use super::loaded::{Loaded, within};
use super::question::{Opinion, Question, Route, Select, TransformRequest, TransformResponse};
use super::settling::Settle;
use super::voice;
use crate::call::Call;
use crate::config;
use crate::policy::{Candidate, FaultKind, Hook, Listing, RouteChoice, Selection, Settlement, TargetView, Trouble};
use crate::wire::RawJson;

/// A question, with all that a plugin may look at.
#[derive(Clone)]
pub enum Asked {
    /// Which of the candidates may take the call?
    Route(Arc<Call>, Arc<[Candidate]>),
    /// Which of the targets takes it?
    Select(Arc<Call>, Arc<[TargetView]>),
    /// How are its params changed?
    TransformRequest(Arc<Call>),
    /// How is its result changed, or where the flag is set, its error?
    TransformResponse(Arc<Call>, RawJson, bool),
    /// What do agents see?
    TransformList(Arc<Listing>),
    /// What becomes of the call?
    Settle(Arc<Call>, Arc<Trouble>),
}

/// A good answer.
#[derive(Debug)]
pub enum Decision {
    /// No opinion, or nothing to change.
    Nothing,
    /// These candidates, by position.
    Narrow(Vec<usize>),
    /// A route that ends the chain.
    Route(RouteChoice),
    /// A target, or a pause.
    Select(Selection),
    /// The params, the result or the error as they are now.
    Changed(RawJson),
    /// The list as it is now.
    Shown(Arc<Listing>),
    /// What becomes of the call.
    Settled(Settlement),
}

/// No answer, and why.
#[derive(Debug)]
pub struct Failure {
    /// What the plugin did.
    pub kind: FaultKind,
    /// In words.
    pub message: String,
}

/// An answer and what it cost.
#[derive(Debug)]
pub struct Trial {
    /// The answer.
    pub outcome: Result<Decision, Failure>,
    /// Time by the clock, that of making the instance included where it was a fresh one.
    pub took: Duration,
    /// Instructions, roughly, where the host counts them.
    pub fuel: Option<u64>,
    /// Lines for the log that were too many.
    pub dropped: u64,
}

impl Asked {
    /// The hook it is for.
    pub fn hook(&self) -> Hook {
        match self {
            Self::Route(..) => Hook::Route,
            Self::Select(..) => Hook::Select,
            Self::TransformRequest(_) => Hook::TransformRequest,
            Self::TransformResponse(..) => Hook::TransformResponse,
            Self::TransformList(_) => Hook::TransformList,
            Self::Settle(..) => Hook::Settle,
        }
    }

    /// The call that it is about; a list is about none.
    pub fn call(&self) -> Option<&Arc<Call>> {
        match self {
            Self::Route(call, _)
            | Self::Select(call, _)
            | Self::TransformRequest(call)
            | Self::TransformResponse(call, ..)
            | Self::Settle(call, _) => Some(call),
            Self::TransformList(_) => None,
        }
    }

    /// The same question about another call.
    pub fn about(mut self, other: &Arc<Call>) -> Self {
        match &mut self {
            Self::Route(call, _)
            | Self::Select(call, _)
            | Self::TransformRequest(call)
            | Self::TransformResponse(call, ..)
            | Self::Settle(call, _) => *call = Arc::clone(other),
            Self::TransformList(_) => {}
        }
        self
    }
}

impl Host {
    /// Loads a plugin, and says how many lines for the log were too many in `init`.
    pub async fn load_aloud(&self, name: &str, plugin: &config::Plugin) -> (Result<Arc<Loaded>, LoadError>, u64) {
        voice::counted(self.load(name, plugin)).await
    }

    /// A beginning for plugins that are loaded from now on: their stores are empty, and it is this time, since 1970, or
    /// what the system says.
    pub fn begin_anew(&self, now: Option<Duration>) {
        self.common.forget();
        // The time since one of the last file's moments is nobody's here.
        self.common.put_clock(None);
        self.common.put_clock(now);
    }

    /// From now on it is this time for plugins, since 1970. It stands still.
    pub fn put_clock(&self, now: Duration) {
        self.common.put_clock(Some(now));
    }
}

impl Loaded {
    /// Asks a warm instance, or where there is none a new one. The breaker takes no part.
    pub async fn try_out(&self, asked: &Asked) -> Trial {
        self.counted(asked, false).await
    }

    /// Asks an instance made for it, which is thrown away.
    pub async fn try_fresh(&self, asked: &Asked) -> Trial {
        self.counted(asked, true).await
    }

    async fn counted(&self, asked: &Asked, fresh: bool) -> Trial {
        let (trial, dropped) = voice::counted(self.put(asked, fresh)).await;
        Trial { dropped, ..trial }
    }

    async fn put(&self, asked: &Asked, fresh: bool) -> Trial {
        match asked {
            Asked::Route(call, candidates) => {
                let decided = |opinion| match opinion {
                    Opinion::Next => Decision::Nothing,
                    Opinion::Narrow(kept) => Decision::Narrow(kept),
                    Opinion::Final(choice) => Decision::Route(choice),
                };
                self.time(&Route { call, candidates }, decided, fresh).await
            }
            Asked::Select(call, targets) => {
                let decided = |selection| match selection {
                    Selection::Any => Decision::Nothing,
                    other => Decision::Select(other),
                };
                self.time(&Select { call, targets }, decided, fresh).await
            }
            Asked::TransformRequest(call) => self.time(&TransformRequest { call }, changed, fresh).await,
            Asked::TransformResponse(call, body, is_error) => {
                let body = &Arc::new(Body::new(body.clone(), *is_error));
                self.time(&TransformResponse { call, body }, changed, fresh).await
            }
            Asked::TransformList(listing) => {
                let decided = |shown: Option<Arc<Listing>>| shown.map_or(Decision::Nothing, Decision::Shown);
                self.time(&TransformList { listing }, decided, fresh).await
            }
            Asked::Settle(call, trouble) => {
                let decided = |settlement| match settlement {
                    Settlement::Next => Decision::Nothing,
                    other => Decision::Settled(other),
                };
                self.time(&Settle { call, trouble }, decided, fresh).await
            }
        }
    }

    async fn time<Q: Question>(&self, question: &Q, decided: impl FnOnce(Q::Answer) -> Decision, fresh: bool) -> Trial {
        let began = Instant::now();
        let asking = pin!(async {
            let _running = self.ticker.running();
            if fresh {
                let mut instance = Instance::create(&self.blueprint).await?;
                return instance
                    .ask(question, &self.blueprint, self.settings.wall)
                    .await
                    .map(|answer| (answer, None));
            }
            let permit = self.pool.permit().await?;
            let mut taken = self.pool.take(permit, &self.blueprint).await?;
            let before = taken.instance.fuel(&self.blueprint);
            let answer = taken
                .instance
                .ask(question, &self.blueprint, self.settings.wall)
                .await?;
            let after = taken.instance.fuel(&self.blueprint);
            taken.give_back();
            Ok((
                answer,
                before.zip(after).map(|(before, after)| before.saturating_sub(after)),
            ))
        });
        let outcome = within(self.settings.wall, asking).await.unwrap_or_else(|| {
            let words = "took longer than its wall-clock budget";
            Err(Fault::of_plugin(FaultKind::Wall, words))
        });
        let took = began.elapsed();
        match outcome {
            Ok((answer, fuel)) => Trial {
                outcome: Ok(decided(answer)),
                took,
                fuel,
                dropped: 0,
            },
            Err(Fault { kind, message, .. }) => Trial {
                outcome: Err(Failure { kind, message }),
                took,
                fuel: None,
                dropped: 0,
            },
        }
    }
}

fn changed(text: Option<RawJson>) -> Decision {
    text.map_or(Decision::Nothing, Decision::Changed)
}
