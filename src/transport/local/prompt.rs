//! A front whose replies begin at once, so that who asks knows that the request was taken.
//!
//! A client that speaks stdio has its messages in an order. Each of them is a request of its own here, over a connection
//! of its own, and those overtake each other. The head of a reply says that the request stands in its place in the
//! router: `pointsman connect` sends the next one then.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures_util::{StreamExt, stream};
use http::header::ACCEPT;
use http::{HeaderMap, Method};

use crate::transport::{Admitting, Events, Front, Head, HttpReply, HttpRequest, Page, Replying, sse};

/// Turns every reply of the front inside that is not there at once into an event stream, which begins at once.
pub struct Prompt(pub Arc<dyn Front>);

impl Front for Prompt {
    fn serve(self: Arc<Self>, request: HttpRequest) -> Replying {
        let streams = request.method == Method::POST && accepts_events(&request.headers);
        let mut replying = Arc::clone(&self.0).serve(request);
        if !streams {
            return replying;
        }
        Box::pin(async move {
            let first = poll_fn(|cx| Poll::Ready(replying.as_mut().poll(cx))).await;
            match first {
                Poll::Ready(reply) => reply,
                Poll::Pending => {
                    let taken = stream::iter([sse::comment("taken")]);
                    HttpReply::Stream {
                        headers: HeaderMap::new(),
                        events: Box::pin(taken.chain(stream::once(replying).flat_map(events))),
                    }
                }
            }
        })
    }

    fn admit<'a>(&'a self, head: Head<'a>) -> Admitting<'a> {
        self.0.admit(head)
    }

    fn metadata(&self, head: Head<'_>) -> Option<Page> {
        self.0.metadata(head)
    }

    fn page(&self, path: &str) -> Option<Page> {
        self.0.page(path)
    }
}

/// What is left of a reply whose head has been sent.
fn events(reply: HttpReply) -> Events {
    match reply {
        HttpReply::Empty { .. } => Box::pin(stream::empty()),
        HttpReply::Json { body, .. } => Box::pin(stream::iter([sse::event(&String::from_utf8_lossy(&body))])),
        HttpReply::Stream { events, .. } => events,
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    values.any(|v| v.contains("text/event-stream") || v.contains("*/*"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;
    use http::StatusCode;
    use tokio::sync::watch;

    use super::*;

    struct Slow(watch::Receiver<bool>);

    impl Front for Slow {
        fn serve(self: Arc<Self>, _: HttpRequest) -> Replying {
            let mut go = self.0.clone();
            Box::pin(async move {
                go.wait_for(|go| *go).await.unwrap();
                HttpReply::Json {
                    status: StatusCode::BAD_REQUEST,
                    headers: HeaderMap::new(),
                    body: Bytes::from_static(b"{}"),
                }
            })
        }

        fn admit<'a>(&'a self, _: Head<'a>) -> Admitting<'a> {
            Admitting::Now(Ok(None))
        }

        fn metadata(&self, _: Head<'_>) -> Option<Page> {
            None
        }

        fn page(&self, _: &str) -> Option<Page> {
            None
        }
    }

    fn request(accept: &'static str) -> HttpRequest {
        HttpRequest {
            method: Method::POST,
            endpoint: String::new(),
            headers: [(ACCEPT, accept.parse().unwrap())].into_iter().collect(),
            body: Bytes::new(),
            connection: 1,
            principal: None,
            local: true,
        }
    }

    #[tokio::test]
    async fn a_reply_that_takes_time_begins_at_once_for_those_who_read_streams() {
        let (go, told) = watch::channel(false);
        let front = Arc::new(Prompt(Arc::new(Slow(told))));
        let reply = Arc::clone(&front).serve(request("application/json, text/event-stream"));
        let Some(HttpReply::Stream { mut events, .. }) = reply.now_or_never() else {
            panic!("the reply waits for its end")
        };
        assert_eq!(events.next().now_or_never().flatten().unwrap(), sse::comment("taken"));
        assert!(events.next().now_or_never().is_none());
        let patient = Arc::clone(&front).serve(request("application/json"));
        go.send_replace(true);
        assert_eq!(events.next().await.unwrap(), sse::event("{}"));
        assert!(events.next().await.is_none());
        for reply in [patient, front.serve(request("text/event-stream"))] {
            assert!(matches!(reply.await, HttpReply::Json { status, .. } if status == StatusCode::BAD_REQUEST));
        }
    }
}
