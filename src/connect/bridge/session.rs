//! The session of a legacy client, which is opened again behind its back when the router has lost it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytestring::ByteString;

use super::{Asked, Bridge, Effect, Flight, Kind, Message};
use crate::wire::message::write_request;
use crate::wire::{Object, RawJson, RequestId, Version, method};

pub(super) const SUBSCRIBE: &str = "resources/subscribe";
pub(super) const UNSUBSCRIBE: &str = "resources/unsubscribe";

/// Subscriptions that are remembered, and questions of the router that wait for the client, at most.
const MOST: usize = 1000;

/// The lists of which a client can be told that they changed.
const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// A session as requests name it.
#[derive(Debug, PartialEq)]
pub struct Session {
    /// Its secret.
    pub id: String,
    /// The revision that was agreed on.
    pub version: String,
}

/// What a legacy client said and was told.
#[derive(Debug)]
pub(super) struct Legacy {
    /// Its `initialize` as the router gets it.
    initialize: ByteString,
    /// It asked for 2024-11-05, which the router knows by the name of the next revision only.
    oldest: bool,
    /// The names of its capabilities.
    pub(super) capabilities: Vec<String>,
    pub(super) phase: Phase,
    /// It said `notifications/initialized`.
    pub(super) initialized: bool,
    /// The lists that it was promised to hear of.
    promised: Vec<&'static str>,
    /// Params of its `logging/setLevel`.
    level: Option<RawJson>,
    /// Params of its subscriptions, by URI.
    subscriptions: BTreeMap<String, RawJson>,
    /// The number of its open stream.
    pub(super) stream: Option<u64>,
    /// The router has no streams.
    pub(super) no_stream: bool,
    /// What the router asked it and what it has not answered yet.
    pub(super) asked: Vec<RequestId>,
    /// What `Mcp-Session-Id` said in the reply to an `initialize`.
    pub(super) offered: Option<String>,
}

/// Where the session is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The client's own `initialize` is not answered yet.
    Asked,
    /// Open.
    Open(Arc<Session>),
    /// Lost, with what has to be sent to have it again. `None`: the router would have none, so it is tried again when
    /// the client wants something.
    Lost(Option<VecDeque<Step>>),
    /// Being opened again.
    Renewing(Arc<Session>, VecDeque<Step>),
}

/// One message that makes a session what it was.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Initialize,
    Initialized,
    SetLevel,
    Subscribe(String),
}

impl Legacy {
    /// What the client's `initialize` says.
    pub(super) fn new(body: &ByteString, params: Option<&Object<'_>>) -> Self {
        let capabilities = params.and_then(|p| p.get("capabilities")).map(Object::parse);
        let names = capabilities.and_then(Result::ok).unwrap_or_default();
        let oldest = params.and_then(|p| p.get_str("protocolVersion")).as_deref() == Some(Version::V20241105.as_str());
        let mut initialize = body.clone();
        if oldest && let (Some(params), Ok(mut message)) = (params, Object::parse(body)) {
            let mut params = params.clone();
            let next = format!("\"{}\"", Version::V20250326);
            params.set("protocolVersion", next);
            message.set("params", params.to_text());
            initialize = message.to_text().into();
        }
        Self {
            initialize,
            oldest,
            capabilities: names.iter().map(|(name, _)| name.to_owned()).collect(),
            phase: Phase::Asked,
            initialized: false,
            promised: Vec::new(),
            level: None,
            subscriptions: BTreeMap::new(),
            stream: None,
            no_stream: false,
            asked: Vec::new(),
            offered: None,
        }
    }

    /// The `initialize` to send.
    pub(super) fn initialize(&self) -> ByteString {
        self.initialize.clone()
    }

    /// The session that requests are sent with.
    pub(super) fn session(&self) -> Option<&Arc<Session>> {
        match &self.phase {
            Phase::Open(session) | Phase::Renewing(session, _) => Some(session),
            Phase::Asked | Phase::Lost(_) => None,
        }
    }

