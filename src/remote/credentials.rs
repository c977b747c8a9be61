//! The router's own tokens for a server: got by the client-credentials grant (RFC 6749, section 4.4), renewed before
//! they expire, one request at a time however many calls want one. No agent's token has any part in this.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::web;
use crate::config::{ClientAuth, OAuth, TokenServer};
use crate::wire::discovery;

/// A token is renewed so long before its end, or when a fifth of its life is left, if that is later.
const AHEAD: Duration = Duration::from_secs(60);
/// For tokens that do not say how long they live.
const LIFE: Duration = Duration::from_secs(300);
/// Time for one request to the authorization server.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a request that failed, and after a token that was refused as soon as it was there.
const AGAIN: Duration = Duration::from_secs(1);
const FRUITLESS: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const LIMIT: usize = 256 * 1024;

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// The authorization server does not give one.
    Refused(String),
    /// It cannot be reached, or has no time.
    Unreachable(String),
}

/// A token.
#[derive(Clone)]
pub(super) struct Bearer {
    pub(super) value: HeaderValue,
    number: u64,
    /// From then on it is renewed.
    stale: Instant,
    /// From then on it is of no use.
    end: Instant,
}

#[derive(Clone, Default)]
struct State {
    bearer: Option<Bearer>,
    tries: u64,
    failed: Option<(NoToken, Instant)>,
}

/// The credentials for one server, shared by all connections to it.
pub(super) struct Credentials {
    settings: OAuth,
    state: watch::Sender<State>,
    busy: AtomicBool,
    /// Given out with the token before: good for the next one (RFC 6749, section 6).
    refresh: Mutex<Option<String>>,
    /// The last renewal was because of a refusal, and nothing was accepted since.
    doubtful: Mutex<Option<Instant>>,
}

/// Keeps the credentials of a backend over the lives of its connections.
#[derive(Default)]
pub struct Wallet(Mutex<Option<Arc<Credentials>>>);

impl Wallet {
    /// The credentials by these settings: the same as long as these are.
    pub(super) fn open(&self, settings: &OAuth) -> Arc<Credentials> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref().filter(|one| one.settings == *settings) {
            Some(one) => Arc::clone(one),
            None => Arc::clone(kept.insert(Credentials::new(settings.clone()))),
        }
    }
}

impl Credentials {
    fn new(settings: OAuth) -> Arc<Self> {
        Arc::new(Self {
            settings,
            state: watch::Sender::default(),
            busy: AtomicBool::new(false),
            refresh: Mutex::default(),
            doubtful: Mutex::default(),
        })
    }

    /// The token to send. Waits for one where there is none.
    pub(super) async fn bearer(self: &Arc<Self>) -> Result<Bearer, NoToken> {
        let mut news = self.state.subscribe();
        let known = news.borrow_and_update().clone();
        let now = Instant::now();
        match known.bearer {
            Some(bearer) if now < bearer.stale => return Ok(bearer),
            Some(bearer) if now < bearer.end => {
                // Aside: the old one is good as long as it takes.
                self.ask(&known.failed);
                return Ok(bearer);
            }
            _ => {}
        }
        if let Some((why, since)) = &known.failed
            && since.elapsed() < AGAIN
        {
            return Err(why.clone());
        }
        self.ask(&None);
        // Whatever came of it is read below.
        let _ = timeout(2 * PATIENCE, news.wait_for(|state| state.tries != known.tries)).await;
        let state = self.state.borrow().clone();
        // One that came just now is good once, however short its life is.
        let good = |bearer: &Bearer| Instant::now() < bearer.end || bearer.number > known.tries;
        match (state.bearer.filter(good), state.failed) {
            (Some(bearer), _) => Ok(bearer),
            (None, Some((why, _))) => Err(why),
            (None, None) => Err(NoToken::Unreachable("no token came".to_owned())),
        }
    }

    /// The server did not accept this token (HTTP 401): whether there is any use in another one.
    pub(super) fn refused(&self, bearer: &Bearer) -> bool {
        let mut doubtful = self.doubtful.lock().unwrap_or_else(PoisonError::into_inner);
        if doubtful.is_some_and(|since| since.elapsed() < FRUITLESS) {
            // Except for those who had the one before, and could not know.
            let newer = |known: &Bearer| known.number > bearer.number;
            return self.state.borrow().bearer.as_ref().is_none_or(newer);
        }
        let spent = |state: &mut State| {
            let same = state.bearer.as_ref().is_some_and(|known| known.number == bearer.number);
            if same {
                state.bearer = None;
            }
            same
        };
        if self.state.send_if_modified(spent) {
            *doubtful = Some(Instant::now());
        }
        true
    }

