//! A call of the modern era: from its request to its response, with what is said on the way.

use std::sync::Arc;

use bytestring::ByteString;
use http::StatusCode;

use super::envelope::{Envelope, arguments_mirrored};
use super::legacy::want_level;
use super::listener::{Asks, CallListener};
use super::{Agents, accepts_events, answer, at_once, events, json_reply, method_name, notes, params_of};
use crate::call::{AgentKey, Call};
use crate::catalog::Endpoint;
use crate::router::{Incoming, Listener};
use crate::transport::{HttpRequest, Replying};
use crate::wire::message::write_response;
use crate::wire::{Era, Kind, Request, method};

impl Agents {
    /// A request that goes to a backend.
    pub(super) fn modern_call(
        self: Arc<Self>,
        endpoint: Arc<Endpoint>,
        request: HttpRequest,
        body: &ByteString,
        message: &Request<'_>,
        envelope: Envelope<'_>,
    ) -> Replying {
        let id = message.id.clone();
        let refused = |error: &str| {
            at_once(json_reply(
                StatusCode::BAD_REQUEST,
                write_response(id.as_raw(), Err(error)),
            ))
        };
        let view = endpoint.view();
        let tool = envelope.subject.as_ref().filter(|s| s.kind == Kind::Tools);
        let mirrored = tool.map_or(&[][..], |tool| view.mirrored(&tool.key));
        if !mirrored.is_empty()
            && let Err(error) = arguments_mirrored(&request, message.params, mirrored)
        {
            return refused(&error);
        }
        let streams = accepts_events(&request.headers);
        let Envelope {
            subject,
            meta,
            token,
            log_level,
        } = envelope;
        let rank = log_level.and_then(method::log_rank);
        let (listener, notes): (Option<Arc<dyn Listener>>, _) = if streams && (token.is_some() || rank.is_some()) {
            let (sender, receiver) = notes::channel(self.listen.stream_capacity);
            (
                Some(Arc::new(CallListener::new(
                    Some(sender),
                    token.clone(),
                    rank,
                    Asks::Refused,
                ))),
                Some(receiver),
            )
        } else {
            (None, None)
        };
        let call = Call {
            id: self.next_call(),
            method: method_name(&message.method),
            subject,
            endpoint: Arc::clone(&endpoint.name),
            path_backend: endpoint.backend.clone(),
            agent: AgentKey::Connection(request.connection),
            era: Era::Modern,
            headers: request.headers,
            initialize: None,
            params: params_of(body, message.params, Some(meta)),
        };
        let incoming = Incoming {
            call: Arc::new(call),
            endpoint,
            progress: token.is_some() && notes.is_some(),
            listener,
            log_level,
            handed_over: false.into(),
        };
        let agents = Arc::clone(&self);
        let response = async move {
            if let Some(rank) = rank {
                // Boxed: few calls ask for it.
                Box::pin(want_level(&incoming.endpoint, rank)).await;
            }
            let outcome = agents.router.call(&incoming).await;
            let errors = incoming.endpoint.view().settings.errors;
            answer::respond(id.as_raw(), Era::Modern, &incoming.call.method, errors, outcome)
        };
        events::reply(Box::pin(response), notes, false, streams, &self.listen)
    }
}
