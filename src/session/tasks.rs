//! Task ids as agents know them: sealed with the target that has the task, for the agent that began it alone.
//!
//! A task lives at one incarnation of one target; whoever asks for it must be led there, and nobody else may. The
//! same task always has the same id.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::Agents;
use crate::call::{AgentKey, Call};
use crate::error::{CallError, Reason};
use crate::router::{Answer, Incoming, Pinned};
use crate::wire::json::quote;
use crate::wire::method::{META_TASK, TASK_ID};
use crate::wire::{Object, method};

/// Looked for in every result: what the search needs is made once.
static QUOTED_TASK_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"taskId\""));

/// The extension that has tasks (SEP-2663).
const EXTENSION: &str = "io.modelcontextprotocol/tasks";

fn declares_tasks(capabilities: &str) -> bool {
    let capabilities = Object::parse(capabilities).unwrap_or_default();
    let extensions = capabilities.get("extensions").and_then(|e| Object::parse(e).ok());
    extensions.is_some_and(|e| e.get(EXTENSION).is_some())
}

/// A task, and where it is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    #[serde(rename = "b")]
    backend: String,
    #[serde(rename = "r")]
    replica: u32,
    #[serde(rename = "i")]
    incarnation: Option<u64>,
    /// The process that counts incarnations.
    #[serde(rename = "p")]
    process: u64,
    #[serde(rename = "t")]
    id: String,
}

impl Agents {
    /// Leads a call about a task to the target that has it.
    ///
    /// A modern agent must have declared the extension, in its `capabilities`; in the legacy era there is none.
    pub(super) fn find_task(&self, incoming: &mut Incoming, capabilities: Option<&str>) -> Result<(), CallError> {
        let call = &incoming.call;
        if !call.method.starts_with("tasks/") {
            return Ok(());
        }
        if capabilities.is_some_and(|capabilities| !declares_tasks(capabilities)) {
            return Err(Reason::Undeclared(EXTENSION).into());
        }
        if call.method == method::TASKS_LIST {
            // A server that several agents share would show each the tasks of all.
            return Err(Reason::MethodNotFound(call.method.to_string()).into());
        }
        let unknown = || CallError::from(Reason::InvalidParams("Task not found".to_owned()));
        let mut params = Object::parse(call.params.as_str()).map_err(|_| unknown())?;
        let sealed = params.get_str(TASK_ID).ok_or_else(unknown)?.into_owned();
        let task = self.sealer.open(&purpose(call), &sealed).map_err(|_| unknown())?;
        let task: Task = serde_json::from_slice(&task).map_err(|_| unknown())?;
        if task.incarnation.is_some() && task.process != self.process {
            return Err(CallError::from(Reason::StateLost).at(&task.backend));
        }
        params.set(TASK_ID, quote(&task.id));
        let params = params.to_text();
        incoming.pinned = Some(Pinned {
            backend: task.backend.into(),
            replica: task.replica,
            incarnation: task.incarnation,
        });
        incoming.call = std::sync::Arc::new(Call {
            params: call.params.edited(params.into()),
            ..(**call).clone()
        });
        Ok(())
    }

    /// An answer with task ids as the agent is to know them. `known` is told the ids at the target, and these.
    pub(super) fn name_tasks(&self, call: &Call, answer: Answer, mut known: impl FnMut(&Pinned, &str, &str)) -> Answer {
        let renamed = match (&answer.body, &answer.from) {
            (Ok(result), Some(from)) if answer.tasks => renamed(call, result.as_str(), &mut |id| {
                let name = self.task_name(call, from, id);
                known(from, id, &name);
                name
            }),
            _ => None,
        };
        match renamed {
            Some(result) => Answer {
                body: Ok(result.into()),
                ..answer
            },
            None => answer,
        }
    }

    fn task_name(&self, call: &Call, from: &Pinned, id: &str) -> String {
        let task = Task {
            backend: from.backend.to_string(),
            replica: from.replica,
            incarnation: from.incarnation,
            process: self.process,
            id: id.to_owned(),
        };
        let text = serde_json::to_vec(&task).unwrap_or_default();
        self.sealer.name(&purpose(call), &text)
    }
}

