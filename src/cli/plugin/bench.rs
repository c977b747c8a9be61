//! `pointsman plugin bench`: what a hook call costs, in the engine that the router has.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::fixture::{Case, Fixture};
use super::measure::{Cost, Figures, alone, nobody, of_a_call, together};
use super::{Settings, case, runtime, source_of};
use crate::cli::{print, run};
use crate::plugin::{Compiler, Host};
use crate::policy::Hook;

/// One call for each hook.
const SAMPLE: &str = include_str!("sample.toml");

/// `pointsman plugin bench`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Bench {
    /// The plugin's file, or `embedded:NAME`.
    file: String,
    #[command(flatten)]
    settings: Settings,
    /// Calls that are measured for each hook; a tenth of them with fresh instances.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..))]
    rounds: u32,
    /// As JSON, for programs: microseconds.
    #[arg(long)]
    json: bool,
}

/// What was measured of a plugin.
struct Report {
    name: String,
    rounds: u32,
    hooks: Vec<(Hook, Result<Cost, String>)>,
    /// The hooks that one call meets, where they are several, and what they cost it.
    call: Option<(Vec<Hook>, Result<Cost, String>)>,
    /// Of a thousand calls.
    nobody: Duration,
}

impl Bench {
    pub(super) fn run(&self) -> Result<(), String> {
        let report = runtime()?.block_on(self.measure())?;
        match self.json {
            true => print(&format!("{:#}", report.to_json())),
            false => print(&report.words()),
        }
        Ok(())
    }

    async fn measure(&self) -> Result<Report, String> {
        let subject = self.settings.of(source_of(&self.file))?;
        let cases = sample()?;
        let host = Host::new(&subject.policies, Compiler::Child(run::program()?)).map_err(|e| e.to_string())?;
        let loaded = host.load(&subject.name, &subject.plugin).await;
        let loaded = loaded.map_err(|error| self.settings.told(&error))?;
        let mut hooks = Vec::new();
        for one in &cases {
            let hook = case::asked(one)?.hook();
            if loaded.hooks().contains(&hook) {
                hooks.push((hook, alone(&loaded, one, self.rounds).await));
            }
        }
        let met = of_a_call(loaded.hooks());
        let call = together(&host, &loaded, &cases, self.rounds).await.transpose();
        Ok(Report {
            name: subject.name,
            rounds: self.rounds,
            hooks,
            call: call.map(|cost| (met, cost)),
            nobody: nobody(&host, &cases)?,
        })
    }
}

/// The cases that are asked.
pub(super) fn sample() -> Result<Vec<Case>, String> {
    let sample: Result<Fixture, _> = toml::from_str(SAMPLE);
    sample.map(Fixture::into_cases).map_err(|error| error.to_string())
}

impl Report {
    fn words(&self) -> String {
        let mut out = format!("{:<22}{:>24}{:>28}\n", "", "warm: p50, min", "fresh: p50, min");
        for (hook, cost) in &self.hooks {
            out.push_str(&line(hook.as_str(), cost));
        }
        if let Some((hooks, cost)) = &self.call {
            out.push_str(&line(&format!("one call, {} hooks", hooks.len()), cost));
        }
        let nobody = micros(self.nobody) / 1000.0;
        out + &format!("{:<22}{nobody:>9.3} µs\n", "no plugin for a hook")
    }

    fn to_json(&self) -> Value {
        let hooks = self.hooks.iter();
        let hooks = hooks.map(|(hook, cost)| (hook.as_str().to_owned(), told(cost).into()));
        let call = self.call.as_ref().map(|(hooks, cost)| {
            let names: Vec<&str> = hooks.iter().map(|hook| hook.as_str()).collect();
            let mut all = Map::from_iter([("hooks".to_owned(), json!(names))]);
            all.extend(told(cost));
            Value::Object(all)
        });
        json!({
            "plugin": self.name,
            "rounds": self.rounds,
            "hooks": Map::from_iter(hooks),
            "call": call,
            "no_plugin_us": micros(self.nobody) / 1000.0,
        })
    }
}

fn line(what: &str, cost: &Result<Cost, String>) -> String {
    let cell = |of: Figures| format!("{:>9.2} µs {:>8.2} µs", micros(of.p50), micros(of.least));
    match cost {
        Ok(cost) => format!("{what:<22}{}    {}\n", cell(cost.warm), cell(cost.fresh)),
        Err(why) => format!("{what:<22} fails: {why}\n"),
    }
}

fn told(cost: &Result<Cost, String>) -> Map<String, Value> {
    let of = |of: Figures| json!({ "p50": micros(of.p50), "min": micros(of.least) });
    let members = match cost {
        Ok(cost) => vec![("warm_us", of(cost.warm)), ("fresh_us", of(cost.fresh))],
        Err(why) => vec![("error", json!(why))],
    };
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Microseconds, with the nanoseconds behind the point.
fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_sample_for_every_hook_of_a_call() {
        let hooks: Vec<Hook> = sample()
            .unwrap()
            .iter()
            .map(|one| case::asked(one).unwrap().hook())
            .collect();
        let all: Vec<Hook> = Hook::CHAINS.into_iter().filter(|hook| *hook != Hook::Observe).collect();
        assert_eq!(hooks, all);
    }

    #[test]
    fn a_hook_that_fails_is_told_in_both_ways() {
        let us = |n| Figures {
            p50: Duration::from_micros(n),
            least: Duration::from_nanos(n),
        };
        let cost = Cost {
            warm: us(3),
            fresh: us(12),
        };
        let report = Report {
            name: "p".to_owned(),
            rounds: 10,
            hooks: vec![(Hook::Route, Ok(cost)), (Hook::Select, Err("it is broken".to_owned()))],
            call: Some((vec![Hook::Route, Hook::Select], Ok(cost))),
            nobody: Duration::from_nanos(1500),
        };
        insta::assert_snapshot!(report.words(), @r"
                                        warm: p50, min             fresh: p50, min
        route                      3.00 µs     0.00 µs        12.00 µs     0.01 µs
        select                 fails: it is broken
        one call, 2 hooks          3.00 µs     0.00 µs        12.00 µs     0.01 µs
        no plugin for a hook      0.002 µs
        ");
        insta::assert_snapshot!(report.to_json(), @r#"{"call":{"fresh_us":{"min":0.012,"p50":12.0},"hooks":["route","select"],"warm_us":{"min":0.003,"p50":3.0}},"hooks":{"route":{"fresh_us":{"min":0.012,"p50":12.0},"warm_us":{"min":0.003,"p50":3.0}},"select":{"error":"it is broken"}},"no_plugin_us":0.0015,"plugin":"p","rounds":10}"#);
    }
}
