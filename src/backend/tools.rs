//! A backend's tool list as its last incarnation gave it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::wire::header::{Mirrored, mirrored};
use crate::wire::{Object, RawJson};

/// One tool: the router reads its name and two hints, the rest stays as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name at the backend.
    pub name: String,
    /// The whole definition.
    pub raw: RawJson,
    /// `annotations.readOnlyHint` or `annotations.idempotentHint`: running it twice does no harm, says the server.
    pub repeatable: bool,
    /// The arguments that modern clients mirror in headers.
    pub mirrored: Vec<Mirrored>,
}

/// A tool list with the incarnation that gave it.
#[derive(Clone, Debug, Default)]
pub struct ToolList {
    tools: Vec<Tool>,
    by_name: HashMap<String, usize>,
    /// The incarnation that gave it.
    pub incarnation: u64,
}

impl ToolList {
    /// A list of tools. Where a name stands twice the first one counts.
    pub fn new(tools: Vec<Tool>, incarnation: u64) -> Arc<Self> {
        let mut by_name = HashMap::with_capacity(tools.len());
        for (position, tool) in tools.iter().enumerate() {
            by_name.entry(tool.name.clone()).or_insert(position);
        }
        Arc::new(Self {
            tools,
            by_name,
            incarnation,
        })
    }

    /// The tools in the server's order.
    pub fn tools(&self) -> &[Tool] {
        &self.tools
    }

    /// The tool of that name.
    pub fn get(&self, name: &str) -> Option<&Tool> {
        self.by_name.get(name).and_then(|at| self.tools.get(*at))
    }
}

/// One page of a `tools/list` result: its tools, and the cursor of the next page.
pub fn parse_page(result: &str) -> Result<(Vec<Tool>, Option<String>), String> {
    let wrong = |e: &dyn std::fmt::Display| format!("its tools/list result is wrong: {e}");
    let object = Object::parse(result).map_err(|e| wrong(&e))?;
    let items = object.get("tools").ok_or("its tools/list result has no tools")?;
    let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(items).map_err(|e| wrong(&e))?;
    let mut tools = Vec::with_capacity(items.len());
    for item in items {
        let tool = Object::parse(item.get()).map_err(|e| wrong(&e))?;
        let name = tool
            .get_str("name")
            .ok_or("a tool in its list has no name")?
            .into_owned();
        let hints = tool.get("annotations").and_then(|a| Object::parse(a).ok());
        let hint = |key: &str| hints.as_ref().and_then(|h| h.get(key)) == Some("true");
        let mirrored = tool.get("inputSchema").map(mirrored).unwrap_or_default();
        tools.push(Tool {
            mirrored,
            name,
            raw: RawJson::from(item),
            repeatable: hint("readOnlyHint") || hint("idempotentHint"),
        });
    }
    let cursor = object.get("nextCursor").filter(|c| *c != "null").map(str::to_owned);
    Ok((tools, cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_keep_their_bytes_and_hints_are_read() {
        let page = r#"{"tools":[{"name":"a","inputSchema":{"type" :"object"},"x":1e0},{"name":"b","annotations":{"readOnlyHint":true}}],"nextCursor":"c\"1"}"#;
        let (tools, cursor) = parse_page(page).unwrap();
        assert_eq!(
            tools[0].raw.as_str(),
            r#"{"name":"a","inputSchema":{"type" :"object"},"x":1e0}"#
        );
        assert_eq!((tools[0].repeatable, tools[1].repeatable), (false, true));
        assert_eq!(cursor.as_deref(), Some(r#""c\"1""#));
        assert!(parse_page("{}").is_err() && parse_page(r#"{"tools":[{}]}"#).is_err());
    }
}
