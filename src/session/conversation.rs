//! Calls of modern agents that are asked for input on the way, or bring some.
//!
//! A modern server asks by its result, a legacy one by requests in the middle of the call. The agent sees the same of
//! both: a result that asks, and a state to bring back with the answers when it makes the call again.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::mpsc;

use super::events::Body;
use super::listener::CallListener;
use super::parking::Ongoing;
use super::states::Held;
use super::{Agents, asking, input};
use crate::backend::{Ask, refusal};
use crate::call::Call;
use crate::error::{CallError, Reason};
use crate::router::{Answer, Incoming, Pinned};
use crate::wire::message::write_response;
use crate::wire::{Object, RawJson, RequestId, method};

/// What a call needs to be asked for input, and what it brings of an earlier one.
pub(super) struct Conversation {
    /// What the client can do.
    pub(super) capabilities: String,
    /// What the call's server asks, where the client can be asked.
    pub(super) asks: Option<mpsc::Receiver<Ask>>,
    /// Where the call's notifications go.
    pub(super) listener: Arc<CallListener>,
    /// The request state that the agent brought.
    pub(super) state: Option<String>,
}

/// What the next turn of a call is.
enum Turn {
    Over(Result<Answer, CallError>),
    Asks(Vec<Ask>),
}

impl Agents {
    /// One request of a call that may be asked: to its result, be it the last or one that asks.
    pub(super) async fn converse(
        self: Arc<Self>,
        id: &RequestId,
        mut incoming: Incoming,
        conversation: Conversation,
    ) -> Body {
        let held = match &conversation.state {
            None => None,
            Some(sealed) => match Held::open(&self.sealer, &incoming.call, sealed) {
                Ok(held) => Some(held),
                Err(error) => return self.modern_answer(id, &incoming, Err(error)),
            },
        };
        let (incoming, ongoing) = match held {
            Some(Held::Parked { id: parked }) => {
                let Some(call) = self.parking.take(&parked) else {
                    let why = "the router no longer has the call that waited for it".to_owned();
                    return self.modern_answer(id, &incoming, Err(Reason::InputLost(why).into()));
                };
                conversation.listener.hand_over(&call.listener);
                match resume(call, incoming.call.params.as_str()) {
                    Ok(call) => (Arc::new(incoming), call),
                    Err(error) => return self.modern_answer(id, &incoming, Err(error)),
                }
            }
            relay => {
                if let Some(Held::Anew) = relay {
                    let params = incoming.call.params.as_str();
                    match input::agreed(params).map_err(Reason::InputRefused) {
                        Err(refused) => return self.modern_answer(id, &incoming, Err(refused.into())),
                        Ok(()) => match input::anew(params).map_err(Reason::InvalidParams) {
                            Err(wrong) => return self.modern_answer(id, &incoming, Err(wrong.into())),
                            Ok(params) => incoming.call = Arc::new(with_params(&incoming.call, params)),
                        },
                    }
                } else if let Some(Held::Relay {
                    backend,
                    replica,
                    incarnation,
                    process,
                    state,
                }) = relay
                {
                    if incarnation.is_some() && process != self.process {
                        let lost = CallError::from(Reason::StateLost).at(&backend);
                        return self.modern_answer(id, &incoming, Err(lost));
                    }
                    incoming.pinned = Some(Pinned {
                        backend: backend.into(),
                        replica,
                        incarnation,
                    });
                    match input::with_inner_state(incoming.call.params.as_str(), &state) {
                        Ok(params) => incoming.call = Arc::new(with_params(&incoming.call, params)),
                        Err(why) => return self.modern_answer(id, &incoming, Err(Reason::InvalidParams(why).into())),
                    }
                }
                let Some(asks) = conversation.asks else {
                    let outcome = self.router.call(&incoming).await;
                    return self.modern_answer(id, &incoming, outcome);
                };
                let incoming = Arc::new(incoming);
                let (agents, calling) = (Arc::clone(&self), Arc::clone(&incoming));
                let ongoing = Ongoing {
                    run: Box::pin(async move { agents.router.call(&calling).await }),
                    spawned: false,
                    asks,
                    open: Vec::new(),
                    asked: 0,
                    listener: conversation.listener,
                };
                (incoming, ongoing)
            }
        };
        self.attend(id, &incoming, ongoing, &conversation.capabilities).await
    }

