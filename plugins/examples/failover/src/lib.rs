//! Another backend while the first one is down: `{ "fallbacks": { "primary": "standby" } }`.
//!
//! A call for a backend that is not ready, and will not be within `patience-ms` (2000), goes to its fallback if that offers
//! the same and is ready. A call that meets a dead server is settled as the router does it: it may have run.

use pointsman_policy::json::{self, Value};
use pointsman_policy::{Call, Candidates, Policy, Route, RouteChoice};

struct Failover {
    fallbacks: Vec<(String, String)>,
    patience: u64,
}

impl Policy for Failover {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let Some(Value::Object(members)) = config.get("fallbacks") else {
            return Err("fallbacks: a table of backends is wanted".to_owned());
        };
        let pair = |(from, to): &(String, Value)| to.text().map(|to| (from.clone(), to.to_owned()));
        let fallbacks: Option<Vec<_>> = members.iter().map(pair).collect();
        Ok(Self {
            fallbacks: fallbacks.ok_or("fallbacks: names of backends are wanted")?,
            patience: config.get("patience-ms").and_then(Value::number).unwrap_or(2000),
        })
    }
}

impl Route for Failover {
    fn route(&self, _: &Call, candidates: &Candidates) -> Result<RouteChoice, String> {
        let offering = candidates.offering();
        for (primary, standby) in &self.fallbacks {
            let at = |name: &str| offering.iter().copied().find(|n| candidates.backend(*n) == name);
            let (Some(primary), Some(standby)) = (at(primary), at(standby)) else {
                continue;
            };
            let soon = candidates.eta_ms(primary).is_some_and(|eta| eta <= self.patience);
            let chosen = match candidates.state(primary) == "ready" || soon {
                true => primary,
                false if candidates.state(standby) == "ready" => standby,
                // Neither: it waits for the one that was meant.
                false => primary,
            };
            return Ok(RouteChoice::Narrow(vec![chosen]));
        }
        Ok(RouteChoice::Next)
    }
}

pointsman_policy::export!(Failover: route);
