//! The public keys of an issuer: fetched when they are needed, kept when it is down, asked for again when one is missing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use super::Fetch;
use crate::config;
use crate::wire::discovery;

/// Keys older than this are asked for again, while they go on being used.
const FRESH: Duration = Duration::from_secs(600);
/// So far apart are requests to the issuer that tokens cause, once there are keys: anybody can make up a key's name.
const APART: Duration = Duration::from_secs(30);
/// The pause between two tries as long as there are no keys at all.
const AGAIN: Duration = Duration::from_secs(1);
/// Time for one document.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a document at most, and keys in a set.
const LIMIT: usize = 1 << 20;
const MOST: usize = 256;

/// One public key.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Option<String>,
    pub(super) key: DecodingKey,
}

/// Why there is no key for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The issuer has no such key.
    Key,
    /// No keys are known, for this reason.
    All(String),
}

/// The keys of one issuer.
pub(super) struct Keys {
    settings: config::Keys,
    issuer: String,
    ca_file: Option<PathBuf>,
    wait: Duration,
    fetch: Fetch,
    known: watch::Sender<Known>,
}

/// What is known.
#[derive(Clone, Default)]
struct Known {
    keys: Option<Arc<Vec<Key>>>,
    since: Option<Instant>,
    /// Of the last try, where that failed.
    error: String,
    tries: u64,
    /// Somebody asks the issuer now.
    busy: bool,
    /// When it was asked last because of a token.
    asked: Option<Instant>,
}

impl Keys {
    pub(super) fn new(settings: &config::Jwt, fetch: Fetch) -> Arc<Self> {
        let mut known = Known::default();
        if let config::Keys::File { text, .. } = &settings.keys {
            match parse(text.as_bytes()) {
                Ok(keys) => known.keys = Some(Arc::new(keys)),
                Err(error) => {
                    warn!("the keys of {} cannot be used: {error}", settings.issuer);
                    known.error = error;
                }
            }
        }
        Arc::new(Self {
            settings: settings.keys.clone(),
            issuer: settings.issuer.clone(),
            ca_file: settings.ca_file.clone(),
            wait: settings.wait,
            fetch,
            known: watch::Sender::new(known),
        })
    }

    /// The keys that a token with this `kid` and `alg` may be signed with. Waits for the issuer where it must.
    pub(super) async fn find(self: &Arc<Self>, id: Option<&str>, algorithm: Algorithm) -> Result<Vec<Key>, Missing> {
        let mut news = self.known.subscribe();
        let known = news.borrow_and_update().clone();
        let in_file = matches!(self.settings, config::Keys::File { .. });
        let apart = if let Some(keys) = &known.keys {
            let found = fitting(keys, id, algorithm);
            if !found.is_empty() {
                if known.since.is_some_and(|since| since.elapsed() > FRESH) {
                    self.ask(Some(APART));
                }
                return Ok(found);
            }
            if in_file {
                return Err(Missing::Key);
            }
            // A look that failed is no answer: the next one need not wait for long.
            Some(if known.error.is_empty() { APART } else { AGAIN })
        } else if in_file {
            return Err(Missing::All(known.error));
        } else {
            None
        };
        let tried = |now: &Known| now.tries != known.tries && (now.keys.is_some() || known.keys.is_some());
        // Who may not ask waits with whoever does.
        let silent = self.ask(apart) && timeout(self.wait, news.wait_for(tried)).await.is_err();
        let now = self.known.borrow().clone();
        match now.keys.as_ref().map(|keys| fitting(keys, id, algorithm)) {
            Some(found) if !found.is_empty() => Ok(found),
            _ if silent && now.error.is_empty() => Err(Missing::All("the issuer of tokens does not answer".to_owned())),
            // Either it has no such key, or it did not say so when it was asked last.
            _ if now.error.is_empty() => Err(Missing::Key),
            _ => Err(Missing::All(now.error)),
        }
    }