/// Whose a task is: of one legacy session, which no other process will have, or of a principal.
fn purpose(call: &Call) -> Vec<u8> {
    let owner = match &call.agent {
        AgentKey::Session(_) => call.agent.to_string(),
        _ => String::new(),
    };
    format!("task\0{}\0{}\0{owner}", call.endpoint, call.principal()).into_bytes()
}

/// A result with the ids of tasks replaced where the protocol has them; `None` where it has none.
fn renamed(call: &Call, result: &str, name: &mut dyn FnMut(&str) -> String) -> Option<String> {
    // A quick look, which most results do not pass.
    QUOTED_TASK_ID.find(result.as_bytes())?;
    let mut object = Object::parse(result).ok()?;
    let mut changed = false;
    // A task itself, in the answers about it and, in the modern era, in the place of a result.
    if call.method.starts_with("tasks/") || object.get_str("resultType").as_deref() == Some("task") {
        changed |= rename(&mut object, name);
    }
    // In the legacy era the answer to a call that asked for one.
    let asked = || Object::parse(call.params.as_str()).is_ok_and(|p| p.get("task").is_some());
    if let Some(task) = object.get("task").map(str::to_owned)
        && asked()
        && let Ok(mut task) = Object::parse(&task)
        && rename(&mut task, name)
    {
        object.set("task", task.to_text());
        changed = true;
    }
    if let Some(meta) = object.get("_meta").map(str::to_owned)
        && let Ok(mut meta) = Object::parse(&meta)
        && let Some(related) = meta.get(META_TASK).map(str::to_owned)
        && let Ok(mut related) = Object::parse(&related)
        && rename(&mut related, name)
    {
        meta.set(META_TASK, related.to_text());
        object.set("_meta", meta.to_text());
        changed = true;
    }
    changed.then(|| object.to_text())
}

fn rename(object: &mut Object<'_>, name: &mut dyn FnMut(&str) -> String) -> bool {
    let Some(id) = object.get_str(TASK_ID).map(|id| quote(&name(&id))) else {
        return false;
    };
    object.set(TASK_ID, id);
    true
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::Trail;
    use crate::wire::{Era, RawJson};

    fn call(method: &'static str, params: &str) -> Call {
        Call {
            id: 1,
            method: method.into(),
            subject: None,
            endpoint: Arc::from(""),
            path_backend: None,
            agent: AgentKey::Session(1),
            era: Era::Legacy,
            headers: http::HeaderMap::new(),
            principal: None,
            initialize: None,
            roots: None,
            params: RawJson::from(params.to_owned()).try_into().unwrap(),
            trail: Trail::default(),
        }
    }

    #[test]
    fn ids_are_replaced_where_the_protocol_has_them_and_nowhere_else() {
        let mut name = |id: &str| format!("named-{id}");
        for (method, params, result, given) in [
            (
                "tools/call",
                r#"{"task":{}}"#,
                r#"{"task":{"taskId":"a","ttl": 1.0}}"#,
                Some(r#"{"task":{"taskId":"named-a","ttl":1.0}}"#),
            ),
            ("tools/call", "{}", r#"{"task":{"taskId":"a"}}"#, None),
            ("tools/call", "{}", r#"{"structuredContent":{"taskId":"a"}}"#, None),
            (
                "tools/call",
                "{}",
                r#"{"resultType":"task","taskId":"a"}"#,
                Some(r#"{"resultType":"task","taskId":"named-a"}"#),
            ),
            ("tasks/get", "{}", r#"{"taskId":"a"}"#, Some(r#"{"taskId":"named-a"}"#)),
            (
                "tasks/result",
                "{}",
                r#"{"content":[ ],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"a"},"k":1}}"#,
                Some(r#"{"content":[ ],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"named-a"},"k":1}}"#),
            ),
        ] {
            assert_eq!(
                renamed(&call(method, params), result, &mut name).as_deref(),
                given,
                "{method} {result}"
            );
        }
    }
}
