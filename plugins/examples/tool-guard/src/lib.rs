//! Which agents may call which tools, by who they are or by a label of theirs.
//!
//! `{ "rules": [{ "principal": "ann", "tools": ["read_*"] }, { "label": "team=ops", "tools": ["*"] }], "default": [] }`:
//! the first rule that fits the agent counts; who fits none has `default`. `*` stands for any text.

use pointsman_policy::json::{self, Value};
use pointsman_policy::{Call, Candidates, Policy, Route, RouteChoice, deny};

struct ToolGuard {
    rules: Vec<Rule>,
    default: Vec<String>,
}

struct Rule {
    who: Who,
    tools: Vec<String>,
}

enum Who {
    Principal(String),
    Label(String, String),
}

impl Policy for ToolGuard {
    fn new(config: &str) -> Result<Self, String> {
        let config = json::parse(config)?;
        let rules = match config.get("rules") {
            Some(Value::Array(rules)) => rules.iter().map(rule).collect::<Result<_, _>>()?,
            _ => return Err("rules: a list is wanted".to_owned()),
        };
        Ok(Self {
            rules,
            default: patterns(&config, "default")?,
        })
    }
}

fn rule(value: &Value) -> Result<Rule, String> {
    let text = |key: &str| value.get(key).and_then(Value::text);
    let who = match (text("principal"), text("label")) {
        (Some(name), None) => Who::Principal(name.to_owned()),
        (None, Some(label)) => {
            let (name, value) = label.split_once('=').ok_or("label: NAME=VALUE is wanted")?;
            Who::Label(name.to_owned(), value.to_owned())
        }
        _ => return Err("a rule has either `principal` or `label`".to_owned()),
    };
    let tools = patterns(value, "tools")?;
    Ok(Rule { who, tools })
}

fn patterns(value: &Value, key: &str) -> Result<Vec<String>, String> {
    match value.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let text = |item: &Value| item.text().map(str::to_owned);
            let all: Option<Vec<String>> = items.iter().map(text).collect();
            all.ok_or_else(|| format!("{key}: a list of texts is wanted"))
        }
        Some(_) => Err(format!("{key}: a list is wanted")),
    }
}

impl Route for ToolGuard {
    fn route(&self, call: &Call, _: &Candidates) -> Result<RouteChoice, String> {
        if call.method() != "tools/call" {
            return Ok(RouteChoice::Next);
        }
        let name = call.name().unwrap_or_default();
        let fits = |rule: &&Rule| match &rule.who {
            Who::Principal(wanted) => call.principal().as_ref() == Some(wanted),
            Who::Label(label, wanted) => call.label(label).as_ref() == Some(wanted),
        };
        let tools = self.rules.iter().find(fits).map_or(&self.default, |rule| &rule.tools);
        if tools.iter().any(|pattern| matches(pattern, &name)) {
            return Ok(RouteChoice::Next);
        }
        Ok(deny(
            "tool-not-allowed",
            &format!("the tool {name} is not for this agent"),
        ))
    }
}

/// `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, mut rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(start) else {
        return false;
    };
    while let Some((part, more)) = rest.split_once('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
        rest = more;
    }
    name.ends_with(rest)
}

pointsman_policy::export!(ToolGuard: route);