    /// Begins to fetch the keys, unless somebody does already, or did because of a token less than `apart` ago. Whether
    /// somebody does now.
    fn ask(self: &Arc<Self>, apart: Option<Duration>) -> bool {
        let (mut begins, mut asks) = (false, true);
        // All in one step: of those who come at the same time one asks, and nobody is told that none does.
        self.known.send_if_modified(|known| {
            if known.busy {
                return false;
            }
            if let Some(apart) = apart {
                asks = known.asked.is_none_or(|last| last.elapsed() >= apart);
                if asks {
                    known.asked = Some(Instant::now());
                }
            }
            (begins, known.busy) = (asks, asks);
            begins
        });
        if begins {
            tokio::spawn(fetch(Busy(Some(Arc::clone(self)))));
        }
        asks
    }

    async fn fetched(&self) -> Result<Vec<Key>, String> {
        let url = match &self.settings {
            config::Keys::Url(url) => url.clone(),
            config::Keys::Discovered => self.discovered().await?,
            config::Keys::File { .. } => return Err("they are in a file".to_owned()),
        };
        let keys = parse(&self.get(&url).await?)?;
        debug!("{} has {} keys", self.issuer, keys.len());
        Ok(keys)
    }

    async fn discovered(&self) -> Result<String, String> {
        let mut failed = String::new();
        for place in discovery::places(&self.issuer) {
            match self.get(&place).await {
                Ok(metadata) if discovery::is_metadata(&metadata) => {
                    return discovery::endpoint(&metadata, &self.issuer, "jwks_uri");
                }
                Ok(_) => failed = format!("{place}: it holds no metadata"),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn get(&self, url: &str) -> Result<bytes::Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url} is no URL"))?;
        let fetching = (self.fetch)(uri, self.ca_file.clone(), LIMIT);
        match timeout(PATIENCE, fetching).await {
            Ok(fetched) => fetched.map_err(|error| format!("{url}: {error}")),
            Err(_) => Err(format!("{url}: no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

/// Fetches the keys; as long as there are none, and somebody waits for them, again and again.
async fn fetch(mut busy: Busy) {
    while let Some(keys) = &busy.0 {
        let fetched = keys.fetched().await;
        if let Err(error) = &fetched {
            warn!("the keys of {} cannot be fetched: {error}", keys.issuer);
        }
        let mut goes_on = false;
        keys.known.send_modify(|known| {
            known.tries += 1;
            match fetched {
                Ok(keys) => {
                    known.keys = Some(Arc::new(keys));
                    known.since = Some(Instant::now());
                    known.error.clear();
                }
                Err(error) => known.error = error,
            }
            // In one step with the answer: who comes from now on waits for another one, or for none.
            goes_on = known.keys.is_none() && keys.known.receiver_count() > 0;
            known.busy = goes_on;
        });
        if goes_on {
            sleep(AGAIN).await;
        } else {
            busy.0 = None;
        }
    }
}

/// Somebody asks the issuer; when this is dropped in the middle of it, nobody does.
struct Busy(Option<Arc<Keys>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(keys) = &self.0 {
            keys.known.send_if_modified(|known| std::mem::take(&mut known.busy));
        }
    }
}

/// The public keys of a JWK set (RFC 7517). What is for another use, or of a kind that is not known, is left out.
fn parse(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(text).map_err(|e| format!("its keys are not JSON: {e}"))?;
    let keys = set
        .get("keys")
        .and_then(Value::as_array)
        .ok_or("it is no set of keys")?;
    Ok(keys.iter().take(MOST).filter_map(key).collect())
}

fn key(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let signs = jwk
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|u| *u == PublicKeyUse::Signature);
    // A shared secret has no place among public keys.
    let public = !matches!(
        jwk.algorithm,
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_)
    );
    (signs && public).then_some(())?;
    Some(Key {
        id: jwk.common.key_id.clone(),
        algorithm: value.get("alg").and_then(Value::as_str).map(str::to_owned),
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}

fn fitting(keys: &[Key], id: Option<&str>, algorithm: Algorithm) -> Vec<Key> {
    let name = format!("{algorithm:?}");
    let fits = |key: &&Key| {
        key.key.family() == algorithm.family()
            && key.algorithm.as_ref().is_none_or(|a| *a == name)
            && (id.is_none() || key.id.as_deref() == id)
    };
    keys.iter().filter(fits).take(8).cloned().collect()
}