    /// The result of an `initialize`: the session begins. Returns the result as the client is to read it.
    pub(super) fn opened(&mut self, result: &str) -> String {
        let parsed = Object::parse(result).unwrap_or_default();
        let version = parsed.get_str("protocolVersion").unwrap_or_default().into_owned();
        let session = Arc::new(Session {
            id: self.offered.take().unwrap_or_default(),
            version,
        });
        self.no_stream = session.id.is_empty();
        let steps = match std::mem::replace(&mut self.phase, Phase::Asked) {
            Phase::Lost(Some(steps)) | Phase::Renewing(_, steps) => steps,
            Phase::Asked | Phase::Open(_) | Phase::Lost(None) => VecDeque::new(),
        };
        self.phase = if steps.is_empty() {
            Phase::Open(session)
        } else {
            Phase::Renewing(session, steps)
        };
        let mut shown = parsed;
        if self.oldest {
            shown.set("protocolVersion", format!("\"{}\"", Version::V20241105));
        }
        shown.to_text()
    }

    /// Which lists the client is promised to hear of, by the result that it got.
    pub(super) fn promise(&mut self, result: &str) {
        let Ok(result) = Object::parse(result) else { return };
        let Some(Ok(capabilities)) = result.get("capabilities").map(Object::parse) else {
            return;
        };
        let tells = |list: &&str| {
            let one = capabilities.get(list).and_then(|c| Object::parse(c).ok());
            one.is_some_and(|c| c.get("listChanged") == Some("true"))
        };
        self.promised = LISTS.into_iter().filter(tells).collect();
    }

    /// Whether it may hear this notification of the router.
    pub(super) fn hears(&self, name: &str) -> bool {
        let list = name
            .strip_prefix("notifications/")
            .and_then(|n| n.strip_suffix("/list_changed"));
        self.initialized && list.is_none_or(|list| self.promised.contains(&list))
    }

    /// The router asked it something. Of questions that nobody answers the oldest is given up.
    pub(super) fn was_asked(&mut self, id: RequestId) {
        if self.asked.len() >= MOST {
            self.asked.remove(0);
        }
        self.asked.push(id);
    }

    /// A request was answered well: what of it has to be said again to another router.
    pub(super) fn remember(&mut self, method: &str, body: &ByteString) {
        let Ok(message) = Object::parse(body) else { return };
        let Some(params) = message.get_borrowed("params") else {
            return;
        };
        let uri = || Object::parse(params).ok()?.get_str("uri").map(|uri| uri.into_owned());
        match method {
            method::SET_LEVEL => self.level = Some(RawJson::slice_of(body, params)),
            SUBSCRIBE => {
                if let Some(uri) = uri().filter(|_| self.subscriptions.len() < MOST) {
                    self.subscriptions.insert(uri, RawJson::slice_of(body, params));
                }
            }
            UNSUBSCRIBE => {
                if let Some(uri) = uri() {
                    self.subscriptions.remove(&uri);
                }
            }
            _ => {}
        }
    }

    /// The router does not know the session: it has to be opened again, and be told all that the last one was.
    fn lose(&mut self) {
        let mut steps = VecDeque::from([Step::Initialize]);
        if self.initialized {
            steps.push_back(Step::Initialized);
        }
        if self.level.is_some() {
            steps.push_back(Step::SetLevel);
        }
        steps.extend(self.subscriptions.keys().cloned().map(Step::Subscribe));
        self.phase = Phase::Lost(Some(steps));
    }
}

impl Bridge {
    /// The session of this request is not known any more. Nothing, if another one was opened since.
    pub(super) fn lost(&mut self, session: &Arc<Session>, out: &mut Vec<Effect>) {
        let Some(legacy) = &mut self.legacy else { return };
        if legacy.session().is_some_and(|open| Arc::ptr_eq(open, session)) {
            legacy.lose();
            // Who asked is gone. An answer could be taken for that to another router's question of the same id.
            for id in legacy.asked.drain(..) {
                let params = format!("{{\"requestId\":{id},\"reason\":\"the router was restarted\"}}");
                out.push(Effect::Write(write_request(None, method::CANCELLED, Some(&params))));
            }
            self.held.retain(|_, message| {
                let answer = matches!(message.kind, Kind::Answer);
                self.bytes -= if answer { message.body.len() } else { 0 };
                !answer
            });
            self.close_stream(out);
        }
    }

