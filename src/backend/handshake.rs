//! The handshake with a fresh target, as a pure state machine: which era it speaks, then its tools.
//!
//! A modern target answers `server/discover`; anything else means legacy, as does silence. Some servers fix
//! their era by the first message they get, so the probe carries the full modern envelope and nothing else
//! goes out until it is answered or overdue. When both greetings are out, `initialize` decides: a server
//! that accepted it has fixed the legacy era.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::face::{Face, client_info};
use super::fetch::{Fetch, FetchStep};
use super::lists::Item;
use crate::config::EraChoice;
use crate::wire::json::quote;
use crate::wire::message::write_request;
use crate::wire::{Era, Kind, Object, RawJson, Response, Topic, Version, codes, method};

/// What the handshake learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The era spoken from now on.
    pub era: Era,
    /// The revision.
    pub version: String,
    /// What the server said of itself.
    pub introduced: Arc<Introduced>,
    /// Its tools.
    pub tools: Vec<Item>,
}

/// What a server says of itself in `initialize` or `server/discover`.
#[derive(Clone, Debug, PartialEq)]
pub struct Introduced {
    /// The era that it speaks.
    pub era: Era,
    /// Its capabilities, raw.
    pub capabilities: RawJson,
    /// What it says to models about its use.
    pub instructions: Option<String>,
}

impl Facts {
    /// Whether the capability is declared.
    pub fn has(&self, capability: &str) -> bool {
        self.introduced.has(capability)
    }

    /// Whether its capabilities say anything of tasks: as one of their own, or as an extension in the modern era.
    pub fn has_tasks(&self) -> bool {
        self.introduced.capabilities.as_str().contains("tasks")
    }

    /// Whether changes of such lists are announced.
    pub fn announces(&self, topic: Topic) -> bool {
        self.introduced.has_flag(topic.capability(), "listChanged")
    }
}

impl Introduced {
    /// From the result of either greeting.
    fn of(era: Era, result: &Object<'_>) -> Arc<Self> {
        let capabilities = result
            .get("capabilities")
            .filter(|c| c.starts_with('{'))
            .unwrap_or("{}");
        Arc::new(Self {
            era,
            capabilities: RawJson::from(capabilities.to_owned()),
            instructions: result.get_str("instructions").map(Cow::into_owned),
        })
    }

    /// Whether the capability is declared.
    pub fn has(&self, capability: &str) -> bool {
        Object::parse(self.capabilities.as_str()).is_ok_and(|c| c.get(capability).is_some())
    }

    /// Whether a capability is declared with this flag set.
    pub fn has_flag(&self, capability: &str, flag: &str) -> bool {
        let Ok(capabilities) = Object::parse(self.capabilities.as_str()) else {
            return false;
        };
        capabilities
            .get(capability)
            .and_then(|c| Object::parse(c).ok())
            .is_some_and(|c| c.get(flag) == Some("true"))
    }
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Send these lines and wait.
    Send(Vec<String>),
    /// Wait.
    Wait,
    /// Done.
    Done(Box<Facts>),
    /// It cannot work.
    Failed(String),
}

/// One handshake. Its request ids lie below every id that calls use.
#[derive(Debug)]
pub struct Handshake {
    discover: Greeting,
    initialize: Greeting,
    fetch: Option<Fetch>,
    facts: Option<Facts>,
    discovered: Option<(String, Arc<Introduced>)>,
    choice: EraChoice,
    face: Face,
    /// The probe was repeated.
    asked_again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Greeting {
    Unsent,
    Sent,
    Refused,
    Accepted,
}

const DISCOVER_ID: &str = "1";
const INITIALIZE_ID: &str = "2";
const DISCOVER_AGAIN_ID: &str = "\"1-again\"";

impl Handshake {
    /// Begins. `remembered` is the era of an earlier incarnation, `face` who the target is told that it serves.
    pub fn begin(choice: EraChoice, remembered: Option<Era>, face: Face) -> (Self, Step) {
        let mut shake = Self {
            discover: Greeting::Unsent,
            initialize: Greeting::Unsent,
            fetch: None,
            facts: None,
            discovered: None,
            choice,
            face,
            asked_again: false,
        };
        let first = match (choice, remembered) {
            (EraChoice::Legacy, _) | (EraChoice::Auto, Some(Era::Legacy)) => shake.send_initialize(),
            _ => shake.send_discover(),
        };
        (shake, Step::Send(vec![first]))
    }

