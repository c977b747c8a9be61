//! A call of the legacy era: from its request to its response, with what is said on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use http::HeaderMap;

use super::events::Response;
use super::listener::{Asks, CallListener};
use super::notes::{self, Notes};
use super::store::Session;
use super::{Agents, answer, method_name, params_of, progress_token};
use crate::call::{Call, Subject};
use crate::catalog::Endpoint;
use crate::error::{CallError, Reason};
use crate::router::{Incoming, Listener};
use crate::wire::message::write_response;
use crate::wire::{Era, Object, Request, method};

impl Agents {
    /// A request that goes to a backend: its response as it becomes ready, and the notifications before it.
    pub(super) fn legacy_call(
        self: &Arc<Self>,
        session: &Arc<Session>,
        endpoint: &Arc<Endpoint>,
        headers: HeaderMap,
        body: &ByteString,
        message: Request<'_>,
        streams: bool,
    ) -> (Response, Option<Notes>) {
        let id = message.id;
        let failed = |error: CallError| -> (Response, Option<Notes>) {
            (
                Box::pin(std::future::ready(
                    write_response(id.as_raw(), Err(&error.to_wire())).into(),
                )),
                None,
            )
        };
        let params = match message.members {
            Some(params) => params,
            None => match Object::parse(message.params.unwrap_or("{}")) {
                Ok(params) => params,
                Err(e) => return failed(Reason::InvalidParams(e.to_string()).into()),
            },
        };
        let subject = match Subject::of(&message.method, &params) {
            Ok(subject) => subject,
            Err(why) => return failed(Reason::InvalidParams(why).into()),
        };
        let token = match params.get("_meta").map(Object::parse) {
            Some(Err(e)) => return failed(Reason::InvalidParams(format!("_meta: {e}")).into()),
            Some(Ok(meta)) => match progress_token(&meta) {
                Ok(token) => token,
                Err(why) => return failed(Reason::InvalidParams(why).into()),
            },
            None => None,
        };
        let mut running = match session.begin(&id, self.sessions.max_requests()) {
            Ok(running) => running,
            Err(refused) => return failed(Reason::InvalidParams(refused.to_string()).into()),
        };
        let progress = streams && token.is_some();
        let (listener, notes): (Arc<dyn Listener>, _) = if progress || (streams && session.can_be_asked) {
            let (sender, receiver) = notes::channel(self.listen.stream_capacity);
            let level = Some(session.level.load(Ordering::Relaxed));
            let asks = Asks::Session(Arc::clone(session));
            (
                Arc::new(CallListener::new(Some(sender), token, level, asks)),
                Some(receiver),
            )
        } else {
            (Arc::clone(session) as Arc<dyn Listener>, None)
        };
        let level_asked = session.level_asked.load(Ordering::Relaxed);
        let level = method::LOG_LEVELS
            .get(usize::from(session.level.load(Ordering::Relaxed)))
            .copied();
        let call = Call {
            id: self.next_call(),
            method: method_name(&message.method),
            subject,
            endpoint: Arc::clone(&endpoint.name),
            path_backend: endpoint.backend.clone(),
            agent: session.key(),
            era: Era::Legacy,
            headers,
            initialize: Some(Arc::clone(&session.introduction)),
            params: params_of(body, message.params, params.get_borrowed("_meta")),
        };
        let incoming = Incoming {
            call: Arc::new(call),
            endpoint: Arc::clone(endpoint),
            progress,
            listener: Some(listener),
            log_level: level.filter(|_| level_asked),
            handed_over: false.into(),
        };
        let agents = Arc::clone(self);
        let response = async move {
            let outcome = tokio::select! {
                biased;
                Ok(()) = &mut running.cancelled => Err(incoming.cancelled()),
                outcome = agents.router.call(&incoming) => outcome,
            };
            let errors = incoming.endpoint.view().settings.errors;
            answer::respond(id.as_raw(), Era::Legacy, &incoming.call.method, errors, outcome)
        };
        (Box::pin(response), notes)
    }
}
