//! What the tasks of one incarnation share: where the server is, its session, and how requests are written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::client::{Client, Letter, Mark};
use super::credentials::{Bearer, Credentials, NoToken};
use super::out::Out;
use crate::wire::{Message, Object, Topic, Version, header, method};

const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const AGENT: HeaderValue = HeaderValue::from_static(concat!("pointsman/", env!("CARGO_PKG_VERSION")));
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// Time for the server to take note of the end of its session.
const FAREWELL: Duration = Duration::from_secs(2);

/// A message of the server, and the call on whose stream it came.
pub(super) struct Word(pub(super) Bytes, pub(super) Option<u64>);

/// Why there is no reply.
pub(super) enum NoReply {
    /// The server cannot have seen the request.
    Unsent(String),
    /// It was written, at least in part.
    Broken(String),
    /// There is no token to send it with, and there will be none.
    NoToken(String),
    /// There is none now: that says nothing of the server.
    Keyless(String),
}

/// A session of the legacy era.
struct Legacy {
    id: Option<HeaderValue>,
    /// What the server offers lists of.
    topics: Vec<Topic>,
    version: Option<HeaderValue>,
}

/// Shared by the tasks of one incarnation.
pub(super) struct Link {
    client: Client,
    url: Mutex<Uri>,
    configured: HeaderMap,
    credentials: Option<Arc<Credentials>>,
    legacy: OnceLock<Legacy>,
    /// HTTP+SSE of 2024-11-05 is spoken.
    old: AtomicBool,
    /// Where messages are posted then, once the server has said so.
    pub(super) endpoint: watch::Sender<Option<Uri>>,
    /// Bytes of one message at most.
    pub(super) limit: usize,
    pub(super) patience: Duration,
    words: mpsc::Sender<Word>,
}

impl Link {
    pub(super) fn new(
        client: Client,
        url: Uri,
        (configured, credentials): (HeaderMap, Option<Arc<Credentials>>),
        limit: usize,
        patience: Duration,
        words: mpsc::Sender<Word>,
    ) -> Self {
        Self {
            client,
            url: Mutex::new(url),
            configured,
            credentials,
            legacy: OnceLock::new(),
            old: AtomicBool::new(false),
            endpoint: watch::Sender::new(None),
            limit,
            patience,
            words,
        }
    }

    /// Where the server is.
    pub(super) fn url(&self) -> Uri {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It said that it is elsewhere on its host.
    pub(super) fn moved(&self, to: Uri) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// Whether HTTP+SSE of 2024-11-05 is spoken.
    pub(super) fn is_old(&self) -> bool {
        self.old.load(Ordering::Relaxed)
    }

    /// From now on it is.
    pub(super) fn become_old(&self) {
        self.old.store(true, Ordering::Relaxed);
        // A session from the start: the event stream is it.
        let _ = self.legacy.set(Legacy {
            id: None,
            topics: Vec::new(),
            version: None,
        });
    }

    /// Whether the legacy era is spoken: then there are notifications and answers to post, and streams to take up.
    pub(super) fn is_legacy(&self) -> bool {
        self.legacy.get().is_some()
    }

    /// Whether the server of a legacy session has lists of this.
    pub(super) fn offers(&self, topic: Topic) -> bool {
        self.legacy.get().is_some_and(|legacy| legacy.topics.contains(&topic))
    }

    /// Whether the server gave a session, which it can lose.
    pub(super) fn has_session(&self) -> bool {
        self.is_old() || self.legacy.get().is_some_and(|legacy| legacy.id.is_some())
    }

    /// What the answer to `initialize` says: the session and the revision.
    pub(super) fn welcome(&self, headers: &HeaderMap, answer: &str) {
        let Ok(Message::Response(response)) = Message::parse(answer) else {
            return;
        };
        let Some(result) = response.outcome.ok().and_then(|r| Object::parse(r).ok()) else {
            return;
        };
        // Revisions before 2025-06-18 have no such header, and some servers refuse what they do not know.
        let version = result
            .get_str("protocolVersion")
            .and_then(|v| Version::parse(&v))
            .filter(|version| *version >= Version::V20250618)
            .map(|version| HeaderValue::from_static(version.as_str()));
        let capabilities = result.get("capabilities").and_then(|c| Object::parse(c).ok());
        let offered = |topic: &Topic| {
            capabilities
                .as_ref()
                .is_some_and(|c| c.get(topic.capability()).is_some())
        };
        let _ = self.legacy.set(Legacy {
            topics: Topic::ALL.into_iter().filter(offered).collect(),
            id: headers.get(header::SESSION).cloned(),
            version,
        });
    }

    /// Hands a message of the server over, as one line.
    pub(super) async fn pass(&self, text: Bytes, call: Option<u64>) {
        // JSON text has line breaks only between tokens, where a space means the same.
        let text = match memchr::memchr2(b'\n', b'\r', &text) {
            None => text,
            Some(_) => text
                .iter()
                .map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { *b })
                .collect(),
        };
        // An owner that is gone wants no messages.
        let _ = self.words.send(Word(text, call)).await;
    }

