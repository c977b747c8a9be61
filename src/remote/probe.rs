//! After a break: whether the server is still there.
//!
//! A call that broke may be repeated, once. While a process dies there is a moment in which some of its connections are
//! broken and others, new ones even, still seem to be good: a repeat must not meet the same death.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

use http::{StatusCode, Uri};

use super::exchange::End;
use super::link::{Link, NoReply};
use super::out::Out;
use super::reply::{refusal, whole};
use crate::wire::message::write_request;
use crate::wire::{Version, method};

/// Pauses after probes that broke too. A server that breaks every connection is as good as none.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
];

/// The least time for an answer: a server may have much to do.
const LEAST: Duration = Duration::from_secs(5);

/// Asks the server for the least that there is, over a new connection. `None`: it is well.
pub(super) async fn probe(link: &Link) -> Option<End> {
    let out = question(link.is_legacy());
    let uri = match link.is_old() {
        true => link.endpoint.borrow().clone()?,
        false => link.url(),
    };
    for pause in PAUSES {
        link.renew();
        match timeout(link.patience.max(LEAST), ask(link, &uri, &out)).await {
            Ok(Some(Health::Well)) => return None,
            Ok(Some(Health::Ill(end))) => return Some(end),
            Ok(None) => sleep(pause).await,
            Err(_) => return Some(End::Unreachable("it does not say whether it is well".to_owned())),
        }
    }
    Some(End::Unreachable("it breaks every connection".to_owned()))
}

enum Health {
    Well,
    Ill(End),
}

/// Asks once; `None` where that breaks too.
async fn ask(link: &Link, uri: &Uri, out: &Out) -> Option<Health> {
    let response = match link.post(uri, out, &Arc::default()).await {
        Ok(response) => response,
        Err(NoReply::Unsent(why)) => return Some(Health::Ill(End::Unreachable(why))),
        // That says nothing of the server.
        Err(NoReply::NoToken(_) | NoReply::Keyless(_)) => return Some(Health::Well),
        Err(NoReply::Broken(_)) => return None,
    };
    match response.status() {
        status if status.is_success() => {
            let read = whole(response.into_body(), link.limit).await;
            return read.is_ok().then_some(Health::Well);
        }
        // Whoever counts requests lives.
        StatusCode::TOO_MANY_REQUESTS => return Some(Health::Well),
        _ => {}
    }
    Some(match refusal(link, out, response).await {
        lost @ End::SessionLost(_) => Health::Ill(lost),
        End::Busy { why, .. } | End::Faulty(why) | End::Broken { why, .. } => Health::Ill(End::Unreachable(why)),
        // It has an opinion, so it lives.
        _ => Health::Well,
    })
}

fn question(legacy: bool) -> Out {
    let text = match legacy {
        true => write_request(Some("\"probe\""), method::PING, None),
        false => {
            let meta = json!({
                method::META_VERSION: Version::NEWEST_MODERN.as_str(),
                method::META_CLIENT: { "name": "pointsman", "version": env!("CARGO_PKG_VERSION") },
                method::META_CAPABILITIES: {},
            });
            let params = json!({ "_meta": meta }).to_string();
            write_request(Some("\"probe\""), method::DISCOVER, Some(&params))
        }
    };
    let nothing_mirrored = |_: &str| Vec::new();
    Out::new(None, text.into(), &(Arc::new(nothing_mirrored) as super::Mirrors))
}
