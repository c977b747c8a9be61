//! A call of the modern era: from its request to its response, with what is said on the way.

use std::sync::Arc;

use bytestring::ByteString;
use http::StatusCode;
use tokio::sync::mpsc;

use super::conversation::Conversation;
use super::envelope::{Envelope, arguments_mirrored};
use super::events::Body;
use super::legacy::want_level;
use super::listener::{Asks, CallListener, Voice};
use super::states::Held;
use super::{
    Agents, accepts_events, answer, asking, at_once, events, input, json_reply, method_name, notes, own_tools,
    params_of,
};
use crate::call::{AgentKey, Call, Trail};
use crate::catalog::Endpoint;
use crate::error::CallError;
use crate::router::{Answer, Incoming, Listener};
use crate::transport::{HttpRequest, Replying};
use crate::wire::message::write_response;
use crate::wire::{Era, Kind, Object, RawJson, Request, RequestId, method};

/// Requests of a server that wait to be put to the agent of one call at most.
const ASKS: usize = 16;

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
        let view = endpoint.view();
        let tool = envelope.subject.as_ref().filter(|s| s.kind == Kind::Tools);
        if let Some(tool) = tool
            && own_tools::is_own(&endpoint, &tool.key)
        {
            let params = Object::parse(message.params.unwrap_or("{}")).unwrap_or_default();
            let outcome = self.own_tool(&endpoint, None, &tool.key, &params).map(|result| Answer {
                body: Ok(result.into()),
                era: Era::Legacy,
                from: None,
                subscription: None,
                tasks: false,
            });
            let errors = view.settings.errors;
            return at_once(answer::respond(id.as_raw(), Era::Modern, method::TOOLS_CALL, errors, outcome).into());
        }
        let mirrored = tool.map_or(&[][..], |tool| view.mirrored(&tool.key));
        if !mirrored.is_empty()
            && !request.local
            && let Err(error) = arguments_mirrored(&request, message.params, mirrored)
        {
            let refused = write_response(id.as_raw(), Err(&error));
            return at_once(json_reply(StatusCode::BAD_REQUEST, refused));
        }
        let streams = accepts_events(&request.headers);
        let Envelope {
            subject,
            meta,
            token,
            log_level,
            capabilities,
            state,
        } = envelope;
        let rank = log_level.and_then(method::log_rank);
        let (sender, notes) = if streams && (token.is_some() || rank.is_some()) {
            let (sender, receiver) = notes::channel(self.listen.stream_capacity);
            (Some(Voice::Notes(sender)), Some(receiver))
        } else {
            (None, None)
        };
        let progress = token.is_some() && notes.is_some();
        let asks = input::may_ask_of(&message.method);
        let state = state.filter(|_| asks);
        let can_be_asked = asks && self.router.may_ask() && asking::declares_any(Some(capabilities));
        let converses = can_be_asked || state.is_some();
        let mut heard = None;
        let listener = (notes.is_some() || converses).then(|| {
            let asks = if can_be_asked {
                let (asks, asked) = mpsc::channel(ASKS);
                heard = Some(asked);
                Asks::Input(asks)
            } else {
                Asks::Refused
            };
            Arc::new(CallListener::new(sender, token, rank, asks))
        });
        let call = Call {
            id: self.next_call(),
            method: method_name(&message.method),
            subject,
            endpoint: Arc::clone(&endpoint.name),
            path_backend: endpoint.backend.clone(),
            agent: request
                .principal
                .as_ref()
                .map_or(AgentKey::Connection(request.connection), |principal| {
                    AgentKey::Principal(Arc::clone(principal.key()))
                }),
            principal: request.principal,
            era: Era::Modern,
            headers: request.headers,
            initialize: None,
            roots: None,
            params: params_of(body, message.params, Some(meta)),
            trail: Trail::default(),
        };
        let mut incoming = Incoming {
            call: Arc::new(call),
            endpoint,
            progress,
            listener: listener.clone().map(|l| l as Arc<dyn Listener>),
            log_level,
            pinned: None,
            watcher: None,
            handed_over: false.into(),
        };
        if let Err(error) = self.find_task(&mut incoming, Some(capabilities)) {
            return at_once(self.modern_answer(&id, &incoming, Err(error)).into());
        }
        let conversation = listener.filter(|_| converses).map(|listener| Conversation {
            capabilities: capabilities.to_owned(),
            asks: heard,
            listener,
            state,
        });
        let agents = Arc::clone(&self);
        let response = async move {
            if let Some(rank) = rank {
                // Boxed: few calls ask for it.
                Box::pin(want_level(&incoming.endpoint, rank)).await;
            }
            match conversation {
                None => {
                    let outcome = agents.router.call(&incoming).await;
                    agents.modern_answer(&id, &incoming, outcome)
                }
                Some(conversation) => Box::pin(agents.converse(&id, incoming, conversation)).await,
            }
        };
        events::reply(Box::pin(response), notes, streams, &self.listen)
    }

    /// The response with an outcome; a state of the target goes out sealed.
    pub(super) fn modern_answer(
        &self,
        id: &RequestId,
        incoming: &Incoming,
        outcome: Result<Answer, CallError>,
    ) -> Body {
        if let Ok(Answer { body: Err(error), .. }) = &outcome
            && let Some(asking) = self.asking_instead(&incoming.call, error)
        {
            return write_response(id.as_raw(), Ok(&asking)).into();
        }
        let outcome = outcome
            .map(|answer| self.with_sealed_state(incoming, answer))
            .map(|answer| self.name_tasks(&incoming.call, answer, |_, _, _| {}));
        let errors = incoming.endpoint.look(|view| view.settings.errors);
        answer::respond(id.as_raw(), Era::Modern, &incoming.call.method, errors, outcome)
    }

    /// The result that sends the user where a legacy server's error does, if the agent can: the call is made anew when
    /// it is back.
    fn asking_instead(&self, call: &Call, error: &RawJson) -> Option<String> {
        let asked = input::elicitations(error.as_str());
        if asked.is_empty() || !input::may_ask_of(&call.method) {
            return None;
        }
        let params = Object::parse(call.params.as_str()).ok()?;
        let meta = Object::parse(params.get("_meta")?).ok()?;
        let elicitation = Object::parse(meta.get(method::META_CAPABILITIES)?).ok()?;
        Object::parse(elicitation.get("elicitation")?).ok()?.get("url")?;
        let state = Held::Anew.seal(&self.sealer, call, self.answer_wait)?;
        let questions = asked
            .iter()
            .map(|(id, params)| (id.as_str(), method::ELICIT, Some(params)));
        Some(input::ask(questions, &state))
    }

    fn with_sealed_state(&self, incoming: &Incoming, answer: Answer) -> Answer {
        // Only modern servers ask by a result: others' are not searched for it.
        if answer.era == Era::Legacy {
            return answer;
        }
        let sealed = || {
            let (Ok(result), Some(from)) = (&answer.body, &answer.from) else {
                return None;
            };
            let state = input::required(result.as_str()).ok()??.state?;
            let state = Held::relay(from, self.process, &state).seal(&self.sealer, &incoming.call, self.answer_wait)?;
            input::with_state(result.as_str(), &state)
        };
        match sealed() {
            Some(result) => Answer {
                body: Ok(result.into()),
                ..answer
            },
            None => answer,
        }
    }
}
