//! One message and its reply, from the connection to the last event.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::sleep;

use super::client::Mark;
use super::link::{Link, NoReply};
use super::origin::within;
use super::out::Out;
use super::reply::{Content, Fault, Feed, content, refusal, whole};
use crate::wire::message::write_request;
use crate::wire::{Message, Topic, method};

/// Before a stream is taken up again, unless the server names a time.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// The longest time that a server may name, and the longest pause between tries.
pub(super) const RETRY_MOST: Duration = Duration::from_secs(30);
/// A stream is taken up so often in a row without anything on it: servers that have themselves polled say at least
/// where they are.
const RESUMED: u32 = 5;
/// Redirects that are followed.
const HOPS: u32 = 3;

/// How an exchange, or a stream, ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All was handed over that came.
    Over,
    /// The server has the message; what it says to it comes on another stream.
    Taken,
    /// The server cannot be reached: nothing was sent.
    Unreachable(String),
    /// The server had no time for it: nothing was done.
    Busy {
        /// What it said.
        why: String,
        /// When it wants to be asked again.
        after: Option<Duration>,
    },
    /// There is no token for it now: nothing was sent, which says nothing of the server.
    Keyless(String),
    /// The server does not know the session any more: nothing was done.
    SessionLost(String),
    /// It was sent, and there will be no answer. `again`: another try may have one.
    Broken {
        /// What happened.
        why: String,
        /// Another try may go better.
        again: bool,
    },
    /// It was sent, and the server, or whoever stands before it, said that something went wrong.
    Faulty(String),
    /// The server will not have it.
    Refused(String),
    /// This is no server of the streamable transport.
    NotStreamable(String),
    /// The server has no stream of its own.
    NoStream,
}

impl From<NoReply> for End {
    fn from(no: NoReply) -> Self {
        match no {
            NoReply::Unsent(why) => Self::Unreachable(why),
            NoReply::Broken(why) => Self::broken(&why),
            NoReply::NoToken(why) => Self::Refused(why),
            NoReply::Keyless(why) => Self::Keyless(why),
        }
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLong(limit) => Self::Broken {
                why: format!("it sent a message over the limit of {limit} bytes"),
                again: false,
            },
            Fault::Broken(why) => Self::broken(&why),
        }
    }
}

impl End {
    fn broken(why: &str) -> Self {
        Self::Broken {
            why: format!("its connection broke ({why})"),
            again: true,
        }
    }
}

/// Posts a message and hands over what comes back. `mark` tells whether it was written.
pub(super) async fn exchange(link: &Link, out: &Out, mark: &Arc<Mark>) -> End {
    if link.is_old() {
        let mut endpoint = link.endpoint.subscribe();
        let known = endpoint.wait_for(Option::is_some).await;
        let Some(uri) = known.ok().and_then(|uri| uri.clone()) else {
            return End::Unreachable("its event stream is gone".to_owned());
        };
        return match link.post(&uri, out, mark).await {
            Err(no) => no.into(),
            Ok(response) if response.status().is_success() => End::Taken,
            Ok(response) => refusal(link, out, response).await,
        };
    }
    for _ in 0..=HOPS {
        let uri = link.url();
        let response = match link.post(&uri, out, mark).await {
            Err(no) => return no.into(),
            Ok(response) => response,
        };
        match response.status() {
            status if status.is_success() => return success(link, out, response).await,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
                match location.and_then(|location| within(&uri, location)) {
                    Some(to) => link.moved(to),
                    None => {
                        let why = "it redirects to another origin, where the router does not follow";
                        return End::Refused(why.to_owned());
                    }
                }
            }
            status if out.method == method::INITIALIZE && no_streamable(status, response.headers()) => {
                return End::NotStreamable(format!("it answered with HTTP {status}"));
            }
            _ => return refusal(link, out, response).await,
        }
    }
    End::Refused("it redirects without end".to_owned())
}

/// What a server that knows only HTTP+SSE says to a message at its stream's URL.
fn no_streamable(status: StatusCode, headers: &HeaderMap) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST)
        // With an answer of the protocol it is one after all.
        && content(headers) != Content::Json
}

