//! What an agent hears while a call of its runs: progress under its own token, and its log messages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::mpsc;

use super::first_word::FirstWord;
use super::notes::NoteSender;
use super::ring::Rank;
use super::store::Session;
use crate::backend::{Ask, Sink, refusal};
use crate::router::Listener;
use crate::transport::sse;
use crate::wire::json::quote;
use crate::wire::message::write_request;
use crate::wire::{Object, RawJson, method};

/// The smallest step of a progress series, and the unit in which the router counts while a call is held: small
/// beside any number that a server reports, so that the two make one rising series.
const STEP: f64 = 1e-6;

/// Progress that the router sends while a call is held and progress of the target, as one series that rises.
#[derive(Debug, Default)]
pub struct Series {
    last: Option<f64>,
}

impl Series {
    /// What is reported for a target's number: itself where it rises, else the least that does.
    fn reported(&mut self, value: f64) -> Option<f64> {
        let raised = match self.last {
            Some(last) if value <= last => above(last),
            _ => value,
        };
        self.last = Some(raised);
        (raised > value).then_some(raised)
    }

    /// The router's own next number.
    fn next(&mut self) -> f64 {
        let next = self.last.map_or(STEP, above);
        self.last = Some(next);
        next
    }
}

fn above(last: f64) -> f64 {
    let next = last + STEP;
    if next > last { next } else { last.next_up() }
}

/// Where what is said in the course of a call goes.
#[derive(Clone)]
pub(super) enum Voice {
    /// To a modern agent, as long as it stays.
    Notes(NoteSender),
    /// To a legacy agent, who may come back.
    Stream(Arc<FirstWord>),
}

/// A listener of one call with an event stream.
pub struct CallListener {
    out: Mutex<Out>,
    /// The least severity of log messages wanted; `None` for none at all.
    level: Option<u8>,
    asks: Asks,
}

/// Where the words go.
struct Out {
    /// `None` while the call is parked and nobody listens.
    events: Option<Voice>,
    /// The agent's token, raw.
    token: Option<String>,
    series: Series,
}

/// Where requests of the target go.
pub(super) enum Asks {
    /// Nowhere: the agent cannot be asked.
    Refused,
    /// To a legacy agent, on the stream of its call.
    Session(Arc<Session>),
    /// To whoever answers the call of a modern agent with `input_required`.
    Input(mpsc::Sender<Ask>),
}

impl CallListener {
    /// A listener whose events go to `events`.
    pub(super) fn new(events: Option<Voice>, token: Option<String>, level: Option<u8>, asks: Asks) -> Self {
        let out = Mutex::new(Out {
            events,
            token,
            series: Series::default(),
        });
        Self { out, level, asks }
    }

    /// The call goes on under another request of the agent, with a stream and a token of that.
    pub(super) fn attach(&self, events: Option<Voice>, token: Option<String>) {
        *self.out() = Out {
            events,
            token,
            series: Series::default(),
        };
    }