    /// Until the call is over, or asks for something.
    async fn attend(
        self: &Arc<Self>,
        id: &RequestId,
        incoming: &Incoming,
        mut call: Ongoing,
        capabilities: &str,
    ) -> Body {
        while call.open.is_empty() {
            match next(&mut call).await {
                Turn::Over(outcome) => return self.modern_answer(id, incoming, outcome),
                Turn::Asks(asks) => {
                    for ask in asks {
                        match can_be_input(capabilities, &ask) {
                            Ok(()) => {
                                call.asked += 1;
                                call.open.push((format!("ask-{}", call.asked), ask));
                            }
                            Err(why) => drop(ask.reply.send(Err(refusal(&why)))),
                        }
                    }
                }
            }
        }
        // Nobody listens until the agent is back.
        call.listener.attach(None, None);
        let open: Vec<(String, String, Option<RawJson>)> = call
            .open
            .iter()
            .map(|(key, ask)| (key.clone(), ask.method.clone(), ask.params.clone()))
            .collect();
        let parked = match self.parking.park(call, incoming.call.agent.clone(), self.answer_wait) {
            Ok(parked) => parked,
            Err(call) => return self.refused(id, incoming, *call).await,
        };
        let state = Held::Parked { id: parked.clone() };
        let Some(state) = state.seal(&self.sealer, &incoming.call, self.answer_wait) else {
            drop(self.parking.take(&parked));
            let why = "the system has no randomness to seal its state".to_owned();
            return self.modern_answer(id, incoming, Err(Reason::InputLost(why).into()));
        };
        let questions = open.iter().map(|(k, m, p)| (k.as_str(), m.as_str(), p.as_ref()));
        write_response(id.as_raw(), Ok(&input::ask(questions, &state))).into()
    }

    /// The call cannot wait: its server is told, and may go on without an answer.
    async fn refused(&self, id: &RequestId, incoming: &Incoming, mut call: Ongoing) -> Body {
        loop {
            for (_, ask) in call.open.drain(..) {
                let _ = ask.reply.send(Err(refusal("no call can wait for its client now")));
            }
            match next(&mut call).await {
                Turn::Over(outcome) => return self.modern_answer(id, incoming, outcome),
                Turn::Asks(asks) => call.open.extend(asks.into_iter().map(|ask| (String::new(), ask))),
            }
        }
    }
}

/// What the call does next. What was asked before it ended is of no use after.
async fn next(call: &mut Ongoing) -> Turn {
    let first = tokio::select! {
        biased;
        outcome = &mut call.run => return Turn::Over(outcome),
        Some(ask) = call.asks.recv() => ask,
    };
    let mut asks = vec![first];
    while let Ok(ask) = call.asks.try_recv() {
        asks.push(ask);
    }
    Turn::Asks(asks)
}

/// Gives a parked call what the agent brought. What it did not bring is asked again.
fn resume(mut call: Ongoing, params: &str) -> Result<Ongoing, CallError> {
    match (&mut call.run).now_or_never() {
        // Its target died while it waited. How far it had got by then nobody knows.
        Some(Err(error)) => {
            let reason = Reason::InputLost(error.message());
            return Err(CallError { reason, ..error });
        }
        // It went on without the answer.
        Some(Ok(answer)) => {
            call.open.clear();
            call.run = Box::pin(std::future::ready(Ok(answer)));
            return Ok(call);
        }
        None => {}
    }
    let object = Object::parse(params).map_err(|e| CallError::from(Reason::InvalidParams(e.to_string())))?;
    let responses = Object::parse(object.get(input::RESPONSES).unwrap_or("{}"))
        .map_err(|e| CallError::from(Reason::InvalidParams(format!("{}: {e}", input::RESPONSES))))?;
    let mut open = Vec::new();
    for (key, ask) in call.open.drain(..) {
        match responses.get(&key).filter(|answer| answer.starts_with('{')) {
            // It may be withdrawn by now.
            Some(answer) => drop(ask.reply.send(Ok(RawJson::from(answer.to_owned())))),
            None if ask.reply.is_closed() => {}
            None => open.push((key, ask)),
        }
    }
    call.open = open;
    Ok(call)
}

/// Whether an agent with these capabilities can be asked that by a result.
fn can_be_input(capabilities: &str, ask: &Ask) -> Result<(), String> {
    if !matches!(
        ask.method.as_str(),
        method::SAMPLE | method::ELICIT | method::ROOTS_LIST
    ) {
        return Err(format!("Method not found: {}", ask.method));
    }
    asking::can_be_asked(Some(capabilities), ask)
}

fn with_params(call: &Call, params: String) -> Call {
    Call {
        params: call.params.edited(params.into()),
        ..call.clone()
    }
}
