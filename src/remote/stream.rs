//! Streams that belong to no request: the one a legacy server speaks on unasked, and the one that is all of HTTP+SSE.

use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::exchange::{End, RETRY, RETRY_MOST, tell_changed};
use super::link::{Link, NoReply};
use super::origin::within;
use super::reply::{Content, Fault, Feed, content};

/// Keeps the stream of a legacy session open (streamable HTTP). Ends where the server has none, or is gone.
pub(super) async fn unasked(link: &Link) -> End {
    let (mut last, mut retry, mut opened, mut failed): (Option<String>, _, _, u32) = (None, RETRY, false, 0);
    let mut too_long: u32 = 0;
    loop {
        match link.stream(last.as_deref()).await {
            Err(NoReply::Unsent(why)) => return End::Unreachable(why),
            Err(NoReply::NoToken(why)) => return End::Refused(why),
            Err(NoReply::Broken(_) | NoReply::Keyless(_)) => failed += 1,
            Ok(response) => {
                let status = response.status();
                if status.is_success() && content(response.headers()) == Content::Events {
                    if opened && last.is_none() {
                        tell_changed(link, |topic| link.offers(topic)).await;
                    }
                    (opened, failed) = (true, 0);
                    let mut feed = Feed::new(response.into_body(), link.limit);
                    loop {
                        match feed.next().await {
                            Some(Ok(event)) => {
                                last = event.id.or(last);
                                retry = event
                                    .retry
                                    .map_or(retry, |ms| Duration::from_millis(ms).min(RETRY_MOST));
                                if !event.data.is_empty() {
                                    link.pass(event.data.into(), None).await;
                                }
                            }
                            Some(Err(Fault::TooLong(limit))) => {
                                if too_long == 0 {
                                    let host = link.url().host().unwrap_or_default().to_owned();
                                    warn!("{host} sent a message over the limit of {limit} bytes, which is left out");
                                }
                                too_long += 1;
                                // Asked for by its number it would come again.
                                last = None;
                                break;
                            }
                            Some(Err(Fault::Broken(_))) | None => {
                                too_long = too_long.min(1);
                                break;
                            }
                        }
                    }
                } else if status.is_server_error() {
                    failed += 1;
                } else if opened && status == http::StatusCode::NOT_FOUND && link.has_session() {
                    return End::SessionLost(format!("it no longer knows its session (HTTP {status})"));
                } else {
                    // 405 says that there is none; what else a server says at the first time means the same.
                    return End::NoStream;
                }
            }
        }
        let times = failed.max(too_long).min(5);
        sleep(retry.max(RETRY / 10).saturating_mul(1 << times).min(RETRY_MOST)).await;
    }
}

/// Opens and reads the stream of HTTP+SSE (2024-11-05). Its end is the end of the session.
pub(super) async fn old(link: &Link) -> End {
    let response = match link.stream(None).await {
        Err(no) => return no.into(),
        Ok(response) => response,
    };
    let status = response.status();
    if !status.is_success() || content(response.headers()) != Content::Events {
        return match status {
            _ if status.is_server_error() => End::Unreachable(format!("it answered with HTTP {status}")),
            http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN => {
                End::Refused(format!("it does not accept the router's credentials (HTTP {status})"))
            }
            _ => End::Refused(format!("it has no event stream (HTTP {status})")),
        };
    }
    let base = link.url();
    let mut feed = Feed::new(response.into_body(), link.limit);
    loop {
        match feed.next().await {
            Some(Ok(event)) if event.kind.as_deref() == Some("endpoint") => {
                let location = String::from_utf8_lossy(&event.data).into_owned();
                match within(&base, location.trim()) {
                    Some(uri) => {
                        link.endpoint.send_replace(Some(uri));
                    }
                    None => return End::Refused("it wants messages posted to another origin".to_owned()),
                }
            }
            Some(Ok(event)) if !event.data.is_empty() => link.pass(event.data.into(), None).await,
            Some(Ok(_)) => {}
            Some(Err(fault @ Fault::TooLong(_))) => return fault.into(),
            Some(Err(Fault::Broken(_))) | None => return End::SessionLost("its event stream ended".to_owned()),
        }
    }
}
