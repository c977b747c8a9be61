//! So many calls of one agent in so much time: `{ "calls": 60, "seconds": 60 }`. Wants the grants `kv` and `clock`.
//!
//! Time is cut into windows of that length; a call counts in the window in which it comes. The store is shared by all
//! instances, so that the limit holds however many there are.

use pointsman_policy::json::{self, Value};
use pointsman_policy::{Call, Candidates, Policy, Route, RouteChoice, clock, deny, kv};

struct RateLimit {
    calls: i64,
    window: u64,
}

impl Policy for RateLimit {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let number = |key: &str| {
            let number = config
                .get(key)
                .and_then(Value::number)
                .filter(|n| (1..=1_000_000).contains(n));
            number.ok_or_else(|| format!("{key}: a whole number from 1 to 1000000 is wanted"))
        };
        Ok(Self {
            calls: number("calls")? as i64,
            window: number("seconds")? * 1000,
        })
    }
}

impl Route for RateLimit {
    fn route(&self, call: &Call, _: &Candidates) -> Result<RouteChoice, String> {
        if call.method() != "tools/call" {
            return Ok(RouteChoice::Next);
        }
        let now = clock::now();
        let agent = call.principal().unwrap_or_else(|| call.agent());
        let key = format!("{}:{agent}", now / self.window);
        // Gone when the window is over, so that agents who left hold no room.
        match kv::increment(&key, 1, Some(self.window)) {
            Ok(calls) if calls <= self.calls => Ok(RouteChoice::Next),
            Ok(_) => {
                let left = self.window - now % self.window;
                let message = format!(
                    "more than {} calls in {} s; try again in {left} ms",
                    self.calls,
                    self.window / 1000
                );
                Ok(deny("rate-limited", &message))
            }
            // With no room to count in there would be no limit.
            Err(why) => Err(why),
        }
    }
}

pointsman_policy::export!(RateLimit: route);
