//! How `pointsman plugin bench` measures: one hook alone, all that one call meets in a row, and what asks nobody.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::case;
use super::fixture::Case;
use crate::call::Call;
use crate::config::Pipeline;
use crate::plugin::{Asked, Host, Loaded, Trial};
use crate::policy::{Hook, Policy, PolicyFault};

/// Rounds before those that count.
const BEFORE: u32 = 50;

/// Questions to nobody in one measurement: one of them takes less than the clock can tell.
const QUESTIONS: u32 = 1_000_000;

/// The time in the middle, and the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) p50: Duration,
    pub(super) least: Duration,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |position: usize| times.get(position).copied().unwrap_or_default();
        Self {
            p50: at(times.len() / 2),
            least: at(0),
        }
    }
}

/// What something costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// In instances that have answered before.
    pub(super) warm: Figures,
    /// In instances that are made for it.
    pub(super) fresh: Figures,
}

/// What the hook of a case costs alone. Every call is a new one, so that whoever looks into its params pays for that.
pub(super) async fn alone(loaded: &Loaded, case: &Case, rounds: u32) -> Result<Cost, String> {
    let mut warm = Vec::new();
    for round in 0..BEFORE.saturating_add(rounds) {
        let took = took(loaded.try_out(&case::asked(case)?).await)?;
        if round >= BEFORE {
            warm.push(took);
        }
    }
    let mut fresh = Vec::new();
    for _ in 0..rounds / 10 {
        let trial = loaded.try_fresh(&case::asked(case)?).await;
        fresh.push(took(trial).map_err(|why| format!("in a fresh instance: {why}"))?);
    }
    Ok(Cost {
        warm: Figures::of(warm),
        fresh: Figures::of(fresh),
    })
}

fn took(trial: Trial) -> Result<Duration, String> {
    trial.outcome.map(|_| trial.took).map_err(|failure| failure.message)
}

/// The hooks among these that a call meets.
pub(super) fn of_a_call(hooks: &[Hook]) -> Vec<Hook> {
    Hook::OF_A_CALL
        .into_iter()
        .filter(|hook| hooks.contains(hook))
        .collect()
}

/// What one call costs that meets all hooks of a plugin, asked as the router asks them: warm through a generation, which
/// notes what was said; fresh with one instance for each hook.
pub(super) async fn together(
    host: &Host,
    loaded: &Arc<Loaded>,
    cases: &[Case],
    rounds: u32,
) -> Result<Option<Cost>, String> {
    let hooks = of_a_call(loaded.hooks());
    if hooks.len() < 2 {
        return Ok(None);
    }
    let mut pipeline = Pipeline::default();
    for hook in &hooks {
        pipeline.set(*hook, vec![loaded.name().to_owned()]);
    }
    let builds = BTreeMap::from([(loaded.name().to_owned(), Arc::clone(loaded))]);
    let generation = host.generation(1, &pipeline.into(), builds);
    let generation = generation.map_err(|misfits| format!("{misfits:?}"))?;
    let mut warm = Vec::new();
    for round in 0..BEFORE.saturating_add(rounds) {
        let call = one_call(&hooks, cases)?;
        let began = Instant::now();
        for asked in &call {
            put(&*generation, asked).await.map_err(|fault| fault.message)?;
        }
        let notes = call.first().and_then(Asked::call).map(|call| call.trail.take());
        let took = began.elapsed();
        drop(notes);
        if round >= BEFORE {
            warm.push(took);
        }
    }
    let mut fresh = Vec::new();
    for _ in 0..rounds / 10 {
        let mut all = Duration::ZERO;
        for asked in one_call(&hooks, cases)? {
            all += took(loaded.try_fresh(&asked).await)?;
        }
        fresh.push(all);
    }
    Ok(Some(Cost {
        warm: Figures::of(warm),
        fresh: Figures::of(fresh),
    }))
}

/// What a new call asks at these hooks: the call of the first one's case.
fn one_call(hooks: &[Hook], cases: &[Case]) -> Result<Vec<Asked>, String> {
    let mut questions = Vec::new();
    let mut same: Option<Arc<Call>> = None;
    for hook in hooks {
        let Some(case) = cases.iter().find(|case| case.hook == hook.as_str()) else {
            continue;
        };
        let asked = case::asked(case)?;
        let asked = match &same {
            Some(call) => asked.about(call),
            None => asked,
        };
        same = same.or_else(|| asked.call().cloned());
        questions.push(asked);
    }
    Ok(questions)
}

async fn put(policy: &dyn Policy, asked: &Asked) -> Result<(), PolicyFault> {
    let hook = asked.hook();
    if !asked.call().is_some_and(|call| policy.has(hook, call)) {
        return Ok(());
    }
    match asked {
        Asked::Route(call, candidates) => policy.route(call, Arc::clone(candidates)).await.map(drop),
        Asked::Select(call, targets) => policy.select(call, Arc::clone(targets)).await.map(drop),
        Asked::TransformRequest(call) => policy.transform_request(call, "web").await.map(drop),
        Asked::TransformResponse(call, body, is_error) => {
            let answer = policy.transform_response(call, "web", body.clone(), *is_error);
            answer.await.map(drop)
        }
        Asked::TransformList(_) | Asked::Settle(..) => Ok(()),
    }
}

/// What a hook costs a call where no plugin has it: the router asks the generation whether there is one, also for `observe`;
/// for `settle` only where a call is in trouble.
pub(super) fn nobody(host: &Host, cases: &[Case]) -> Result<Duration, String> {
    let generation = host.generation(1, &Pipeline::default().into(), BTreeMap::new());
    let generation = generation.map_err(|misfits| format!("{misfits:?}"))?;
    let policy: &dyn Policy = &*generation;
    let first = cases.first().map(case::asked).transpose()?;
    let Some(call) = first.as_ref().and_then(Asked::call) else {
        return Err("there is no case".to_owned());
    };
    let began = Instant::now();
    for _ in 0..QUESTIONS {
        for hook in Hook::OF_A_CALL {
            black_box(black_box(policy).has(black_box(hook), call));
        }
        black_box(black_box(policy).observes());
    }
    let questions = QUESTIONS * u32::try_from(Hook::OF_A_CALL.len() + 1).unwrap_or(1);
    // A `Duration` has whole nanoseconds, and this is about one: of a thousand.
    Ok(began.elapsed() * 1000 / questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_least() {
        let of = |times: &[u64]| Figures::of(times.iter().copied().map(Duration::from_nanos).collect());
        let ns = Duration::from_nanos;
        assert_eq!(
            of(&[3, 1, 2]),
            Figures {
                p50: ns(2),
                least: ns(1)
            }
        );
        assert_eq!(of(&[]).p50, Duration::ZERO);
    }

    #[test]
    fn a_call_meets_its_hooks_in_order_and_is_the_same_one_for_all() {
        let cases = super::super::bench::sample().unwrap();
        let hooks = of_a_call(&[Hook::Settle, Hook::TransformRequest, Hook::Select, Hook::Route]);
        assert_eq!(hooks, [Hook::Route, Hook::Select, Hook::TransformRequest]);
        let call = one_call(&hooks, &cases).unwrap();
        assert_eq!(call.iter().map(Asked::hook).collect::<Vec<_>>(), hooks);
        let first = call[0].call().unwrap();
        assert!(call.iter().all(|asked| Arc::ptr_eq(asked.call().unwrap(), first)));
        let next = one_call(&hooks, &cases).unwrap();
        assert!(!Arc::ptr_eq(next[0].call().unwrap(), first));
    }
}
