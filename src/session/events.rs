//! How an answer goes back to a modern agent: as JSON while it comes soon and alone, else as an event stream. Where "soon"
//! is no time at all, everything but an error with a status of its own goes on one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::json_reply;
use super::notes::Notes;
use super::ring::Rank;
use super::store::Session;
use super::stream::Reader;
use crate::backend::Subscription;
use crate::catalog::Endpoint;
use crate::config;
use crate::transport::{Events, HttpReply, Replying, sse};
use crate::wire::Topic;

/// The response of a call, as it becomes ready.
pub(super) type Response = Pin<Box<dyn Future<Output = Body> + Send>>;

/// A response, and the status that it goes with while it goes alone: in the modern era some errors have their own.
pub(super) struct Body {
    pub(super) text: String,
    pub(super) status: StatusCode,
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self {
            text,
            status: StatusCode::OK,
        }
    }
}

impl From<Body> for HttpReply {
    fn from(body: Body) -> Self {
        json_reply(body.status, body.text)
    }
}

/// Answers a modern agent with the response of `call`, which is dropped with the connection: that is how such an agent
/// cancels. `notes` are events that come before it. Where the client reads no streams it is
/// answered with JSON, however long that takes.
pub(super) fn reply(mut call: Response, mut notes: Option<Notes>, streams: bool, listen: &config::Listen) -> Replying {
    if !streams {
        return Box::pin(async move { call.await.into() });
    }
    let (stream_after, keep_alive) = (listen.stream_after, listen.keep_alive);
    Box::pin(async move {
        // The response is polled first: once it is ready, all its notifications are in the channel.
        let (first, last) = tokio::select! {
            biased;
            body = &mut call => {
                let note = notes.as_mut().and_then(Notes::try_recv);
                // An error with a status of its own keeps it, where nothing has been said yet.
                if note.is_none() && !(stream_after.is_zero() && body.status == StatusCode::OK) {
                    return body.into();
                }
                (note, Some(sse::event(&body.text)))
            },
            note = next(&mut notes) => (Some(note), None),
            () = tokio::time::sleep(stream_after) => (Some(sse::comment("working")), None),
        };
        let mut keep_alive = interval_at(Instant::now() + keep_alive, keep_alive);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = CallEvents {
            first,
            call: last.is_none().then_some(call),
            last,
            notes,
            keep_alive,
        };
        HttpReply::Stream {
            headers: HeaderMap::new(),
            events: Box::pin(events),
        }
    })
}

/// The next note; never, where there are none.
async fn next(notes: &mut Option<Notes>) -> Bytes {
    if let Some(receiver) = notes
        && let Some(note) = receiver.recv().await
    {
        return note;
    }
    *notes = None;
    std::future::pending().await
}

/// The event stream of one call: its notifications, then its response, then the end.
struct CallEvents {
    first: Option<Bytes>,
    call: Option<Response>,
    last: Option<Bytes>,
    notes: Option<Notes>,
    keep_alive: Interval,
}