    fn request(&self, verb: Method, uri: &Uri, body: Letter) -> Request<Letter> {
        let mut request = Request::new(body);
        *request.method_mut() = verb;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.extend(
            self.configured
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        headers.entry(USER_AGENT).or_insert(AGENT);
        request
    }

    fn with_session(&self, headers: &mut HeaderMap) {
        if let Some(legacy) = self.legacy.get() {
            headers.extend(
                legacy
                    .id
                    .clone()
                    .map(|id| (HeaderName::from_static(header::SESSION), id)),
            );
            let version = legacy.version.clone();
            headers.extend(version.map(|v| (HeaderName::from_static(header::VERSION), v)));
        }
    }

    /// The token to send, where one is wanted.
    async fn bearer(&self) -> Result<Option<Bearer>, NoReply> {
        let Some(credentials) = &self.credentials else {
            return Ok(None);
        };
        match credentials.bearer().await {
            Ok(bearer) => Ok(Some(bearer)),
            Err(NoToken::Unreachable(why)) => Err(NoReply::Keyless(format!("the router has no token for it: {why}"))),
            Err(NoToken::Refused(why)) => Err(NoReply::NoToken(format!("the router gets no token for it: {why}"))),
        }
    }

    /// Whether a reply says that this token was not accepted, and another one may be.
    fn wants_another(&self, status: StatusCode, bearer: Option<&Bearer>) -> bool {
        match (&self.credentials, bearer) {
            (Some(credentials), Some(bearer)) if status == StatusCode::UNAUTHORIZED => credentials.refused(bearer),
            (Some(credentials), _) => {
                credentials.accepted();
                false
            }
            _ => false,
        }
    }

    /// Posts a message and waits for the head of the reply. A server that answers with 401 has done nothing: then the
    /// message is sent once more, with a new token.
    pub(super) async fn post(&self, uri: &Uri, out: &Out, mark: &Arc<Mark>) -> Result<Response<Incoming>, NoReply> {
        let bearer = self.bearer().await?;
        let response = self.post_with(uri, out, mark, bearer.as_ref()).await?;
        if !self.wants_another(response.status(), bearer.as_ref()) {
            return Ok(response);
        }
        drop(response);
        mark.undone();
        let bearer = self.bearer().await?;
        let response = self.post_with(uri, out, mark, bearer.as_ref()).await?;
        self.wants_another(response.status(), bearer.as_ref());
        Ok(response)
    }

    async fn post_with(
        &self,
        uri: &Uri,
        out: &Out,
        mark: &Arc<Mark>,
        bearer: Option<&Bearer>,
    ) -> Result<Response<Incoming>, NoReply> {
        let letter = Letter::new(out.body.clone(), Arc::clone(mark));
        let mut request = self.request(Method::POST, uri, letter);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(ACCEPT, BOTH);
        headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer.value.clone())));
        match &out.mirrored {
            Some(mirrored) => headers.extend(mirrored.clone()),
            None if out.method == method::INITIALIZE => {}
            None => self.with_session(headers),
        }
        let sending = self.client.send(request);
        tokio::pin!(sending);
        let sent = tokio::select! {
            sent = &mut sending => sent,
            () = sleep(self.patience) => {
                if mark.give_up() {
                    let why = format!("no connection within {:.1} s", self.patience.as_secs_f64());
                    return Err(NoReply::Unsent(why));
                }
                // It is connected: from here on only the call's own bounds count.
                sending.await
            }
        };
        // Nothing was asked of the body: not even in part was it written, whatever went wrong.
        sent.map_err(|error| match mark.give_up() {
            true => NoReply::Unsent(error.why),
            false => NoReply::Broken(error.why),
        })
    }

    /// Asks for an event stream, from after event `last` on.
    pub(super) async fn stream(&self, last: Option<&str>) -> Result<Response<Incoming>, NoReply> {
        let bearer = self.bearer().await?;
        let response = self.stream_with(last, bearer.as_ref()).await?;
        if !self.wants_another(response.status(), bearer.as_ref()) {
            return Ok(response);
        }
        let bearer = self.bearer().await?;
        self.stream_with(last, bearer.as_ref()).await
    }

    async fn stream_with(&self, last: Option<&str>, bearer: Option<&Bearer>) -> Result<Response<Incoming>, NoReply> {
        let mut request = self.request(Method::GET, &self.url(), Letter::empty());
        let headers = request.headers_mut();
        headers.insert(ACCEPT, EVENTS);
        headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer.value.clone())));
        self.with_session(headers);
        headers.extend(last.and_then(|id| Some((LAST_EVENT, HeaderValue::from_str(id).ok()?))));
        self.client.send(request).await.map_err(|error| match error.connect {
            true => NoReply::Unsent(error.why),
            false => NoReply::Broken(error.why),
        })
    }

    /// A connection broke: the unused ones are not to be trusted.
    pub(super) fn renew(&self) {
        self.client.renew();
    }

    /// Ends the session. Whatever comes of it, nobody waits for long.
    pub(super) async fn farewell(&self) {
        let mut request = self.request(Method::DELETE, &self.url(), Letter::empty());
        self.with_session(request.headers_mut());
        let leave = async {
            let bearer = self.bearer().await.ok().flatten();
            let headers = request.headers_mut();
            headers.extend(bearer.map(|bearer| (AUTHORIZATION, bearer.value)));
            self.client.send(request).await
        };
        let _ = timeout(FAREWELL, leave).await;
    }
}