    /// The stream and the token of this request are those of the call that `other` listens to.
    pub(super) fn hand_over(&self, other: &Self) {
        let (events, token) = {
            let mut out = self.out();
            (out.events.take(), out.token.take())
        };
        other.attach(events, token);
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Out {
    fn send(&self, method: &str, params: Option<&str>) {
        let Some(events) = &self.events else { return };
        let message = write_request(None, method, params);
        // Where there is no room, some are missed.
        let _ = match events {
            Voice::Notes(notes) => notes.send(sse::event(&message)),
            Voice::Stream(word) => word.stream().is_some_and(|stream| stream.say(Rank::Passing, &message)),
        };
    }
}

impl Sink for CallListener {
    fn progress(&self, params: RawJson) {
        // Held over the send: two numbers must go out in the order in which they were given.
        let mut out = self.out();
        let Some(token) = out.token.clone() else { return };
        let Ok(mut params) = Object::parse(params.as_str()) else {
            return;
        };
        let Some(value) = params
            .get("progress")
            .and_then(|p| p.parse::<f64>().ok())
            .filter(|v| v.is_finite())
        else {
            return;
        };
        params.set("progressToken", token);
        if let Some(raised) = out.series.reported(value) {
            params.set("progress", raised.to_string());
        }
        out.send(method::PROGRESS, Some(&params.to_text()));
    }

    fn log(&self, rank: u8, params: RawJson) {
        if self.level.is_some_and(|level| rank >= level) {
            self.out().send(method::MESSAGE, Some(params.as_str()));
        }
    }

    fn ask(&self, ask: Ask) {
        match &self.asks {
            Asks::Refused => {
                let _ = ask.reply.send(Err(refusal("the client cannot be asked")));
            }
            Asks::Session(session) => {
                let stream = match &self.out().events {
                    Some(Voice::Stream(word)) => word.stream(),
                    _ => None,
                };
                session.put(ask, stream);
            }
            Asks::Input(asks) => {
                if let Err(mpsc::error::TrySendError::Full(ask) | mpsc::error::TrySendError::Closed(ask)) =
                    asks.try_send(ask)
                {
                    let _ = ask.reply.send(Err(refusal("too many requests wait for this client")));
                }
            }
        }
    }

    fn note(&self, method: &str, params: Option<&RawJson>) {
        self.out().send(method, params.map(RawJson::as_str));
    }

    fn later(&self) -> Option<Arc<dyn Sink>> {
        match &self.asks {
            Asks::Session(session) => session.later(),
            Asks::Refused | Asks::Input(_) => None,
        }
    }
}

impl Listener for CallListener {
    fn waiting(&self, backend: &str, ahead: usize, eta: Option<Duration>, state: &str) {
        let mut out = self.out();
        let Some(token) = out.token.clone() else { return };
        let when = eta.map_or_else(|| "unknown".to_owned(), |eta| format!("{:.1} s", eta.as_secs_f64()));
        let message = format!("waiting for {backend} ({state}): {ahead} ahead, ETA {when}");
        let progress = out.series.next();
        out.send(
            method::PROGRESS,
            Some(&format!(
                "{{\"progressToken\":{token},\"progress\":{progress},\"message\":{}}}",
                quote(&message)
            )),
        );
    }
}

/// Hears for a session, and does not keep it alive.
pub(super) struct Ear(pub(super) Weak<Session>);

impl Sink for Ear {
    fn progress(&self, _: RawJson) {}

    fn log(&self, rank: u8, params: RawJson) {
        if let Some(session) = self.0.upgrade() {
            session.log(rank, params);
        }
    }

    fn ask(&self, ask: Ask) {
        match self.0.upgrade() {
            Some(session) => session.put(ask, None),
            None => drop(ask.reply.send(Err(refusal("the client's session ended")))),
        }
    }

    fn note(&self, method: &str, params: Option<&RawJson>) {
        if let Some(session) = self.0.upgrade() {
            session.note(method, params);
        }
    }

    fn later(&self) -> Option<Arc<dyn Sink>> {
        Some(Arc::new(Self(Weak::clone(&self.0))))
    }
}

/// A session hears of its calls that have no stream of their own: what they say goes to the session's stream.
impl Sink for Session {
    fn progress(&self, _: RawJson) {}

    fn log(&self, rank: u8, params: RawJson) {
        if rank >= self.level.load(std::sync::atomic::Ordering::Relaxed) {
            let message = write_request(None, method::MESSAGE, Some(params.as_str()));
            self.push(Rank::Passing, &message);
        }
    }

    fn ask(&self, ask: Ask) {
        self.put(ask, None);
    }

    fn note(&self, method: &str, params: Option<&RawJson>) {
        self.push(Rank::Passing, &write_request(None, method, params.map(RawJson::as_str)));
    }

    fn later(&self) -> Option<Arc<dyn Sink>> {
        Some(Arc::new(Ear(Weak::clone(&self.me))))
    }
}

impl Listener for Session {
    fn waiting(&self, _: &str, _: usize, _: Option<Duration>, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use proptest::prelude::*;

    #[test]
    fn held_progress_and_the_servers_own_rise_strictly() {
        let (sender, mut receiver) = crate::session::notes::channel(16);
        let listener = CallListener::new(Some(Voice::Notes(sender)), Some("\"t\"".into()), None, Asks::Refused);
        listener.waiting("git", 2, Some(Duration::from_millis(2_100)), "backoff");
        listener.waiting("git", 1, None, "starting");
        for value in ["0", "0.5", "0.5", "1", "7e0"] {
            listener.progress(RawJson::from(format!(
                "{{\"progressToken\":42,\"progress\":{value},\"total\":7}}"
            )));
        }
        drop(listener);
        let mut seen = Vec::new();
        while let Some(Some(event)) = receiver.recv().now_or_never() {
            seen.push(
                String::from_utf8(event.to_vec())
                    .unwrap()
                    .replace("event: message\ndata: ", "")
                    .trim()
                    .replace(
                        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":",
                        "",
                    ),
            );
        }
        insta::assert_snapshot!(seen.join("\n"), @r#"
        {"progressToken":"t","progress":0.000001,"message":"waiting for git (backoff): 2 ahead, ETA 2.1 s"}}
        {"progressToken":"t","progress":0.000002,"message":"waiting for git (starting): 1 ahead, ETA unknown"}}
        {"progressToken":"t","progress":0.000003,"total":7}}
        {"progressToken":"t","progress":0.5,"total":7}}
        {"progressToken":"t","progress":0.500001,"total":7}}
        {"progressToken":"t","progress":1,"total":7}}
        {"progressToken":"t","progress":7e0,"total":7}}
        "#);
    }

    proptest! {
        #[test]
        fn any_series_rises(values in proptest::collection::vec(prop_oneof![Just(None), any::<i32>().prop_map(|v| Some(f64::from(v))), (-1e300..1e300_f64).prop_map(Some)], 1..40)) {
            let (mut series, mut last) = (Series::default(), f64::NEG_INFINITY);
            for value in values {
                let now = match value {
                    None => series.next(),
                    Some(value) => series.reported(value).unwrap_or(value),
                };
                prop_assert!(now > last, "{} after {}", now, last);
                last = now;
            }
        }
    }
}
