//! What each tool of the demo server does when it is called.

use std::fs::File;
use std::io::{self, Write as _};
use std::process;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::jobs::{Job, Work};
use super::server::{Era, Next, Server, severity};
use super::tools;
use super::wire::{self, Message};

/// The longest text `big` makes: a typo should not take the machine down.
const BIGGEST: u64 = 1 << 28;

/// The union of all tools' arguments. Texts stay raw, since most are only handed back.
#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    level: Option<String>,
    #[serde(default)]
    ms: Option<u64>,
    #[serde(default)]
    steps: Option<u64>,
    #[serde(default)]
    lines: Option<u64>,
    #[serde(default)]
    n: Option<u64>,
}

impl<'a> Arguments<'a> {
    fn raw_text(&self) -> Result<&'a str, String> {
        let raw = self.text.map(RawValue::get);
        raw.filter(|raw| raw.starts_with('"'))
            .ok_or_else(|| "text is required and must be a string".to_owned())
    }

    fn text(&self) -> Result<String, String> {
        serde_json::from_str(self.raw_text()?).map_err(|error| error.to_string())
    }

    fn id(&self) -> Result<&str, String> {
        self.id.as_deref().ok_or_else(|| "id is required".to_owned())
    }

    fn name(&self) -> Result<&str, String> {
        let name = self.name.as_deref();
        name.ok_or_else(|| "name is required".to_owned())
    }
}

fn needed(value: Option<u64>, name: &str) -> Result<u64, String> {
    value.ok_or_else(|| format!("{name} is required"))
}

impl Server {
    /// Answers a `tools/call`: bad arguments and tool failures become results with `isError`.
    pub(super) fn call(&self, id: &RawValue, message: &Message<'_>, era: Era, out: &mut Vec<u8>) -> Next {
        let params = message.params.as_ref();
        let Some(tool) = params.and_then(|params| params.name.as_deref()) else {
            wire::push_error(out, Some(id), wire::INVALID_PARAMS, "name is required", None);
            return Next::Refused(200);
        };
        let raw = params.and_then(|params| params.arguments);
        let arguments = match raw.map(|raw| serde_json::from_str(raw.get())) {
            None => Ok(Arguments::default()),
            Some(parsed) => parsed.map_err(|error| error.to_string()),
        };
        let call = Call {
            server: self,
            id,
            message,
            era,
        };
        let done = arguments.and_then(|arguments| call.run(tool, &arguments, out));
        done.unwrap_or_else(|reason| {
            wire::push_failure(out, id, &reason, self.tail(era));
            Next::Answered
        })
    }

    fn is_extra(&self, name: &str) -> bool {
        self.extra_tools().iter().any(|extra| extra == name)
    }
}

/// One call in progress.
struct Call<'s, 'm> {
    server: &'s Server,
    id: &'m RawValue,
    message: &'m Message<'m>,
    era: Era,
}

impl Call<'_, '_> {
    fn run(&self, tool: &str, arguments: &Arguments<'_>, out: &mut Vec<u8>) -> Result<Next, String> {
        let server = self.server;
        match tool {
            "echo" => {
                let text = arguments.raw_text()?;
                wire::push_text(out, self.id, text, server.tail(self.era));
                Ok(Next::Answered)
            }
            "append" => self.append(arguments.id()?, out),
            "read" | "idempotent" => {
                let id = arguments.id.as_deref().unwrap_or_default();
                if tool == "read" {
                    write_line(server.order_log.as_ref(), id)?;
                }
                self.say(&format!("{tool} {id} pid={}", process::id()), out)
            }
            "slow" => {
                let ms = needed(arguments.ms, "ms")?;
                let text = match arguments.text {
                    Some(_) => arguments.raw_text()?.to_owned(),
                    None => wire::quote(&format!("waited {ms} ms")),
                };
                Ok(self.later(Work::Slow { ms, text }))
            }
            "progress" => {
                let params = self.message.params.as_ref();
                let meta = params.and_then(|params| params.meta.as_ref());
                Ok(self.later(Work::Progress {
                    token: meta.and_then(|meta| meta.progress_token).map(ToOwned::to_owned),
                    steps: needed(arguments.steps, "steps")?,
                    ms: needed(arguments.ms, "ms")?,
                }))
            }
            "counter" => {
                let value = server.counter.fetch_add(1, Ordering::Relaxed) + 1;
                let members = format!(
                    r#""content":[{{"type":"text","text":"{value}"}}],"structuredContent":{{"value":{value},"pid":{}}}"#,
                    process::id()
                );
                wire::push_result(out, self.id, &[&members], server.tail(self.era));
                Ok(Next::Answered)
            }
            "crash" => Ok(Next::Crash),
            "hang" => Ok(self.later(Work::Hang)),
            "big" => {
                let n = needed(arguments.n, "n")?;
                let n = usize::try_from(n.min(BIGGEST)).unwrap_or(0);
                let text = format!("\"{}\"", "x".repeat(n));
                wire::push_text(out, self.id, &text, server.tail(self.era));
                Ok(Next::Answered)
            }
            "log" => self.log(arguments, out),
            "add_tool" | "remove_tool" => self.change(tool, arguments.name()?, out),
            "env" => {
                let value = std::env::var_os(arguments.name()?).unwrap_or_default();
                self.say(&value.to_string_lossy(), out)
            }
            "stderr" => {
                let lines = usize::try_from(arguments.lines.unwrap_or(1)).unwrap_or(0);
                let text = format!("{}\n", arguments.text()?);
                // Not eprintln: a closed standard error must not bring the server down.
                let _ = io::stderr().write_all(text.repeat(lines).as_bytes());
                self.say("written", out)
            }
            "junk" if server.options.http.is_none() => {
                out.extend_from_slice(arguments.text()?.as_bytes());
                out.push(b'\n');
                self.say("written", out)
            }
            "junk" => Err("junk needs the stdio transport".to_owned()),
            extra if server.is_extra(extra) => {
                let text = arguments.raw_text()?;
                wire::push_text(out, self.id, text, server.tail(self.era));
                Ok(Next::Answered)
            }
            _ => {
                let text = format!("unknown tool {tool}");
                wire::push_error(out, Some(self.id), wire::INVALID_PARAMS, &text, None);
                Ok(Next::Refused(200))
            }
        }
    }

