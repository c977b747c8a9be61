//! Replies as they come in: whole bodies, event streams, and what a status without an answer means.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::exchange::End;
use super::link::Link;
use super::out::Out;
use super::sse::{Event, Events};
use crate::error::chain;
use crate::wire::message::write_response;
use crate::wire::{Message, Object, codes};

/// Before a request is told to have failed that a server had no time for: the next one may do better.
const BUSY: Duration = Duration::from_millis(100);
/// The same where the server names a time.
const BUSY_MOST: Duration = Duration::from_secs(1);
/// Nobody waits for so long, and clocks go no further than they go.
const AFTER_MOST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest body that is looked at for the reason of a refusal.
const REASON: usize = 64 * 1024;

/// What a body holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    Events,
    Other,
}

/// What the headers say of a body.
pub(super) fn content(headers: &HeaderMap) -> Content {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Content::Json
    } else if kind.eq_ignore_ascii_case("text/event-stream") {
        Content::Events
    } else {
        Content::Other
    }
}

/// Why a body cannot be read to its end.
pub(super) enum Fault {
    /// It is longer than a message may be.
    TooLong(usize),
    /// The connection broke.
    Broken(String),
}

/// A whole body of at most `limit` bytes.
pub(super) async fn whole(mut body: Incoming, limit: usize) -> Result<Bytes, Fault> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|e| Fault::Broken(chain(&e)))?.into_data() else {
            continue;
        };
        if first.len() + rest.len() + data.len() > limit {
            return Err(Fault::TooLong(limit));
        }
        if first.is_empty() {
            // Nearly always all there is, and then taken without a copy.
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::from(&first[..]);
    all.unsplit(rest);
    Ok(all.freeze())
}

/// An event stream that is being read.
pub(super) struct Feed {
    body: Incoming,
    events: Events,
}

impl Feed {
    pub(super) fn new(body: Incoming, limit: usize) -> Self {
        Self {
            body,
            events: Events::new(limit),
        }
    }

    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Event, Fault>> {
        loop {
            match self.events.next() {
                Some(Ok(event)) => return Some(Ok(event)),
                Some(Err(too_long)) => return Some(Err(Fault::TooLong(too_long.0))),
                None => {}
            }
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        self.events.push(&data);
                    }
                }
                Err(error) => return Some(Err(Fault::Broken(chain(&error)))),
            }
        }
    }

    /// Reads on for a moment after all that was wanted came: at its end the connection can be used again.
    pub(super) async fn finish(mut self) {
        let rest = async { while self.body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
        let _ = tokio::time::timeout(Duration::from_millis(100), rest).await;
    }
}

/// What a reply means that is no success.
pub(super) async fn refusal(link: &Link, out: &Out, response: Response<Incoming>) -> End {
    let (head, body) = response.into_parts();
    let status = head.status;
    let said = format!("it answered with HTTP {status}");
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        // Nothing else of this reply goes on: it speaks of the router's credentials, which are not the agent's.
        return End::Refused(format!("it does not accept the router's credentials (HTTP {status})"));
    }
    let body = whole(body, REASON).await.unwrap_or_default();
    let error = std::str::from_utf8(&body)
        .ok()
        .and_then(|text| error_in(text, out.id()));
    if link.has_session() && loses_session(status, error.as_ref()) {
        return End::SessionLost(format!("it no longer knows its session (HTTP {status})"));
    }
    if let (Some(error), Some(id)) = (error, out.id()) {
        // The error belongs to what was posted, whatever id it has: where the server could not read one, it is null.
        link.pass(write_response(id, Err(&error.raw)).into(), out.call).await;
        return End::Over;
    }
    let after = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.parse().ok())
        .map(|secs| Duration::from_secs(secs).min(AFTER_MOST));
    let own = out.call.is_none();
    if own || status == StatusCode::SERVICE_UNAVAILABLE {
        let busy = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        if busy {
            tokio::time::sleep(after.map_or(BUSY, |named| named.clamp(BUSY, BUSY_MOST))).await;
        }
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => End::Busy { why: said, after },
        // A proxy also says that of a connection that broke after the request was passed on: only what the router
        // asks for itself does no harm twice.
        StatusCode::SERVICE_UNAVAILABLE if own => End::Busy { why: said, after },
        _ if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => End::Faulty(said),
        _ => End::Refused(said),
    }
}

/// A JSON-RPC error in the reply to a request.
struct RpcError {
    raw: String,
    code: Option<i64>,
    message: String,
    ours: bool,
}

fn error_in(text: &str, id: Option<&str>) -> Option<RpcError> {
    let Ok(Message::Response(response)) = Message::parse(text) else {
        return None;
    };
    let raw = response.outcome.err()?;
    let error = Object::parse(raw).ok()?;
    Some(RpcError {
        raw: raw.to_owned(),
        code: error.get("code").and_then(|c| c.parse().ok()),
        message: error.get_str("message").unwrap_or_default().to_lowercase(),
        ours: response.id.is_some_and(|i| Some(i.as_raw()) == id),
    })
}

/// 404 says so, but with an answer of the request's own it is that answer, unless that speaks of the session. Others say
/// 400 instead.
fn loses_session(status: StatusCode, error: Option<&RpcError>) -> bool {
    match (status, error) {
        (StatusCode::NOT_FOUND, Some(error)) if error.ours => {
            error.code == Some(-32001)
                || (error.code != Some(codes::METHOD_NOT_FOUND) && error.message.contains("session"))
        }
        (StatusCode::NOT_FOUND, Some(_)) => true,
        (StatusCode::NOT_FOUND | StatusCode::GONE, None) => true,
        (StatusCode::BAD_REQUEST, Some(error)) => {
            matches!(error.code, Some(-32000 | -32001)) && error.message.contains("session")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_session_is_told_from_other_refusals() {
        let lost = |status: u16, body: &str| {
            let error = error_in(body, Some("5"));
            loses_session(StatusCode::from_u16(status).unwrap(), error.as_ref())
        };
        let error = |id: &str, code: i64, message: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#)
        };
        assert!(lost(404, "") && lost(404, "Not Found") && lost(410, ""));
        assert!(lost(404, &error("null", -32001, "Session not found")));
        assert!(lost(
            404,
            &error("\"server-error\"", -32600, "Session has been terminated")
        ));
        assert!(lost(404, &error("5", -32001, "Not found")) && lost(404, &error("5", -32600, "Session expired")));
        assert!(!lost(404, &error("5", -32601, "Method not found: session/x")));
        assert!(!lost(404, &error("5", -32002, "Resource not found")));
        assert!(lost(
            400,
            &error("5", -32000, "Bad Request: No valid session ID provided")
        ));
        assert!(!lost(400, &error("5", -32602, "bad session argument")));
        assert!(!lost(400, "Bad session") && !lost(500, "session"));
    }
}