async fn success(link: &Link, out: &Out, response: Response<Incoming>) -> End {
    let (head, body) = response.into_parts();
    let Some(id) = out.id() else {
        // The reply to a notification has nothing to say.
        return match whole(body, link.limit).await {
            Ok(_) => End::Over,
            Err(fault) => fault.into(),
        };
    };
    match content(&head.headers) {
        Content::Json => {
            let text = match whole(body, link.limit).await {
                Ok(text) => text,
                Err(fault) => return fault.into(),
            };
            if out.method == method::INITIALIZE {
                link.welcome(&head.headers, std::str::from_utf8(&text).unwrap_or_default());
            }
            // Whether a call's answer is one, its owner finds out.
            let answers = out.call.is_some() || answers(&text, id);
            link.pass(text, out.call).await;
            match answers {
                true => End::Over,
                false => unanswered(),
            }
        }
        Content::Events => events(link, out, id, &head.headers, Feed::new(body, link.limit)).await,
        Content::Other => End::Broken {
            why: format!("its reply (HTTP {}) holds no message", head.status),
            again: false,
        },
    }
}

/// An answer that came, and is none.
fn unanswered() -> End {
    End::Broken {
        why: "its reply holds no answer".to_owned(),
        again: false,
    }
}

fn answers(text: &[u8], id: &str) -> bool {
    let text = std::str::from_utf8(text).unwrap_or_default();
    matches!(Message::parse(text), Ok(Message::Response(r)) if r.id.as_ref().is_some_and(|i| i.as_raw() == id))
}

/// Reads the event stream that answers a request, taking it up again where the server allows that.
async fn events(link: &Link, out: &Out, id: &str, headers: &HeaderMap, mut feed: Feed) -> End {
    let (mut last, mut retry, mut resumed) = (None, RETRY, 0);
    loop {
        let end = match feed.next().await {
            Some(Ok(event)) => {
                if out.renewed.swap(false, Ordering::Relaxed) {
                    let body = std::str::from_utf8(&out.body).unwrap_or_default();
                    tell_changed(link, |topic| body.contains(topic.listen_key())).await;
                }
                last = event.id.or(last);
                retry = event
                    .retry
                    .map_or(retry, |ms| Duration::from_millis(ms).min(RETRY_MOST));
                resumed = 0;
                if event.data.is_empty() {
                    continue;
                }
                let done = answers(&event.data, id);
                if done && out.method == method::INITIALIZE {
                    link.welcome(headers, std::str::from_utf8(&event.data).unwrap_or_default());
                }
                link.pass(event.data.into(), out.call).await;
                if done {
                    feed.finish().await;
                    return End::Over;
                }
                continue;
            }
            Some(Err(fault @ Fault::TooLong(_))) => return fault.into(),
            Some(Err(fault)) => fault.into(),
            None => End::Broken {
                why: "its event stream ended without an answer".to_owned(),
                again: true,
            },
        };
        // What was written is taken up again by its last event, never sent again.
        let Some(after) = last.as_deref().filter(|_| link.is_legacy() && resumed < RESUMED) else {
            return end;
        };
        resumed += 1;
        sleep(retry).await;
        match link.stream(Some(after)).await {
            Ok(response) if response.status().is_success() && content(response.headers()) == Content::Events => {
                feed = Feed::new(response.into_body(), link.limit);
            }
            Ok(response) if response.status().is_server_error() => {}
            // The server that had the call is gone, and its answer with it.
            Ok(_) => return end,
            Err(_) => {}
        }
    }
}

/// Keeps the stream of a modern server's changes open until the server ends it in order: it is for the owner then to
/// ask anew.
pub(super) async fn listen(link: &Link, out: &Out) -> End {
    let mut pause = RETRY;
    loop {
        let opened = tokio::time::Instant::now();
        match exchange(link, out, &Arc::default()).await {
            End::Broken { .. } | End::Faulty(_) | End::Busy { .. } | End::Keyless(_) => {}
            end => return end,
        }
        if opened.elapsed() > RETRY_MOST {
            pause = RETRY;
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
        out.renewed.store(true, Ordering::Relaxed);
    }
}

/// After a gap in a stream of changes: what was missed is found out by asking anew.
pub(super) async fn tell_changed(link: &Link, about: impl Fn(Topic) -> bool) {
    for topic in Topic::ALL.into_iter().filter(|topic| about(*topic)) {
        link.pass(write_request(None, topic.changed(), None).into(), None).await;
    }
}
