//! Traced calls on a screen: a block for each, the newest last.

use serde_json::Value;

use super::verdict::{self, clean, items, text};

/// Columns of a screen.
const WIDTH: usize = 80;
/// Lines of one, without what the shell writes.
const SCREEN: usize = 23;
/// Lines of words about one call.
const WORDS: usize = 4;
/// Plugins of one call.
const STEPS: usize = 10;

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// The newest calls, as many as fit.
    Screen,
    /// All that the router told.
    Several,
    /// The same, and nothing of it is shortened.
    Whole,
}

/// What the router told, for people.
pub(super) fn page(answer: &Value, view: View) -> String {
    let calls = items(&answer["calls"]);
    let notes = notes(answer, calls.is_empty());
    let mut blocks: Vec<Vec<String>> = Vec::new();
    // One for the line that says what is not shown.
    let mut lines = notes.len() + 1;
    for call in calls.iter().rev() {
        let block = block(call, view == View::Whole);
        lines += block.len() + 1;
        if view == View::Screen && lines > SCREEN && !blocks.is_empty() {
            break;
        }
        blocks.push(block);
    }
    let (shown, fitting) = (blocks.len(), answer["fitting"].as_u64().unwrap_or_default());
    blocks.reverse();
    let mut out: String = blocks.iter().map(|block| block.join("\n") + "\n\n").collect();
    let more = u64::try_from(shown).is_ok_and(|shown| shown < fitting);
    if shown > 0 && more && view == View::Screen {
        out += &format!("{shown} of {fitting} calls; --last N shows more of them, --call NUMBER all of one\n");
    }
    for note in notes {
        out += &(note + "\n");
    }
    out.trim_end().to_owned() + "\n"
}

/// What came since, for somebody who follows; nothing where nothing did.
pub(super) fn more(answer: &Value) -> String {
    let missed = match answer["missed"] == true {
        true => "(more calls ended than the router keeps: some are not shown)\n\n",
        false => "",
    };
    let blocks = items(&answer["calls"])
        .iter()
        .map(|call| block(call, false).join("\n") + "\n\n");
    missed.to_owned() + &blocks.collect::<String>()
}

/// What there is to say of the answer itself.
fn notes(answer: &Value, empty: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let (kept, all) = (
        answer["kept"].as_u64().unwrap_or_default(),
        answer["all_for_s"].as_u64(),
    );
    if empty {
        notes.push(match (kept, all) {
            (0, None) => {
                "no call is kept: no plugin decided anything about one yet (--all keeps the others, too)".to_owned()
            }
            (0, Some(_)) => "no call is kept yet".to_owned(),
            (kept, _) => format!("none of the calls that are kept ({kept}) is of this kind"),
        });
    }
    if let Some(seconds) = all {
        notes.push(format!("all calls are kept from now on, for {seconds} s"));
    }
    notes
}

/// One call.
fn block(call: &Value, whole: bool) -> Vec<String> {
    let mut lines = vec![head(call)];
    let most = if whole { usize::MAX } else { WORDS };
    lines.extend(wrapped(&verdict::verdict(call), most));
    lines.extend(wrapped(&verdict::ending(call), most));
    lines.extend(wrapped(&verdict::whose(call), most));
    let mut rows = rows(call);
    let hooks = rows
        .iter()
        .map(|row| row.hook.chars().count())
        .max()
        .unwrap_or_default();
    let plugins = rows
        .iter()
        .map(|row| row.plugin.chars().count())
        .max()
        .unwrap_or_default();
    let left_out = rows.len().saturating_sub(STEPS);
    if left_out > 0 && !whole {
        rows.drain(STEPS / 2..STEPS / 2 + left_out);
    }
    for (at, row) in rows.iter().enumerate() {
        if left_out > 0 && !whole && at == STEPS / 2 {
            lines.push(format!("    … {left_out} more: --call {} shows them", call["call"]));
        }
        let Row {
            hook,
            mark,
            plugin,
            time,
            words,
            times,
        } = row;
        let times = if *times > 1 {
            format!("{times} times ")
        } else {
            String::new()
        };
        let line = format!("  {mark} {hook:<hooks$}  {plugin:<plugins$}  {time:>8}  {times}{words}");
        lines.push(if whole { line } else { cut(&line) });
    }
    let unasked: Vec<String> = (items(&call["not_asked"]).iter())
        .map(|one| format!("{} ({})", text(&one["plugin"]), text(&one["hook"])))
        .collect();
    if !unasked.is_empty() {
        lines.extend(wrapped(&format!("not asked any more: {}", unasked.join(", ")), most));
    }
    lines
}

/// Which call, and when it began.
fn head(call: &Value) -> String {
    let name = call["name"]
        .as_str()
        .map(|name| format!(" {}", clean(name)))
        .unwrap_or_default();
    let what = format!("call {}  {}{name}", call["call"], text(&call["method"]));
    let ms = call["began_ms"].as_u64().unwrap_or_default();
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let when = format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let room = WIDTH - when.len() - 1;
    format!("{:<room$} {when}", shortened(&what, room))
}

struct Row {
    hook: String,
    mark: char,
    plugin: String,
    time: String,
    words: String,
    /// How often it said that, one time after the other.
    times: u32,
}

/// A line for each plugin that was asked. What one says again and again, while a call is held, is told once.
fn rows(call: &Value) -> Vec<Row> {
    let steps = items(&call["steps"]);
    let mut rows: Vec<Row> = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let same = |key: &str| at > 0 && steps[at - 1][key] == step[key];
        let mut words = verdict::step(step);
        if step["superseded"] == true {
            words += ", superseded";
        }
        if let Some(row) = rows
            .last_mut()
            .filter(|row| same("hook") && same("plugin") && row.words == words)
        {
            row.times += 1;
            continue;
        }
        let hook = if same("hook") {
            String::new()
        } else {
            text(&step["hook"])
        };
        rows.push(Row {
            hook,
            mark: if step["decided"] == true { '>' } else { ' ' },
            plugin: text(&step["plugin"]),
            time: match step["decision"] == "out-of-scope" {
                true => String::new(),
                false => verdict::time(step["took_us"].as_u64().unwrap_or_default()),
            },
            words,
            times: 1,
        });
    }
    rows
}

/// Words as lines with an indent; what is beyond `most` lines ends in dots.
fn wrapped(words: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in words.split_whitespace() {
        let full = |line: &String| line.chars().count() + 1 + word.chars().count() > WIDTH;
        if lines.last().is_some_and(|line| full(line) && !line.trim().is_empty()) {
            lines.push("   ".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = shortened(last, WIDTH - 2) + " …";
        }
    }
    // A word can be longer than a line.
    let whole = most == usize::MAX;
    lines
        .into_iter()
        .map(|line| if whole { line } else { cut(&line) })
        .collect()
}

fn cut(line: &str) -> String {
    shortened(line.trim_end(), WIDTH)
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

#[cfg(test)]
mod tests;