    /// Whether the probe is out and unanswered: then a silent server is greeted the legacy way too, and one
    /// that dies is greeted that way at its next start.
    pub fn probing(&self) -> bool {
        self.discover == Greeting::Sent && self.initialize == Greeting::Unsent
    }

    /// The probe is overdue.
    pub fn overdue(&mut self) -> Step {
        if self.probing() && self.choice == EraChoice::Auto {
            Step::Send(vec![self.send_initialize()])
        } else {
            Step::Wait
        }
    }

    /// The probe was broken off, without an answer. That says nothing of the era, so it counts as never sent; `None`
    /// where there is nothing else to try.
    pub fn broken_off(&mut self) -> Option<Step> {
        if self.choice != EraChoice::Auto || self.discover != Greeting::Sent {
            return None;
        }
        self.discover = Greeting::Unsent;
        match self.initialize {
            Greeting::Unsent => Some(Step::Send(vec![self.send_initialize()])),
            Greeting::Sent | Greeting::Accepted => Some(Step::Wait),
            Greeting::Refused => None,
        }
    }

    /// A response arrived.
    pub fn on_response(&mut self, response: &Response<'_>) -> Step {
        match response.id.as_ref().map(|id| id.as_raw()) {
            Some(DISCOVER_ID | DISCOVER_AGAIN_ID) if self.discover == Greeting::Sent => {
                self.on_discover(response.outcome)
            }
            Some(INITIALIZE_ID) if self.initialize == Greeting::Sent => self.on_initialize(response.outcome),
            Some(id) => match self.fetch.as_mut().filter(|f| f.id() == id) {
                Some(fetch) => match fetch.on_result(response.outcome) {
                    FetchStep::Send(line) => Step::Send(vec![line]),
                    FetchStep::Done(tools) => match self.facts.take() {
                        Some(facts) => Step::Done(Box::new(Facts { tools, ..facts })),
                        None => Step::Wait,
                    },
                    FetchStep::Failed(why) => Step::Failed(why),
                },
                None => Step::Wait,
            },
            None => Step::Wait,
        }
    }

    fn send_discover(&mut self) -> String {
        self.discover = Greeting::Sent;
        write_request(
            Some(if self.asked_again {
                DISCOVER_AGAIN_ID
            } else {
                DISCOVER_ID
            }),
            method::DISCOVER,
            Some(&json!({ "_meta": modern_meta() }).to_string()),
        )
    }

    fn send_initialize(&mut self) -> String {
        self.initialize = Greeting::Sent;
        let mut params = Object::default();
        params.set("protocolVersion", quote(Version::NEWEST_LEGACY.as_str()));
        params.set("capabilities", self.face.capabilities.as_str());
        params.set("clientInfo", self.face.client.as_str());
        write_request(Some(INITIALIZE_ID), method::INITIALIZE, Some(&params.to_text()))
    }

    fn on_discover(&mut self, outcome: Result<&str, &str>) -> Step {
        let accepted = outcome.ok().and_then(|result| {
            let result = Object::parse(result).ok()?;
            let versions: Vec<String> = serde_json::from_str(result.get("supportedVersions")?).ok()?;
            let version = versions
                .into_iter()
                .find(|v| Version::parse(v).is_some_and(|v| v.era() == Era::Modern))?;
            Some((version, Introduced::of(Era::Modern, &result)))
        });
        match accepted {
            Some((version, introduced)) => {
                self.discover = Greeting::Accepted;
                match self.initialize {
                    // Both greetings are out: the answer to the other one decides.
                    Greeting::Sent => {
                        self.discovered = Some((version, introduced));
                        Step::Wait
                    }
                    // It has decided.
                    Greeting::Accepted => Step::Wait,
                    Greeting::Unsent | Greeting::Refused => self.agreed(Era::Modern, version, introduced),
                }
            }
            // It is modern, and said in which versions: asked once more, in one that both speak.
            None if !self.asked_again && outcome.err().is_some_and(speaks_ours) => {
                self.asked_again = true;
                Step::Send(vec![self.send_discover()])
            }
            None => {
                self.discover = Greeting::Refused;
                let said = outcome
                    .err()
                    .map_or_else(|| "a result the router does not understand".to_owned(), short);
                match (self.choice, self.initialize) {
                    (EraChoice::Modern, _) => Step::Failed(format!("it does not speak the modern era ({said})")),
                    (_, Greeting::Unsent) => Step::Send(vec![self.send_initialize()]),
                    (_, Greeting::Refused) => {
                        Step::Failed(format!("it refused server/discover ({said}) and initialize"))
                    }
                    _ => Step::Wait,
                }
            }
        }
    }

