//! What a backend offers, as its last incarnation listed it: tools, prompts, resources, templates.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::wire::header::{Mirrored, mirrored};
use crate::wire::{Kind, Object, RawJson};

/// One thing that a server offers: the router reads what it is known by and a few hints, the rest stays as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name, URI or URI template at the backend.
    pub key: String,
    /// The whole definition.
    pub raw: RawJson,
    /// Tools: `annotations.readOnlyHint` or `annotations.idempotentHint`: running it twice does no harm, says the
    /// server.
    pub repeatable: bool,
    /// Tools: the arguments that modern clients mirror in headers, or why a modern client must not use the tool.
    pub mirrored: Result<Vec<Mirrored>, &'static str>,
}

/// A list with the incarnation that gave it.
#[derive(Clone, Debug, Default)]
pub struct List {
    items: Vec<Item>,
    by_key: HashMap<String, usize>,
    /// The incarnation that gave it.
    pub incarnation: u64,
    /// Rises when it differs from the one before, and when the server said that it changed.
    pub revision: u64,
}

impl List {
    /// A list of items. Where a key stands twice the first one counts.
    fn new(items: Vec<Item>, incarnation: u64, revision: u64) -> Arc<Self> {
        let mut by_key = HashMap::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            by_key.entry(item.key.clone()).or_insert(position);
        }
        Arc::new(Self {
            items,
            by_key,
            incarnation,
            revision,
        })
    }

    /// The items in the server's order.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The item of that key.
    pub fn get(&self, key: &str) -> Option<&Item> {
        self.by_key.get(key).and_then(|at| self.items.get(*at))
    }
}

/// A list of each kind, and their changes; `None` before the first incarnation said what it has.
pub type Known = Option<Arc<List>>;

/// The lists of one backend.
#[derive(Debug, Default)]
pub(super) struct Lists {
    by_kind: [watch::Sender<Known>; 4],
}

impl Lists {
    /// The list of a kind, and its changes.
    pub(super) fn of(&self, kind: Kind) -> &watch::Sender<Known> {
        &self.by_kind[kind.position()]
    }

    /// A target gave a list. Told on only where it differs or the server said so (`announced`): a restart alone
    /// changes nothing for agents.
    pub(super) fn publish(&self, kind: Kind, items: Vec<Item>, incarnation: u64, announced: bool) {
        self.of(kind).send_if_modified(|current| {
            let changed = announced || current.as_ref().is_none_or(|c| c.items() != items.as_slice());
            let revision = current.as_ref().map_or(0, |c| c.revision) + u64::from(changed);
            *current = Some(List::new(items, incarnation, revision));
            changed
        });
    }
}

/// One page of a list's result: its items, and the cursor of the next page.
pub fn parse_page(kind: Kind, result: &str) -> Result<(Vec<Item>, Option<String>), String> {
    let method = kind.list_method();
    let wrong = |e: &dyn std::fmt::Display| format!("its {method} result is wrong: {e}");
    let object = Object::parse(result).map_err(|e| wrong(&e))?;
    let member = kind.member();
    let items = object
        .get(member)
        .ok_or_else(|| format!("its {method} result has no {member}"))?;
    let raws: Vec<&serde_json::value::RawValue> = serde_json::from_str(items).map_err(|e| wrong(&e))?;
    let items: Result<Vec<Item>, String> = raws.into_iter().map(|raw| item(kind, raw)).collect();
    let cursor = object.get("nextCursor").filter(|c| *c != "null").map(str::to_owned);
    Ok((items?, cursor))
}

fn item(kind: Kind, raw: &serde_json::value::RawValue) -> Result<Item, String> {
    let method = kind.list_method();
    let object = Object::parse(raw.get()).map_err(|e| format!("its {method} result is wrong: {e}"))?;
    let key = object
        .get_str(kind.key())
        .ok_or_else(|| format!("an item of its {method} has no {}", kind.key()))?
        .into_owned();
    let hints = object.get("annotations").filter(|_| kind == Kind::Tools);
    let hints = hints.and_then(|a| Object::parse(a).ok());
    let hint = |key: &str| hints.as_ref().and_then(|h| h.get(key)) == Some("true");
    let schema = object.get("inputSchema").filter(|_| kind == Kind::Tools);
    Ok(Item {
        key,
        raw: RawJson::from(raw),
        repeatable: hint("readOnlyHint") || hint("idempotentHint"),
        mirrored: schema.map_or(Ok(Vec::new()), mirrored),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_keep_their_bytes_and_hints_are_read() {
        let page = r#"{"tools":[{"name":"a","inputSchema":{"type" :"object"},"x":1e0},{"name":"b","annotations":{"readOnlyHint":true}}],"nextCursor":"c\"1"}"#;
        let (tools, cursor) = parse_page(Kind::Tools, page).unwrap();
        assert_eq!(
            tools[0].raw.as_str(),
            r#"{"name":"a","inputSchema":{"type" :"object"},"x":1e0}"#
        );
        assert_eq!((tools[0].repeatable, tools[1].repeatable), (false, true));
        assert_eq!(cursor.as_deref(), Some(r#""c\"1""#));
        assert!(parse_page(Kind::Tools, "{}").is_err() && parse_page(Kind::Tools, r#"{"tools":[{}]}"#).is_err());
        let (templates, _) =
            parse_page(Kind::Templates, r#"{"resourceTemplates":[{"uriTemplate":"x://{a}"}]}"#).unwrap();
        assert_eq!(templates[0].key, "x://{a}");
    }

    #[test]
    fn a_list_is_news_where_it_differs_or_is_said_to() {
        let lists = Lists::default();
        let page = |names: &[&str]| -> Vec<Item> {
            let names: Vec<_> = names.iter().map(|n| format!("{{\"name\":\"{n}\"}}")).collect();
            let page = format!("{{\"prompts\":[{}]}}", names.join(","));
            parse_page(Kind::Prompts, &page).unwrap().0
        };
        let mut told = lists.of(Kind::Prompts).subscribe();
        let mut publish = |names: &[&str], announced| {
            lists.publish(Kind::Prompts, page(names), 1, announced);
            let changed = told.has_changed().unwrap();
            let revision = told.borrow_and_update().as_ref().map(|l| l.revision);
            (changed, revision)
        };
        assert_eq!(publish(&[], false), (true, Some(1)), "nothing is known now");
        assert_eq!(publish(&["a"], false), (true, Some(2)));
        assert_eq!(publish(&["a"], false), (false, Some(2)));
        assert_eq!(publish(&["a"], true), (true, Some(3)));
    }
}