    /// The server accepted one.
    pub(super) fn accepted(&self) {
        *self.doubtful.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Begins to ask for a token, unless somebody does already, or that has just failed.
    fn ask(self: &Arc<Self>, failed: &Option<(NoToken, Instant)>) {
        let just = failed.as_ref().is_some_and(|(_, since)| since.elapsed() < AGAIN);
        if just || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let busy = Busy(Arc::clone(self));
        tokio::spawn(async move {
            let got = match timeout(PATIENCE, busy.0.token()).await {
                Ok(got) => got,
                Err(_) => Err(NoToken::Unreachable(
                    "the authorization server does not answer".to_owned(),
                )),
            };
            busy.0.state.send_modify(|state| {
                state.tries += 1;
                match got {
                    Ok(bearer) => {
                        let number = state.tries;
                        state.bearer = Some(Bearer { number, ..bearer });
                        state.failed = None;
                    }
                    Err(why) => {
                        debug!("no token: {why:?}");
                        state.failed = Some((why, Instant::now()));
                    }
                }
            });
        });
    }

    async fn token(&self) -> Result<Bearer, NoToken> {
        let url = self.place().await?;
        let refresh = self.refresh.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(refresh) = refresh
            && let Ok(bearer) = self
                .grant(&url, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)])
                .await
        {
            return Ok(bearer);
        }
        self.grant(&url, &[("grant_type", "client_credentials")]).await
    }

    async fn place(&self) -> Result<String, NoToken> {
        let issuer = match &self.settings.server {
            TokenServer::Url(url) => return Ok(url.clone()),
            TokenServer::Issuer(issuer) => issuer,
        };
        let mut failed = NoToken::Refused(String::new());
        for place in discovery::places(issuer) {
            let uri = parsed(&place)?;
            match web::get(uri, self.settings.ca_file.as_deref(), LIMIT).await {
                Ok(metadata) if discovery::is_metadata(&metadata) => {
                    return discovery::endpoint(&metadata, issuer, "token_endpoint").map_err(NoToken::Refused);
                }
                Ok(_) => failed = NoToken::Refused(format!("{place} holds no metadata")),
                Err(error) => failed = NoToken::Unreachable(format!("{place}: {error}")),
            }
        }
        Err(failed)
    }

    async fn grant(&self, url: &str, grant: &[(&str, &str)]) -> Result<Bearer, NoToken> {
        let OAuth {
            client_id,
            client_secret,
            client_auth,
            scopes,
            resource,
            audience,
            ca_file,
            ..
        } = &self.settings;
        let scopes = scopes.join(" ");
        let mut fields = grant.to_vec();
        let some = [
            ("scope", Some(&scopes)),
            ("resource", resource.as_ref()),
            ("audience", audience.as_ref()),
        ];
        fields.extend(
            some.iter()
                .filter_map(|(name, value)| Some((*name, value.filter(|v| !v.is_empty())?.as_str()))),
        );
        let mut authorization = None;
        match client_auth {
            ClientAuth::Post => fields.extend([
                ("client_id", client_id.as_str()),
                ("client_secret", &client_secret.text),
            ]),
            ClientAuth::Basic => {
                let pair = format!("{}:{}", encoded(client_id), encoded(&client_secret.text));
                let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair)));
                authorization = value.ok().map(|mut value| {
                    value.set_sensitive(true);
                    value
                });
            }
        }
        let form: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let answer = web::post(parsed(url)?, ca_file.as_deref(), form.join("&"), authorization, LIMIT).await;
        let (status, body) = answer.map_err(|why| NoToken::Unreachable(format!("{url}: {why}")))?;
        let (bearer, refresh) = read(status, &body)?;
        if let Some(refresh) = refresh {
            *self.refresh.lock().unwrap_or_else(PoisonError::into_inner) = Some(refresh);
        }
        Ok(bearer)
    }
}

/// Somebody asks; when this is dropped, nobody does.
struct Busy(Arc<Credentials>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

fn parsed(url: &str) -> Result<Uri, NoToken> {
    url.parse().map_err(|_| NoToken::Refused(format!("{url} is no URL")))
}

/// What a token server said (RFC 6749, sections 5.1 and 5.2): a token, and one for the next time.
fn read(status: StatusCode, body: &[u8]) -> Result<(Bearer, Option<String>), NoToken> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    if status != StatusCode::OK {
        let said = text("error")
            .filter(|e| e.bytes().all(|b| b.is_ascii_graphic()))
            .unwrap_or("no reason");
        let why = format!("the authorization server answered with HTTP {status}: {said}");
        return Err(
            match status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                true => NoToken::Unreachable(why),
                false => NoToken::Refused(why),
            },
        );
    }
    let refused = |why: &str| NoToken::Refused(format!("the answer of the authorization server {why}"));
    let token = text("access_token").ok_or_else(|| refused("holds no token"))?;
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(refused("holds a token that is no bearer token"));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| refused("holds no proper token"))?;
    value.set_sensitive(true);
    let life = answer
        .get("expires_in")
        .and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()));
    // Beyond a day nobody waits for it to expire.
    let life = life.map_or(LIFE, |seconds| Duration::from_secs(seconds.min(24 * 3600)));
    let now = Instant::now();
    let bearer = Bearer {
        value,
        number: 0,
        stale: now + life.saturating_sub(AHEAD.min(life / 5)),
        end: now + life,
    };
    Ok((bearer, text("refresh_token").map(str::to_owned)))
}

/// As in a form: what is not a letter, a digit or one of a few signs is escaped.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