    fn say(&self, text: &str, out: &mut Vec<u8>) -> Result<Next, String> {
        let tail = self.server.tail(self.era);
        wire::push_text(out, self.id, &wire::quote(text), tail);
        Ok(Next::Answered)
    }

    fn later(&self, work: Work) -> Next {
        Next::Later(Job::new(self.id, work))
    }

    fn append(&self, id: &str, out: &mut Vec<u8>) -> Result<Next, String> {
        write_line(self.server.order_log.as_ref(), id)?;
        let file = self.server.file.as_ref();
        let file = file.ok_or("start the demo server with --file PATH to append")?;
        write_line(Some(file), id)?;
        self.say(&format!("appended {id}"), out)
    }

    fn log(&self, arguments: &Arguments<'_>, out: &mut Vec<u8>) -> Result<Next, String> {
        let text = arguments.raw_text()?;
        let level = arguments.level.as_deref().unwrap_or("info");
        let rank = severity(level).ok_or_else(|| format!("unknown level {level}"))?;
        if !self.server.wants_log(self.message, self.era, rank) {
            return self.say("not logged: below the wanted level", out);
        }
        let params = ["\"level\":\"", level, "\",\"logger\":\"demo\",\"data\":", text];
        wire::push_notification(out, "notifications/message", &params);
        self.say("logged", out)?;
        Ok(Next::Told)
    }

    fn change(&self, tool: &str, name: &str, out: &mut Vec<u8>) -> Result<Next, String> {
        let mut extra = self.server.extra_tools();
        let place = extra.iter().position(|extra| extra == name);
        let done = match (tool, place) {
            ("add_tool", Some(_)) => return Err(format!("there is a tool {name} already")),
            ("add_tool", None) if tools::is_builtin(name) => {
                return Err(format!("{name} is built in"));
            }
            ("add_tool", None) => {
                extra.push(name.to_owned());
                "added"
            }
            (_, Some(place)) => {
                extra.remove(place);
                "removed"
            }
            (_, None) => return Err(format!("there is no extra tool {name}")),
        };
        drop(extra);
        self.server.changes.send_modify(|version| *version += 1);
        // Modern clients hear of it through their subscriptions only. A legacy client hears on its one
        // stream; over HTTP that is this call's own, as there is no other.
        let told = self.era == Era::Legacy || self.server.is_initialized();
        let told = told && (self.era == Era::Legacy || self.server.options.http.is_none());
        if told {
            wire::push_notification(out, "notifications/tools/list_changed", &[]);
        }
        self.say(&format!("{done} {name}"), out)?;
        Ok(if told { Next::Told } else { Next::Answered })
    }
}

/// Writes a line with one `write(2)`, which an append-only handle makes atomic.
fn write_line(file: Option<&File>, line: &str) -> Result<(), String> {
    let Some(mut file) = file else { return Ok(()) };
    file.write_all(format!("{line}\n").as_bytes())
        .map_err(|error| format!("cannot write: {error}"))
}
