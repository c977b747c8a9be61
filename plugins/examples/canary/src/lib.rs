//! A part of the calls to another backend: `{ "from": "stable", "to": "canary", "percent": 10 }`. Wants the grant `kv`.
//!
//! Which calls these are is decided by agent, so that one agent stays with one of the two. What is in the store under the
//! key `percent` counts more than the configuration: it can be turned up and down while calls run.

use pointsman_policy::json::{self, Value};
use pointsman_policy::{Call, Candidates, Policy, Route, RouteChoice, kv};

struct Canary {
    from: String,
    to: String,
    percent: u64,
}

impl Policy for Canary {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let text = |key: &str| {
            let text = config.get(key).and_then(Value::text).map(str::to_owned);
            text.ok_or_else(|| format!("{key}: the name of a backend is wanted"))
        };
        let percent = config.get("percent").and_then(Value::number).filter(|n| *n <= 100);
        Ok(Self {
            from: text("from")?,
            to: text("to")?,
            percent: percent.ok_or("percent: a whole number from 0 to 100 is wanted")?,
        })
    }
}

impl Route for Canary {
    fn route(&self, call: &Call, candidates: &Candidates) -> Result<RouteChoice, String> {
        let at = |name: &str| (0..candidates.len()).find(|n| candidates.backend(*n) == name);
        let (Some(from), Some(to)) = (at(&self.from), at(&self.to)) else {
            return Ok(RouteChoice::Next);
        };
        if !candidates.offers(from) || !candidates.offers(to) {
            return Ok(RouteChoice::Next);
        }
        let turned = kv::get("percent").and_then(|text| String::from_utf8(text).ok()?.parse().ok());
        let percent = turned.unwrap_or(self.percent);
        let chosen = if hash(&call.agent()) % 100 < percent { to } else { from };
        Ok(RouteChoice::Narrow(vec![chosen]))
    }
}

/// FNV-1a: the same agent, the same number.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

pointsman_policy::export!(Canary: route);
