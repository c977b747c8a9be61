//! Tools whose definitions changed are not shown, and so cannot be called: a server that is trusted with one tool is not
//! trusted with another under its name. Wants the grant `kv`, and `log`.
//!
//! `{ "pins": { "BACKEND/TOOL": "HASH" } }`: these have to be as they were. What has no pin is pinned at first sight, for as
//! long as the router runs; `{ "strict": true }` does not show it at all. The log tells the hash of what is refused, to be
//! looked at and pinned.

use pointsman_policy::json::{self, Value};
use pointsman_policy::{Listing, Policy, Shown, TransformList, kv, log};
use sha2::{Digest, Sha256};

struct PinTools {
    pins: Vec<(String, String)>,
    strict: bool,
}

impl Policy for PinTools {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let pins = match config.get("pins") {
            None => Vec::new(),
            Some(Value::Object(members)) => {
                let pin = |(name, hash): &(String, Value)| hash.text().map(|hash| (name.clone(), hash.to_owned()));
                let all: Option<Vec<_>> = members.iter().map(pin).collect();
                all.ok_or("pins: hashes are wanted")?
            }
            Some(_) => return Err("pins: a table is wanted".to_owned()),
        };
        Ok(Self {
            pins,
            strict: matches!(config.get("strict"), Some(Value::Plain("true"))),
        })
    }
}

impl PinTools {
    fn is_as_it_was(&self, name: &str, hash: &str) -> Result<bool, String> {
        if let Some((_, pinned)) = self.pins.iter().find(|(pinned, _)| pinned == name) {
            return Ok(pinned == hash);
        }
        if self.strict {
            return Ok(false);
        }
        match kv::get(name) {
            Some(known) => Ok(known == hash.as_bytes()),
            // Another instance may be first: what it saw counts.
            None => match kv::compare_and_set(name, None, hash.as_bytes(), None)? {
                true => Ok(true),
                false => Ok(kv::get(name).as_deref() == Some(hash.as_bytes())),
            },
        }
    }
}

impl TransformList for PinTools {
    fn transform_list(&self, listing: &Listing) -> Result<Option<Vec<Shown>>, String> {
        if listing.kind() != "tools" {
            return Ok(None);
        }
        let mut shown = Vec::new();
        for position in 0..listing.len() {
            let name = format!("{}/{}", listing.backend(position), listing.key(position));
            let is_shown = listing.is_pending(position) || {
                // Two readings of one definition would be two definitions.
                let hash = listing.json(position).map(|json| hash(&json)).unwrap_or_default();
                let good = !hash.is_empty() && self.is_as_it_was(&name, &hash)?;
                if !good {
                    log::log(
                        "warn",
                        &format!("{name} is not shown: its definition has the hash {hash:?}"),
                    );
                }
                good
            };
            if is_shown {
                shown.push(Shown { position, name: None });
            }
        }
        Ok(Some(shown))
    }
}

/// SHA-256 of the definition as its server wrote it, in hexadecimal digits.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pointsman_policy::export!(PinTools: transform_list);
