//! The long stream of the modern era: `subscriptions/listen`.

use std::sync::Arc;

use http::StatusCode;

use super::events::{self, Followed, Long, Others};
use super::notes::{self, NoteSender};
use super::subscribing::MAX_URI;
use super::{Agents, at_once, error_object, json_reply};
use crate::backend::Watcher;
use crate::catalog::Endpoint;
use crate::transport::{HttpReply, Replying, sse};
use crate::wire::json::quote;
use crate::wire::message::{write_request, write_response};
use crate::wire::meta::{self, Change};
use crate::wire::{Kind, Object, RawJson, Request, Topic, codes, method};

/// Resources that one stream may ask about.
const MAX_RESOURCES: usize = 1000;

impl Agents {
    /// Its first message says what was granted; every message carries the id of the request that opened it.
    pub(super) fn listen(self: Arc<Self>, endpoint: Arc<Endpoint>, message: &Request<'_>) -> Replying {
        let id = message.id.clone();
        let (topics, uris) = match filter(message.params) {
            Ok(filter) => filter,
            Err(why) => {
                let error = error_object(codes::INVALID_PARAMS, why, None);
                let refused = write_response(id.as_raw(), Err(&error));
                return at_once(json_reply(StatusCode::BAD_REQUEST, refused));
            }
        };
        Box::pin(async move { self.open_listen(&endpoint, id.as_raw(), &topics, uris).await })
    }

    async fn open_listen(&self, endpoint: &Endpoint, id: &str, topics: &[Topic], uris: Vec<String>) -> HttpReply {
        let tag = format!("\"_meta\":{{\"{}\":{id}}}", method::META_SUBSCRIPTION);
        let mut granted = Object::default();
        let mut lists = Vec::new();
        for topic in topics.iter().copied() {
            granted.set(topic.listen_key(), "true");
            let known = *endpoint.version(topic).borrow();
            let changed = write_request(None, topic.changed(), Some(&format!("{{{tag}}}")));
            lists.push(Followed::new(endpoint, topic, known, changed));
        }
        let (sender, others) = notes::channel(self.listen.stream_capacity);
        let (mut subscriptions, mut heard) = (Vec::new(), Vec::new());
        let view = endpoint.view();
        for uri in uris {
            let candidates = view.candidates(Some(Kind::Resources), Some(&uri));
            let owners = candidates.iter().zip(&view.backends).filter(|(c, _)| c.offers);
            let mut any = false;
            for (_, backend) in owners {
                // One that was never up may offer it.
                let offers = backend
                    .introduced()
                    .is_none_or(|i| i.has_flag("resources", "subscribe"));
                if offers {
                    any = true;
                    let ear = Arc::new(Ear {
                        events: sender.clone(),
                        id: id.to_owned(),
                    });
                    subscriptions.push(backend.subscribe(&uri, ear));
                }
            }
            if any {
                heard.push(quote(&uri));
            }
        }
        // All of them are in: each target is told once.
        for backend in view.backends.iter().filter(|_| !heard.is_empty()) {
            backend.tell_subscriptions().await;
        }
        if !heard.is_empty() {
            granted.set("resourceSubscriptions", format!("[{}]", heard.join(",")));
        }
        let acknowledged = write_request(
            None,
            method::LISTEN_ACKNOWLEDGED,
            Some(&format!("{{\"notifications\":{},{tag}}}", granted.to_text())),
        );
        let ended = format!("{{\"resultType\":\"complete\",{tag}}}");
        let long = Long {
            first: Some(sse::event(&acknowledged)),
            lists,
            last: Some(sse::event(&write_response(id, Ok(&ended)))),
            running: self.running.subscribe(),
            others: match subscriptions.is_empty() {
                true => Others::None,
                false => Others::Notes(others),
            },
            subscriptions,
            keep_alive: self.listen.keep_alive,
        };
        HttpReply::Stream {
            headers: http::HeaderMap::new(),
            events: events::long_stream(long),
        }
    }
}

/// What the agent wants to hear of.
fn filter(params: Option<&str>) -> Result<(Vec<Topic>, Vec<String>), &'static str> {
    let params = params.and_then(|p| Object::parse(p).ok()).unwrap_or_default();
    let wanted = params.get("notifications").and_then(|n| Object::parse(n).ok());
    let wanted = wanted.ok_or("notifications is missing")?;
    let topics = Topic::ALL
        .into_iter()
        .filter(|t| wanted.get(t.listen_key()) == Some("true"));
    let uris: Vec<String> = match wanted.get("resourceSubscriptions") {
        None | Some("null") => Vec::new(),
        Some(list) => serde_json::from_str(list).map_err(|_| "resourceSubscriptions is a list of URIs")?,
    };
    if uris.len() > MAX_RESOURCES {
        return Err("resourceSubscriptions has more than 1000 URIs");
    }
    if uris.iter().any(|uri| uri.len() > MAX_URI) {
        return Err("resourceSubscriptions has a URI longer than 2 KiB");
    }
    Ok((topics.collect(), uris))
}

/// Hears of changed resources for a stream.
struct Ear {
    events: NoteSender,
    /// The id of the request that opened the stream, raw.
    id: String,
}

impl Watcher for Ear {
    fn updated(&self, params: &RawJson) {
        let tagged = meta::changed(params.as_str(), method::META_SUBSCRIPTION, Change::Set(&self.id));
        if let Some(params) = tagged {
            self.events.send(sse::event(&write_request(
                None,
                method::RESOURCE_UPDATED,
                Some(&params),
            )));
        }
    }
}