    /// The next message of our own that has to leave before any of the client's, and takes it off the list.
    pub(super) fn next_step(&mut self) -> Option<(Step, ByteString)> {
        let wanted = self.held.values().any(is_of_a_session);
        let legacy = self.legacy.as_mut()?;
        if matches!(legacy.phase, Phase::Lost(None)) && wanted {
            legacy.lose();
        }
        let steps = match &mut legacy.phase {
            Phase::Lost(Some(steps)) | Phase::Renewing(_, steps) => steps,
            Phase::Asked | Phase::Open(_) | Phase::Lost(None) => return None,
        };
        let step = steps.pop_front()?;
        let id = format!("\"pointsman-connect-{}\"", self.next);
        let own = |method: &str, params: Option<&RawJson>| {
            write_request(Some(&id), method, params.map(RawJson::as_str)).into()
        };
        let body = match &step {
            Step::Initialize => {
                let message = Object::parse(&legacy.initialize).unwrap_or_default();
                write_request(Some(&id), method::INITIALIZE, message.get("params")).into()
            }
            Step::Initialized => write_request(None, method::INITIALIZED, None).into(),
            Step::SetLevel => own(method::SET_LEVEL, legacy.level.as_ref()),
            Step::Subscribe(uri) => own(SUBSCRIBE, legacy.subscriptions.get(uri)),
        };
        Some((step, body))
    }

    /// A step could not be made: it comes first again.
    pub(super) fn step_back(&mut self, step: Step) {
        let phase = self.legacy.as_mut().map(|l| &mut l.phase);
        if let Some(Phase::Lost(Some(steps)) | Phase::Renewing(_, steps)) = phase {
            steps.push_front(step);
        }
    }

    /// A step was made. After the last one all is as it was, but the lists may have changed meanwhile.
    pub(super) fn step_made(&mut self, out: &mut Vec<Effect>) {
        let Some(legacy) = &mut self.legacy else { return };
        if let Phase::Renewing(session, steps) = &legacy.phase
            && steps.is_empty()
        {
            legacy.phase = Phase::Open(Arc::clone(session));
        }
        if let Phase::Open(_) = legacy.phase {
            tracing::info!("the session was opened again");
            for list in legacy.promised.iter().filter(|_| legacy.initialized) {
                let name = format!("notifications/{list}/list_changed");
                out.push(Effect::Write(write_request(None, &name, None)));
            }
        }
    }

    /// Opens the stream of a session that has none.
    pub(super) fn open_stream(&mut self, out: &mut Vec<Effect>) {
        let number = self.next + 1;
        let Some(legacy) = &mut self.legacy else { return };
        let Phase::Open(session) = &legacy.phase else { return };
        if legacy.stream.is_some() || legacy.no_stream || !legacy.initialized || self.closing.is_some() {
            return;
        }
        self.next = number;
        legacy.stream = Some(number);
        out.push(Effect::Get(number, Arc::clone(session)));
    }

    /// Nobody listens to that stream any more.
    pub(super) fn close_stream(&mut self, out: &mut Vec<Effect>) {
        if let Some(number) = self.legacy.as_mut().and_then(|l| l.stream.take()) {
            out.push(Effect::Drop(number));
        }
    }

    /// The stream has ended; it is opened again if the router is there, and that is looked after first.
    pub(super) fn stream_ended(&mut self, now: tokio::time::Instant) {
        if let Some(legacy) = &mut self.legacy {
            legacy.stream = None;
        }
        self.down();
        self.pause(now);
    }
}

/// Whether a message cannot leave without a session.
pub(super) fn is_of_a_session(message: &Message) -> bool {
    match &message.kind {
        Kind::Request(asked) => asked.mirror.is_none() && !asked.is_initialize(),
        Kind::Note(mirror) => mirror.is_none(),
        Kind::Answer => true,
        Kind::Own(_) => false,
    }
}

/// Whether a flight is that of the client's own `initialize`.
pub(super) fn is_initialize(flight: &Flight) -> bool {
    matches!(&flight.message.kind, Kind::Request(asked) if Asked::is_initialize(asked))
}