impl Stream for CallEvents {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        // The response is polled first, so that all its notifications are in the channel once it is ready;
        // they go out before it all the same.
        if let Some(call) = &mut self.call
            && let Poll::Ready(body) = call.as_mut().poll(cx)
        {
            self.call = None;
            self.last = Some(sse::event(&body.text));
        }
        if let Some(notes) = &mut self.notes {
            match notes.poll_recv(cx) {
                Poll::Ready(Some(note)) => return Poll::Ready(Some(note)),
                Poll::Ready(None) => self.notes = None,
                Poll::Pending => {}
            }
        }
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(last));
        }
        if self.call.is_none() {
            return Poll::Ready(None);
        }
        match self.keep_alive.poll_tick(cx) {
            Poll::Ready(_) => Poll::Ready(Some(sse::comment("working"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Events from a channel.
struct Feed(mpsc::Receiver<Bytes>);

impl Stream for Feed {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.0.poll_recv(cx)
    }
}

/// What ends a long stream, what it begins with, and what is said on it.
pub(super) struct Long {
    /// Sent first.
    pub first: Option<Bytes>,
    /// The lists whose changes are told.
    pub lists: Vec<Followed>,
    /// Sent last, when the router ends the stream.
    pub last: Option<Bytes>,
    /// False when the router shuts down.
    pub running: watch::Receiver<bool>,
    /// Other events.
    pub others: Others,
    /// What is heard of because the stream is open.
    pub subscriptions: Vec<Subscription>,
    /// Distance of the comments that keep it open.
    pub keep_alive: Duration,
}

/// What else is said on a long stream.
pub(super) enum Others {
    /// Nothing.
    None,
    /// What comes here.
    Notes(Notes),
    /// What is said on the stream of a session: changes of lists too, so that they are there for who comes back.
    Session(Arc<Session>, Reader),
}

impl Others {
    /// The next event; `None` when there will be none. Cancel safe.
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::None => std::future::pending().await,
            Self::Notes(notes) => notes.recv().await,
            Self::Session(_, reader) => reader.next().await,
        }
    }
}

/// A list whose changes are told on a long stream.
pub(super) struct Followed {
    /// What it is.
    pub topic: Topic,
    /// Its version.
    pub version: watch::Receiver<u64>,
    /// The version that the agent knows.
    pub known: u64,
    /// What it is told when there is a later one.
    pub changed: String,
}

impl Followed {
    /// Follows a topic of `endpoint` from the version `known` on.
    pub(super) fn new(endpoint: &Endpoint, topic: Topic, known: u64, changed: String) -> Self {
        Self {
            topic,
            version: endpoint.version(topic),
            known,
            changed,
        }
    }

    /// The version that there is now, if the agent does not know it.
    fn news(&mut self) -> Option<u64> {
        let version = *self.version.borrow_and_update();
        if version <= self.known {
            return None;
        }
        self.known = version;
        Some(version)
    }
}

/// The next change of any of them; an error where the endpoint was removed.
async fn next_change(lists: &mut [Followed]) -> Result<(), watch::error::RecvError> {
    if lists.is_empty() {
        return std::future::pending().await;
    }
    let changes = lists.iter_mut().map(|l| Box::pin(l.version.changed()));
    futures_util::future::select_all(changes).await.0
}

/// A long stream: list changes, and what else is not tied to a call.
pub(super) fn long_stream(long: Long) -> Events {
    // What waits for a slow reader waits in its notes, which are bounded by bytes.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(run_long(long, sender));
    Box::pin(Feed(receiver))
}

async fn run_long(mut long: Long, sender: mpsc::Sender<Bytes>) {
    // They end with the stream.
    let _subscriptions = std::mem::take(&mut long.subscriptions);
    let mut keep_alive = interval_at(Instant::now() + long.keep_alive, long.keep_alive);
    if let Some(first) = long.first.take()
        && sender.send(first).await.is_err()
    {
        return;
    }
    loop {
        for list in &mut long.lists {
            let Some(version) = list.news() else {
                continue;
            };
            match &long.others {
                Others::Session(session, _) => {
                    // Two connections may follow the lists for a moment, and one of them tells.
                    let known = &session.known_lists[list.topic.position()];
                    if known.fetch_max(version, Ordering::Relaxed) < version {
                        session.push(Rank::News, &list.changed);
                    }
                }
                _ => {
                    if sender.send(sse::event(&list.changed)).await.is_err() {
                        return;
                    }
                }
            }
        }
        let event = tokio::select! {
            () = sender.closed() => return,
            changed = next_change(&mut long.lists) => match changed {
                Ok(()) => continue,
                // The endpoint was removed.
                Err(_) => None,
            },
            other = long.others.next() => other,
            _ = long.running.wait_for(|running| !running) => None,
            _ = keep_alive.tick() => {
                if let Others::Session(_, reader) = &long.others {
                    reader.forget();
                }
                Some(sse::comment("open"))
            }
        };
        let Some(event) = event else { break };
        if sender.send(event).await.is_err() {
            return;
        }
    }
    if let Some(last) = long.last {
        let _ = sender.send(last).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::super::notes;
    use super::*;

    #[tokio::test]
    async fn notes_that_come_in_the_moment_of_the_answer_go_before_it() {
        let listen = config::Listen::default();
        let (sender, receiver) = notes::channel(4);
        // As when a target says both while the call is being looked at.
        let response = Box::pin(async move {
            sender.send(Bytes::from_static(b"one "));
            sender.send(Bytes::from_static(b"two "));
            "{}".to_owned().into()
        });
        let HttpReply::Stream { events, .. } = reply(response, Some(receiver), true, &listen).await else {
            panic!("the notes are lost")
        };
        let all: Vec<Bytes> = events.collect().await;
        assert_eq!(all.concat(), [b"one two ", sse::event("{}").as_ref()].concat());

        let quiet = Box::pin(std::future::ready("{}".to_owned().into()));
        let (_sender, receiver) = notes::channel(4);
        let reply = reply(quiet, Some(receiver), true, &listen).await;
        assert!(matches!(reply, HttpReply::Json { body, .. } if body == "{}"));
    }

    #[tokio::test]
    async fn with_no_time_at_all_every_answer_comes_on_a_stream_but_statuses_stay() {
        let listen = config::Listen {
            stream_after: Duration::ZERO,
            ..config::Listen::default()
        };
        let answered = |status, streams| {
            let text = "{}".to_owned();
            reply(
                Box::pin(std::future::ready(Body { text, status })),
                None,
                streams,
                &listen,
            )
        };
        let HttpReply::Stream { events, .. } = answered(StatusCode::OK, true).await else {
            panic!("no stream")
        };
        let all: Vec<Bytes> = events.collect().await;
        assert_eq!(all.concat(), sse::event("{}"));

        for (status, streams) in [(StatusCode::NOT_FOUND, true), (StatusCode::OK, false)] {
            let reply = answered(status, streams).await;
            assert!(
                matches!(reply, HttpReply::Json { status: s, .. } if s == status),
                "{status}"
            );
        }
    }
}
