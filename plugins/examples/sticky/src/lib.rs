//! One agent stays with one replica of a backend, as long as that lives. Wants the grant `kv`.
//!
//! `{ "seconds": 3600 }`: an agent that was not seen for so long is forgotten.

use pointsman_policy::json;
use pointsman_policy::{Call, Policy, Select, Selection, Targets, kv};

struct Sticky {
    keep: u64,
}

impl Policy for Sticky {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let seconds = match config.get("seconds") {
            None => 3600,
            Some(value) => value.number().ok_or("seconds: a whole number is wanted")?,
        };
        Ok(Self { keep: seconds * 1000 })
    }
}

impl Select for Sticky {
    fn select(&self, call: &Call, targets: &Targets) -> Result<Selection, String> {
        let count = targets.len();
        if count < 2 {
            return Ok(Selection::Any);
        }
        let key = format!("{}:{}", targets.backend(0), call.agent());
        let known = kv::get(&key).and_then(|text| String::from_utf8(text).ok());
        let name = |n: u32| format!("{}.{}", targets.replica(n), targets.incarnation(n));
        let again = (0..count).find(|n| known.as_deref() == Some(&name(*n)));
        // A new agent, or its replica is gone: the one with the least to do.
        let loads = targets.loads();
        let least = || (0..count).min_by_key(|n| loads.get(*n as usize).copied().unwrap_or(u32::MAX));
        let Some(chosen) = again.or_else(least) else {
            return Ok(Selection::Any);
        };
        // Where there is no room to remember it, it is no worse off than without this policy.
        let _ = kv::set(&key, name(chosen).as_bytes(), Some(self.keep));
        Ok(Selection::Pick(chosen))
    }
}

pointsman_policy::export!(Sticky: select);
