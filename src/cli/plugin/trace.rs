//! `pointsman plugin trace`: asks a running router why calls went where they went.

use std::io::Write as _;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::traced::{self, View};
use crate::cli::Whom;

/// The pause between two questions of one who follows.
const PAUSE: Duration = Duration::from_millis(300);
/// Calls in one answer to somebody who follows.
const AT_ONCE: usize = 500;
/// Calls that are asked for where as many are shown as fit on a screen.
const ENOUGH: u64 = 10;

/// `pointsman plugin trace`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Trace {
    /// Show so many calls, the newest; without it as many as fit on a screen.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    last: Option<u64>,
    /// Only the call with this number, with everything that is known of it.
    #[arg(long, value_name = "NUMBER", conflicts_with = "follow")]
    call: Option<u64>,
    /// Only calls that a plugin denied, or that failed by one.
    #[arg(long)]
    denied: bool,
    /// Only calls that this plugin decided; with --all, those that it was asked about.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Only calls of tools, prompts and resources with such names; `*` and `?` stand for anything.
    #[arg(long, value_name = "PATTERN")]
    tool: Option<String>,
    /// Also calls that every plugin let pass; the router keeps those from now on, for a minute.
    #[arg(long)]
    all: bool,
    /// Go on showing calls as they end, until Ctrl-C.
    #[arg(short, long)]
    follow: bool,
    /// As JSON, for programs; with --follow one call a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    whom: Whom,
}

impl Trace {
    pub(super) fn run(&self) -> Result<(), String> {
        let answer = self.whom.ask(&self.question(self.last.unwrap_or(ENOUGH), None))?;
        if answer["most"] == 0 {
            return Err("this router keeps no traces: `trace-calls` in [policies] is 0".to_owned());
        }
        if self.follow {
            return self.go_on(&answer);
        }
        // Whoever reads less than there is has seen enough.
        let _ = match self.json {
            true => said(&format!("{answer:#}\n")),
            false => said(&traced::page(&answer, self.view())),
        };
        Ok(())
    }

    fn view(&self) -> View {
        match (self.call, self.last) {
            (Some(_), _) => View::Whole,
            (None, Some(_)) => View::Several,
            (None, None) => View::Screen,
        }
    }

    fn question(&self, last: u64, after: Option<u64>) -> Value {
        let given = [
            ("command", Some(json!("trace"))),
            ("last", Some(json!(last))),
            ("after", after.map(Value::from)),
            ("call", self.call.map(Value::from)),
            ("denied", self.denied.then_some(true.into())),
            ("all", self.all.then_some(true.into())),
            ("plugin", self.plugin.as_deref().map(Value::from)),
            ("tool", self.tool.as_deref().map(Value::from)),
        ];
        let given = given
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        Value::Object(Map::from_iter(given))
    }

    /// First what there is, then what comes. Ends when nobody reads it any more, or when the router does.
    fn go_on(&self, first: &Value) -> Result<(), String> {
        let mut answer = first.clone();
        loop {
            let calls = answer["calls"].as_array().map_or(&[][..], Vec::as_slice);
            let text: String = match self.json {
                true => calls.iter().map(|call| format!("{call}\n")).collect(),
                false => traced::more(&answer),
            };
            if said(&text).is_err() {
                return Ok(());
            }
            let number = answer["number"].as_u64();
            // A full answer: there is more already.
            if calls.len() < AT_ONCE {
                sleep(PAUSE);
            }
            let most = u64::try_from(AT_ONCE).unwrap_or(u64::MAX);
            answer = self.whom.ask(&self.question(most, number))?;
        }
    }
}

fn said(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        trace: Trace,
    }

    fn question(words: &[&str]) -> String {
        let line = Line::parse_from([&["trace"], words].concat());
        line.trace.question(3, None).to_string()
    }

    #[test]
    fn every_word_of_the_command_line_gets_to_the_router() {
        assert_eq!(question(&[]), r#"{"command":"trace","last":3}"#);
        let all = ["--denied", "--all", "--plugin", "p", "--tool", "a*", "--call", "7"];
        assert_eq!(
            question(&all),
            r#"{"all":true,"call":7,"command":"trace","denied":true,"last":3,"plugin":"p","tool":"a*"}"#
        );
    }

    #[test]
    fn nobody_asks_for_none() {
        assert!(Line::try_parse_from(["trace", "--last", "0"]).is_err());
        assert!(Line::try_parse_from(["trace", "--call", "1", "--follow"]).is_err());
    }
}
