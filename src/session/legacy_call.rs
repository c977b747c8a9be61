//! A call of the legacy era: from its request to its response, with what is said on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytestring::ByteString;
use http::HeaderMap;
use tokio::sync::{mpsc, oneshot};

use super::events::Response;
use super::first_word::{FirstWord, Told};
use super::input::{self, Required};
use super::listener::{Asks, CallListener, Voice};
use super::roots::CallRoots;
use super::store::Session;
use super::{Agents, answer, method_name, own_tools, params_of, progress_token};
use crate::backend::{Ask, Sink, Subscription, Thing};
use crate::call::{Call, Principal, Subject, Trail};
use crate::catalog::Endpoint;
use crate::error::{CallError, Reason};
use crate::router::{Answer, Incoming, Listener, Pinned, honest};
use crate::transport::HttpRequest;
use crate::wire::message::write_response;
use crate::wire::{Era, Kind, Object, Request, method};

/// What an HTTP request says of who sent it.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) headers: HeaderMap,
    pub(super) principal: Option<Arc<Principal>>,
}

impl Sender {
    /// Takes it out of a request.
    pub(super) fn of(request: &mut HttpRequest) -> Self {
        Self {
            headers: std::mem::take(&mut request.headers),
            principal: request.principal.take(),
        }
    }
}

/// How often a server may ask in the course of one call.
const MAX_ROUNDS: usize = 32;

