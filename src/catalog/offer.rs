//! What an endpoint says of itself to agents: the united capabilities of its backends, and what they say to models.

use std::borrow::Cow;

use super::view::View;
use crate::wire::json::quote;
use crate::wire::{Era, Object, Topic};

/// The extension whose shape in the legacy era is another.
const TASKS: &str = "io.modelcontextprotocol/tasks";

impl View {
    /// The capabilities of all its backends together, as JSON text for agents of an era.
    ///
    /// Lists and their changes, subscriptions and log levels are the router's own work, so what it says of them is
    /// what it does; anything else is what the first backend that has it says.
    pub fn capabilities(&self, era: Era) -> String {
        let introduced: Vec<_> = self.backends.iter().filter_map(|b| b.introduced()).collect();
        let parsed: Vec<(Era, Object<'_>)> = introduced
            .iter()
            .filter_map(|i| Some((i.era, Object::parse(i.capabilities.as_str()).ok()?)))
            .collect();
        let mut united = Object::default();
        // An agent asks for the lists of what is declared here alone, and a backend that is down may have tools.
        united.set("tools", "{\"listChanged\":true}");
        for (from, key, value) in parsed
            .iter()
            .flat_map(|(from, o)| o.iter().map(move |(k, v)| (from, k, v)))
        {
            let tasks;
            let own = match key {
                "tools" | "logging" => continue,
                "resources" => "{\"subscribe\":true,\"listChanged\":true}",
                _ if Topic::ALL.iter().any(|t| t.capability() == key) => "{\"listChanged\":true}",
                // Their shapes differ from era to era.
                "tasks" if (*from, era) != (Era::Legacy, Era::Legacy) => continue,
                "tasks" => {
                    // Which tasks there are is nobody's business but theirs who began them.
                    let mut object = Object::parse(value).unwrap_or_default();
                    object.remove("list");
                    tasks = object.to_text();
                    tasks.as_str()
                }
                "extensions" => continue,
                _ => value,
            };
            if united.get(key).is_none() {
                united.set(key, own.to_owned());
            }
        }
        united.set("logging", "{}");
        let mut extensions = Object::default();
        for (from, object) in &parsed {
            let declared = object.get("extensions").and_then(|e| Object::parse(e).ok());
            for (name, value) in declared.iter().flat_map(Object::iter) {
                let bridged = name != TASKS || (*from, era) == (Era::Modern, Era::Modern);
                if bridged && extensions.get(name).is_none() {
                    extensions.append(name.to_owned(), value.to_owned());
                }
            }
        }
        if !extensions.is_empty() {
            united.set("extensions", extensions.to_text());
        }
        united.to_text()
    }

    /// What its backends say to models about their use: as it is with one, under headings with several. JSON text.
    pub fn instructions(&self) -> Option<String> {
        let said: Vec<(&str, String)> = self
            .backends
            .iter()
            .filter_map(|b| Some((&**b.name(), b.introduced()?.instructions.clone()?)))
            .collect();
        let text = match said.as_slice() {
            [] => return None,
            [(_, only)] if self.backends.len() == 1 => Cow::Borrowed(only.as_str()),
            several => {
                let parts: Vec<String> = several
                    .iter()
                    .map(|(name, text)| format!("# {name}\n\n{text}"))
                    .collect();
                Cow::Owned(parts.join("\n\n"))
            }
        };
        Some(quote(&text))
    }
}
