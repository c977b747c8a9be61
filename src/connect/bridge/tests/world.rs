//! A client, a router and a clock around a bridge, with effects as short texts.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::connect::bridge::{Bridge, Effect, Event, Limits};

pub const LIMITS: Limits = Limits {
    messages: 8,
    bytes: 4096,
    body: 1024,
    wait: Duration::from_secs(60),
    grace: Duration::from_secs(5),
    repeats: 2,
};

pub struct World {
    pub bridge: Bridge,
    pub now: Instant,
    /// The numbers of posts and streams, by what they are shown as.
    numbers: HashMap<String, u64>,
}

impl World {
    pub fn new() -> World {
        World::with(LIMITS, true)
    }

    pub fn with(limits: Limits, may_start: bool) -> World {
        World {
            bridge: Bridge::new(limits, may_start),
            now: Instant::now(),
            numbers: HashMap::new(),
        }
    }

    /// One event, and what follows.
    pub fn on(&mut self, event: Event) -> Vec<String> {
        let effects = self.bridge.step(event, self.now);
        effects.into_iter().map(|e| self.show(e)).collect()
    }

    /// The client says it.
    pub fn say(&mut self, message: Value) -> Vec<String> {
        self.line(&message.to_string())
    }

    pub fn line(&mut self, line: &str) -> Vec<String> {
        self.on(Event::Line(line.to_owned().into()))
    }

    pub fn number(&self, name: &str) -> u64 {
        *self.numbers.get(name).unwrap_or_else(|| panic!("{name} was not sent"))
    }

    pub fn head(&mut self, name: &str, status: u16) -> Vec<String> {
        self.head_of(name, status, None)
    }

    pub fn head_of(&mut self, name: &str, status: u16, session: Option<&str>) -> Vec<String> {
        let (number, session) = (self.number(name), session.map(str::to_owned));
        self.on(Event::Head {
            number,
            status,
            session,
        })
    }

    /// The router says it in the reply to `name`.
    pub fn hear(&mut self, name: &str, message: Value) -> Vec<String> {
        self.on(Event::Said(self.number(name), message.to_string()))
    }

    pub fn end(&mut self, name: &str) -> Vec<String> {
        self.on(Event::Ended(self.number(name)))
    }

    pub fn cut(&mut self, name: &str) -> Vec<String> {
        self.on(Event::Cut(self.number(name)))
    }

    pub fn refused(&mut self, name: &str) -> Vec<String> {
        self.on(Event::Refused(self.number(name)))
    }

    /// A whole answer, from head to end, after the head was told.
    pub fn answer(&mut self, name: &str, id: Value, result: Value) -> Vec<String> {
        let mut all = self.hear(name, json!({ "jsonrpc": "2.0", "id": id, "result": result }));
        all.extend(self.end(name));
        all
    }

    pub fn wait(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.on(Event::Tick)
    }

    /// Until nothing more is due soon: what was paused goes on.
    pub fn wait_for_pause(&mut self) -> Vec<String> {
        self.wait(Duration::from_secs(2))
    }

    fn show(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Write(line) => format!("< {line}"),
            Effect::Post(post) => {
                let message: Value = serde_json::from_str(&post.body).unwrap();
                let mut name = message["method"].as_str().unwrap_or("answer").to_owned();
                if let Some(id) = message.get("id").filter(|id| !id.to_string().contains("pointsman")) {
                    name = format!("{name}#{id}");
                } else if message.get("id").is_some() {
                    name = format!("own {name}");
                }
                self.numbers.insert(name.clone(), post.number);
                let session = post
                    .session
                    .map(|s| format!(" @{}/{}", s.id, s.version))
                    .unwrap_or_default();
                let mirror = post
                    .mirror
                    .map(|m| format!(" [{} {} {:?}]", m.version, m.method, m.name));
                format!("post {name}{session}{}", mirror.unwrap_or_default())
            }
            Effect::Get(number, session) => {
                self.numbers.insert("stream".to_owned(), number);
                format!("get @{}", session.id)
            }
            Effect::Drop(number) => {
                let name = self.numbers.iter().find(|(_, n)| **n == number);
                format!("drop {}", name.map_or("?", |(name, _)| name))
            }
            Effect::Reach { start } => (if start { "start" } else { "look" }).to_owned(),
            Effect::End(session) => format!("end {}", session.map_or("-".to_owned(), |s| s.id.clone())),
        }
    }

    /// A legacy client that has initialized, and whose stream is open.
    pub fn legacy(capabilities: Value) -> World {
        let mut world = World::new();
        assert_eq!(world.say(initialize(capabilities)), ["start"]);
        assert_eq!(world.on(Event::Reached), ["post initialize#0"]);
        world.open("initialize#0", "s1", json!(0));
        assert_eq!(
            world.say(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })),
            ["post notifications/initialized @s1/2025-11-25", "get @s1"]
        );
        assert_eq!(world.head("notifications/initialized", 202), NOTHING);
        assert_eq!(world.end("notifications/initialized"), NOTHING);
        assert_eq!(world.head("stream", 200), NOTHING);
        world
    }

    /// The router answers an `initialize`. Returns what follows.
    pub fn open(&mut self, name: &str, session: &str, id: Value) -> Vec<String> {
        assert_eq!(self.head_of(name, 200, Some(session)), NOTHING);
        self.answer(
            name,
            id,
            json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": { "listChanged": true }, "logging": {} } }),
        )
    }
}

pub const NOTHING: [&str; 0] = [];

pub fn initialize(capabilities: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": { "name": "c", "version": "1" } } })
}

pub fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

pub fn call(id: impl Into<Value>) -> Value {
    request(id, "tools/call", json!({ "name": "t" }))
}

/// A modern request.
pub fn modern(id: impl Into<Value>, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {} });
    request(id, method, params)
}

/// A notification.
pub fn note(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// The code of the error that was written last.
pub fn code(effects: &[String]) -> i64 {
    let line = effects
        .iter()
        .rev()
        .find_map(|e| e.strip_prefix("< "))
        .expect("something is written");
    serde_json::from_str::<Value>(line).unwrap()["error"]["code"]
        .as_i64()
        .unwrap_or_default()
}