impl Agents {
    /// A request that goes to a backend: its response as it becomes ready, and the notifications before it.
    pub(super) fn legacy_call(
        self: &Arc<Self>,
        session: &Arc<Session>,
        endpoint: &Arc<Endpoint>,
        sender: Sender,
        body: &ByteString,
        message: Request<'_>,
        streams: bool,
    ) -> (Response, Option<Told>) {
        let id = message.id;
        let failed = |error: CallError| -> (Response, Option<Told>) {
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
        if message.method == method::SUBSCRIBE
            && let Some(subject) = &subject
            && let Err(why) = session.may_subscribe(&subject.key)
        {
            return failed(Reason::InvalidParams(why).into());
        }
        if let Some(tool) = subject.as_ref().filter(|s| s.kind == Kind::Tools)
            && own_tools::is_own(endpoint, &tool.key)
        {
            let outcome = self.own_tool(endpoint, Some(session), &tool.key, &params);
            return match outcome {
                Ok(result) => (
                    Box::pin(std::future::ready(write_response(id.as_raw(), Ok(&result)).into())),
                    None,
                ),
                Err(error) => failed(error),
            };
        }
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
        let (listener, told): (Arc<dyn Listener>, _) = if progress || (streams && session.can_be_asked) {
            let (word, told) = FirstWord::new(&session.streams);
            let level = Some(session.level.load(Ordering::Relaxed));
            let asks = Asks::Session(Arc::clone(session));
            (
                Arc::new(CallListener::new(Some(Voice::Stream(word)), token, level, asks)),
                Some(told),
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
            // As its token is now, and not as it was when the session began.
            principal: sender.principal,
            era: Era::Legacy,
            headers: sender.headers,
            initialize: Some(session.introduction()),
            roots: CallRoots::of(session, &listener),
            params: params_of(body, message.params, params.get_borrowed("_meta")),
            trail: Trail::default(),
        };
        let mut incoming = Incoming {
            call: Arc::new(call),
            endpoint: Arc::clone(endpoint),
            progress,
            listener: Some(listener),
            log_level: level.filter(|_| level_asked),
            pinned: None,
            watcher: (message.method == method::SUBSCRIBE).then(|| session.ear()),
            handed_over: false.into(),
        };
        if let Err(error) = self.find_task(&mut incoming, None) {
            return failed(error);
        }
        let (agents, session) = (Arc::clone(self), Arc::clone(session));
        let response = async move {
            let mut outcome = tokio::select! {
                biased;
                Ok(()) = &mut running.cancelled => Err(incoming.cancelled()),
                outcome = agents.call_to_the_end(&incoming) => outcome,
            };
            if let Ok(answer) = &mut outcome
                && let Some(subscription) = answer.subscription.take()
            {
                Box::pin(subscribe(&session, &incoming, answer, subscription)).await;
            }
            let outcome = outcome.map(|answer| {
                note_elicitations(&session, &incoming, &answer);
                agents.name_tasks(&incoming.call, answer, |from, id, name| {
                    own(&session, &incoming, from, Thing::Task, (id, name));
                })
            });
            let errors = incoming.endpoint.look(|view| view.settings.errors);
            answer::respond(id.as_raw(), Era::Legacy, &incoming.call.method, errors, outcome)
        };
        (Box::pin(response), told)
    }

    /// Carries a call to its last result. What a modern server asks by a result on the way, the agent is asked by
    /// requests, as its era has it.
    async fn call_to_the_end(&self, incoming: &Incoming) -> Result<Answer, CallError> {
        let mut answer = self.router.call(incoming).await?;
        for _ in 0..MAX_ROUNDS {
            let required = match &answer.body {
                Ok(result) if answer.era == Era::Modern => input::required(result.as_str()),
                _ => return Ok(answer),
            };
            let required = match required {
                Ok(Some(required)) => required,
                Ok(None) => return Ok(answer),
                Err(why) => return Err(Reason::InputRefused(why).into()),
            };
            // Boxed: few calls are asked.
            answer = Box::pin(self.call_again(incoming, required, answer.from))
                .await
                .map_err(after_input)?;
        }
        let why = format!("it asked {MAX_ROUNDS} times and was not content");
        Err(Reason::InputRefused(why).into())
    }

    async fn call_again(
        &self,
        incoming: &Incoming,
        required: Required,
        from: Option<Pinned>,
    ) -> Result<Answer, CallError> {
        let Some(listener) = &incoming.listener else {
            return Err(Reason::InputRefused("nobody listens".to_owned()).into());
        };
        let answers = required.questions.into_iter().map(|question| {
            let (reply, answer) = oneshot::channel();
            // A modern server has no token to say progress under.
            let (progress, _) = mpsc::channel(1);
            listener.ask(Ask {
                method: question.method,
                params: question.params,
                reply,
                progress,
            });
            async move { (question.key, answer.await) }
        });
        let mut brought = Vec::new();
        for (key, answer) in futures_util::future::join_all(answers).await {
            match answer {
                Ok(Ok(answer)) => brought.push((key, answer)),
                Ok(Err(error)) => return Err(Reason::InputRefused(error.as_str().to_owned()).into()),
                Err(_) => return Err(Reason::InputRefused("the client went away".to_owned()).into()),
            }
        }
        let call = &incoming.call;
        let answers = brought.iter().map(|(key, answer)| (key.as_str(), answer));
        let params = input::again(call.params.as_str(), answers, required.state.as_deref());
        let again = Incoming {
            call: Arc::new(Call {
                params: call.params.edited(params.map_err(Reason::InvalidParams)?.into()),
                ..(**call).clone()
            }),
            endpoint: Arc::clone(&incoming.endpoint),
            listener: incoming.listener.clone(),
            progress: incoming.progress,
            log_level: incoming.log_level,
            // Without a state the server relies on nothing that it said before.
            pinned: from.filter(|_| required.state.is_some()),
            watcher: None,
            handed_over: false.into(),
        };
        self.router.call(&again).await
    }
}

/// An error of a call that had got as far as asking for input.
fn after_input(error: CallError) -> CallError {
    match error.reason {
        Reason::StateLost => {
            let why = "its process is another one.".to_owned();
            CallError {
                reason: Reason::InputLost(why),
                ..error
            }
        }
        _ => honest(error, Some("it had asked for input by then".to_owned())),
    }
}

/// What a target said is there belongs to the session's agent.
fn own(session: &Session, incoming: &Incoming, from: &Pinned, thing: Thing, (id, name): (&str, &str)) {
    let view = incoming.endpoint.view();
    let backend = view.backends.iter().find(|b| *b.name() == from.backend);
    if let (Some(backend), Some(sink)) = (backend, session.later()) {
        backend.belongs(from.replica, thing, id, name, sink);
    }
}

/// An error may send the user elsewhere; the server says later that he is done there.
fn note_elicitations(session: &Session, incoming: &Incoming, answer: &Answer) {
    let (Err(error), Some(from)) = (&answer.body, &answer.from) else {
        return;
    };
    for (id, _) in input::elicitations(error.as_str()) {
        own(session, incoming, from, Thing::Elicitation, (&id, &id));
    }
}

/// The server took the subscription: every later incarnation is told.
async fn subscribe(session: &Session, incoming: &Incoming, answer: &Answer, subscription: Subscription) {
    let (Some(from), Some(subject)) = (&answer.from, &incoming.call.subject) else {
        return;
    };
    let view = incoming.endpoint.view();
    if let Some(backend) = view.backends.iter().find(|b| *b.name() == from.backend) {
        session.subscribe(&subject.key, backend, subscription).await;
    }
}
