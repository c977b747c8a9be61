//! `pointsman plugin bench`: what a hook call costs, in the engine that the router has.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::fixture::Fixture;
use super::{Settings, case, runtime, source_of};
use crate::cli::{print, run};
use crate::plugin::{Asked, Compiler, Host, Loaded, Trial};

/// One call for each hook.
const SAMPLE: &str = include_str!("sample.toml");

/// Calls before those that count.
const BEFORE: u32 = 50;

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
}

impl Bench {
    pub(super) fn run(&self) -> Result<(), String> {
        let subject = self.settings.of(source_of(&self.file))?;
        let sample: Fixture = toml::from_str(SAMPLE).map_err(|error| error.to_string())?;
        let host = Host::new(&subject.policies, Compiler::Child(run::program()?)).map_err(|e| e.to_string())?;
        runtime()?.block_on(async {
            let loaded = host.load(&subject.name, &subject.plugin).await;
            let loaded = loaded.map_err(|error| error.to_string())?;
            let mut out = format!("{:<20} {:>22} {:>24}\n", "", "warm: p50, min", "fresh: p50, min");
            for case in &sample.cases {
                let asked = case::asked(case)?;
                if loaded.hooks().contains(&asked.hook()) {
                    out.push_str(&self.measure(&loaded, &asked).await);
                }
            }
            print(&out);
            Ok(())
        })
    }

    /// A line about one hook.
    async fn measure(&self, loaded: &Loaded, asked: &Asked) -> String {
        let hook = asked.hook().as_str();
        let mut warm = Vec::new();
        for round in 0..BEFORE.saturating_add(self.rounds) {
            match loaded.try_out(asked).await {
                Trial {
                    outcome: Err(failure), ..
                } => return format!("{hook:<20} fails: {}\n", failure.message),
                Trial { took, .. } if round >= BEFORE => warm.push(took),
                Trial { .. } => {}
            }
        }
        let mut fresh = Vec::new();
        for _ in 0..self.rounds / 10 {
            match loaded.try_fresh(asked).await {
                Trial {
                    outcome: Err(failure), ..
                } => {
                    return format!("{hook:<20} fails in a fresh instance: {}\n", failure.message);
                }
                Trial { took, .. } => fresh.push(took),
            }
        }
        let mut line = format!("{hook:<20}");
        for times in [warm, fresh] {
            let (p50, least) = summary(times);
            // Writing to a string cannot fail.
            let _ = write!(line, " {:>10} ns {:>8} ns", p50.as_nanos(), least.as_nanos());
        }
        line + "\n"
    }
}

/// The one in the middle, and the least.
fn summary(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |position: usize| times.get(position).copied().unwrap_or_default();
    (at(times.len() / 2), at(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Hook;

    #[test]
    fn there_is_a_sample_for_every_hook_of_a_call() {
        let sample: Fixture = toml::from_str(SAMPLE).unwrap();
        let hooks: Vec<Hook> = sample
            .cases
            .iter()
            .map(|one| case::asked(one).unwrap().hook())
            .collect();
        let all: Vec<Hook> = Hook::CHAINS.into_iter().filter(|hook| *hook != Hook::Observe).collect();
        assert_eq!(hooks, all);
    }

    #[test]
    fn the_middle_and_the_least() {
        let times = [3, 1, 2].map(Duration::from_nanos).to_vec();
        assert_eq!(summary(times), (Duration::from_nanos(2), Duration::from_nanos(1)));
        assert_eq!(summary(Vec::new()), (Duration::ZERO, Duration::ZERO));
    }
}