    fn on_initialize(&mut self, outcome: Result<&str, &str>) -> Step {
        let accepted = outcome.ok().and_then(|result| {
            let result = Object::parse(result).ok()?;
            let version = result.get_str("protocolVersion")?.into_owned();
            Some((version, Introduced::of(Era::Legacy, &result)))
        });
        if let Some((version, introduced)) = accepted {
            self.initialize = Greeting::Accepted;
            if !Version::parse(&version).is_some_and(|v| v.era() == Era::Legacy) {
                return Step::Failed(format!(
                    "it wants protocol version {:?}, which the router does not speak",
                    short(&version)
                ));
            }
            return self.agreed(Era::Legacy, version, introduced);
        }
        self.initialize = Greeting::Refused;
        if let Some((version, introduced)) = self.discovered.take() {
            return self.agreed(Era::Modern, version, introduced);
        }
        let error = outcome.err().unwrap_or("a result the router does not understand");
        let code = Object::parse(error)
            .ok()
            .and_then(|e| e.get("code").and_then(|c| c.parse::<i64>().ok()));
        // A modern server may find the method wrong, or first of all that its `_meta` is missing.
        let maybe_modern = matches!(
            code,
            Some(codes::UNSUPPORTED_VERSION | codes::METHOD_NOT_FOUND | codes::INVALID_PARAMS | codes::INVALID_REQUEST)
        );
        match (self.choice, self.discover) {
            (_, Greeting::Sent) => Step::Wait,
            // A remembered legacy server that was replaced by a modern one.
            (EraChoice::Auto, Greeting::Unsent) if maybe_modern => Step::Send(vec![self.send_discover()]),
            _ => Step::Failed(format!("it refused initialize: {}", short(error))),
        }
    }

    /// The era is agreed: the third step of the legacy handshake, then the tools.
    fn agreed(&mut self, era: Era, version: String, introduced: Arc<Introduced>) -> Step {
        let mut lines = Vec::new();
        if era == Era::Legacy {
            lines.push(write_request(None, method::INITIALIZED, None));
        }
        let facts = Facts {
            era,
            version,
            introduced,
            tools: Vec::new(),
        };
        if !facts.has("tools") {
            return if lines.is_empty() {
                Step::Done(Box::new(facts))
            } else {
                self.without_tools(facts, lines)
            };
        }
        let (fetch, line) = Fetch::begin(Kind::Tools, era, 3);
        lines.push(line);
        self.fetch = Some(fetch);
        self.facts = Some(facts);
        Step::Send(lines)
    }

    /// A legacy server without tools still gets its third step; a ping tells when it has read it.
    fn without_tools(&mut self, facts: Facts, mut lines: Vec<String>) -> Step {
        let (fetch, line) = Fetch::ping(3);
        lines.push(line);
        self.fetch = Some(fetch);
        self.facts = Some(facts);
        Step::Send(lines)
    }
}

/// Whether an error says that the version is the wrong one, and that a modern one which the router speaks is right.
fn speaks_ours(error: &str) -> bool {
    let read = || {
        let error = Object::parse(error).ok()?;
        let code: i64 = error.get("code")?.parse().ok()?;
        let data = Object::parse(error.get("data")?).ok()?;
        let supported: Vec<String> = serde_json::from_str(data.get("supported")?).ok()?;
        let ours = |v: &String| Version::parse(v).is_some_and(|v| v.era() == Era::Modern);
        Some(code == codes::UNSUPPORTED_VERSION && supported.iter().any(ours))
    };
    read().unwrap_or(false)
}

/// The `_meta` of the router's own modern requests.
pub fn modern_meta() -> serde_json::Value {
    json!({
        method::META_VERSION: Version::NEWEST_MODERN.as_str(),
        method::META_CLIENT: client_info(),
        method::META_CAPABILITIES: {},
    })
}

/// The beginning of a peer's words, for a message.
pub(super) fn short(text: &str) -> String {
    let mut words: String = text.chars().take(200).collect();
    if words.len() < text.len() {
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests;
