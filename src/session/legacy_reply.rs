//! How the answer of a legacy agent's request goes back: as JSON while it comes soon and alone, else on an event stream
//! that outlives its connection. Where "soon" is no time at all, every answer goes on one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::events::{Body, Response};
use super::first_word::Told;
use super::store::Session;
use super::stream::{Connection, Reader, Start};
use crate::config;
use crate::transport::{HttpReply, Replying, sse};
use crate::wire::Version;

/// A call in its client's hands. A legacy client's disconnect cancels nothing: the rest of the call then goes on in a
/// task of its own.
struct Attended(Option<Response>);

impl Future for Attended {
    type Output = Body;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Body> {
        let Some(response) = &mut self.0 else {
            return Poll::Pending;
        };
        let ready = std::task::ready!(response.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(ready)
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}

/// How an agent reads streams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Whether it does at all. Otherwise it is answered with JSON, however long that takes.
    pub streams: bool,
    /// Whether it comes over a local socket: such a one does not break, and its client does not come back for more.
    pub local: bool,
}

/// Answers with `response`. `told` hears what is said before it.
pub(super) fn reply(
    response: Response,
    told: Option<Told>,
    session: &Arc<Session>,
    reading: Reading,
    listen: &config::Listen,
) -> Replying {
    let mut call = Attended(Some(response));
    if !reading.streams {
        return Box::pin(async move { call.await.into() });
    }
    let session = Arc::clone(session);
    let times = Times::of(&session, reading.local, listen);
    let stream_after = listen.stream_after;
    Box::pin(async move {
        // The response is polled first: once it is ready, all its notifications are on the stream.
        let body = tokio::select! {
            biased;
            body = &mut call => match &told {
                Some(told) if told.has_more() => Some(body),
                _ if stream_after.is_zero() => Some(body),
                _ => return body.into(),
            },
            () = more(told.as_ref()) => None,
            () = tokio::time::sleep(stream_after) => None,
        };
        let reader = match told {
            Some(told) => told.into_reader(),
            None => session.streams.open().read(Start::Unread),
        };
        let reader = session.streams.serve(reader);
        let stream = Arc::clone(reader.stream());
        match body {
            Some(body) => session.streams.end(&stream, &body.text),
            None => {
                // From here on the call is no longer its connection's.
                tokio::spawn(async move {
                    let body = call.await;
                    session.streams.end(&stream, &body.text);
                });
            }
        }
        connection(reader, &times)
    })
}

/// Ready when there is something to read; never, where nothing can be.
async fn more(told: Option<&Told>) {
    match told {
        Some(told) => std::future::poll_fn(|cx| told.poll_more(cx)).await,
        None => std::future::pending().await,
    }
}

/// What the connections of an agent's streams go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    keep_alive: Duration,
    /// `None` for agents of versions that take no events without data.
    retry: Option<Duration>,
    poll_after: Option<Duration>,
}

impl Times {
    /// Those for an agent.
    pub(super) fn of(session: &Session, local: bool, listen: &config::Listen) -> Self {
        // The official SDKs send none to older clients, which choke on them.
        let retry = (session.version >= Version::V20251125).then_some(listen.retry);
        Self {
            keep_alive: listen.keep_alive,
            retry,
            poll_after: listen.poll_after.filter(|_| retry.is_some() && !local),
        }
    }

    /// What a connection begins with, if anything. A client that resumes is told again where it is: the SDKs forget
    /// it when a connection brings nothing.
    pub(super) fn first(&self, reader: &Reader, otherwise: &str) -> Option<Bytes> {
        match self.retry {
            Some(retry) => Some(reader.primer(retry)),
            None => (!reader.has_more()).then(|| sse::comment(otherwise)),
        }
    }
}

/// A connection of a call's stream.
pub(super) fn connection(reader: Reader, times: &Times) -> HttpReply {
    let first = times.first(&reader, "working");
    HttpReply::Stream {
        headers: HeaderMap::new(),
        events: Box::pin(Connection::new(first, reader, times.keep_alive, times.poll_after)),
    }
}

#[cfg(test)]
#[path = "legacy_reply/tests.rs"]
mod tests;
