//! One value of a TOML file, read as the type a setting needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use toml::de::DeValue;

use super::doc::Doc;
use super::problem::did_you_mean;
use super::values::{self, Word};

/// A value with its place and the words that messages use for it. Every reader tells its problems itself and then
/// gives `None`.
pub(super) struct Item<'d> {
    pub(super) doc: &'d Doc<'d>,
    pub(super) value: &'d DeValue<'d>,
    pub(super) at: usize,
    pub(super) label: String,
    /// Its dotted path, for what is checked later.
    pub(super) path: String,
}

/// What a value is, in an operator's words.
pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl<'d> Item<'d> {
    /// Notes a problem here.
    pub(super) fn fault<T>(&self, message: &str, hint: Option<String>) -> Option<T> {
        self.doc.fault(self.at, format!("{} {message}", self.label), hint);
        None
    }

    fn wrong_kind<T>(&self, wanted: &str, hint: Option<String>) -> Option<T> {
        self.fault(&format!("must be {wanted}, not {}", kind(self.value)), hint)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(*value),
            _ => self.wrong_kind("true or false", None),
        }
    }

    /// Text as it stands.
    pub(super) fn text(&self) -> Option<&'d str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.wrong_kind("a string", None),
        }
    }

    /// Text with its placeholders replaced.
    pub(super) fn expanded(&self) -> Option<String> {
        let text = self.text()?;
        self.doc.expand(self.at, &self.label, text)
    }

    /// A path, relative to the file's folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        self.doc.path(self.at, &self.label, text)
    }

    /// A file, with what stands in it.
    pub(super) fn file(&self) -> Option<(PathBuf, String)> {
        let path = self.path()?;
        self.doc.notes.depends_on(&path);
        match (self.doc.outside.read)(&path) {
            Ok(text) => Some((path, text)),
            Err(error) => self.fault(&format!("cannot be read: {} ({error})", path.display()), None),
        }
    }

    /// A program.
    pub(super) fn program(&self) -> Option<String> {
        let text = self.text()?;
        self.doc.program(self.at, &self.label, text)
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Option<Vec<Item<'d>>> {
        let DeValue::Array(list) = self.value else {
            return self.wrong_kind("a list", None);
        };
        let item = |(position, value): (usize, &'d toml::Spanned<DeValue<'d>>)| {
            let (at, path) = (value.span().start, format!("{}.{position}", self.path));
            self.doc.notes.put(&path, self.doc.place(at));
            Item {
                doc: self.doc,
                value: value.get_ref(),
                at,
                label: format!("item {} of {}", position + 1, self.label),
                path,
            }
        };
        Some(list.iter().enumerate().map(item).collect())
    }

    /// A list; where an item is wrong, all that are wrong are told.
    pub(super) fn list<T>(&self, parse: impl FnMut(&Item<'d>) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = self.items()?.iter().map(parse).collect();
        read.into_iter().collect()
    }

    /// A list of names: plain text, none of it empty or twice.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        self.words_like(|_| true, "", "")
    }

    /// A list of words that are all `good`, none of them twice.
    pub(super) fn words_like(&self, good: impl Fn(&str) -> bool, message: &str, hint: &str) -> Option<Vec<String>> {
        let mut seen: Vec<&str> = Vec::new();
        let read = |item: &Item<'d>| {
            let word = item.text()?;
            if seen.contains(&word) {
                return item.fault(&format!("stands twice: `{word}`"), None);
            }
            seen.push(word);
            if word.is_empty() {
                return item.fault("is empty", None);
            }
            if !good(word) {
                return item.fault(&format!("{message}: `{word}`"), Some(hint.to_owned()));
            }
            Some(word.to_owned())
        };
        self.list(read)
    }

    /// A whole number within bounds.
    pub(super) fn number<T: TryFrom<u64>>(&self, least: u64, most: u64) -> Option<T> {
        let number = match self.value {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => return self.wrong_kind("a whole number", None),
        };
        let inside = number
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| (least..=most).contains(n));
        match inside.and_then(|n| T::try_from(n).ok()) {
            Some(number) => Some(number),
            None => self.fault(&format!("must be from {least} to {most}"), None),
        }
    }

    /// A number of things that a queue or table holds: never 0.
    pub(super) fn capacity(&self) -> Option<usize> {
        self.number(1, 10_000_000)
    }

    /// A size in bytes within bounds, written `"4MiB"` or as a number.
    pub(super) fn size(&self, least: u64, most: u64) -> Option<usize> {
        let bytes = match self.value {
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(|n| u64::try_from(n).ok()),
            DeValue::String(text) => match values::size(text) {
                Ok(bytes) => Some(bytes),
                Err(hint) => return self.fault(&format!("is not a size: `{text}`"), Some(hint)),
            },
            _ => return self.wrong_kind("a size", Some(r#"write it like "4MiB""#.to_owned())),
        };
        match bytes
            .filter(|n| (least..=most).contains(n))
            .and_then(|n| usize::try_from(n).ok())
        {
            Some(bytes) => Some(bytes),
            None => {
                let bound = |n: u64| usize::try_from(n).map(values::show_size).unwrap_or_default();
                self.fault(&format!("must be from {} to {}", bound(least), bound(most)), None)
            }
        }
    }

    /// A duration within bounds, written `"30s"`.
    pub(super) fn duration(&self, least: Duration, most: Duration) -> Option<Duration> {
        let value = match self.value {
            DeValue::String(text) => values::duration(text)
                .or_else(|hint| {
                    self.fault(&format!("is not a duration: `{text}`"), Some(hint))
                        .ok_or(())
                })
                .ok()?,
            DeValue::Integer(number) => {
                let hint = format!(r#"did you mean "{}s"?"#, number.as_str());
                return self.fault("needs a unit of time", Some(hint));
            }
            _ => return self.wrong_kind("a duration", Some(r#"write it like "30s""#.to_owned())),
        };
        if (least..=most).contains(&value) {
            return Some(value);
        }
        let (least, most) = (values::show_duration(least), values::show_duration(most));
        self.fault(&format!("must be from {least} to {most}"), None)
    }

    /// One of a few words.
    pub(super) fn word<W: Word>(&self) -> Option<W> {
        let known: Vec<&str> = W::ALL.iter().map(|(word, _)| *word).collect();
        let text = match self.value {
            DeValue::String(text) => text.as_ref(),
            _ => return self.wrong_kind("a word", did_you_mean("", &known)),
        };
        match W::ALL.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(*value),
            None => self.fault(&format!("cannot be `{text}`"), did_you_mean(text, &known)),
        }
    }

    /// An address with its port.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let text = match self.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(port) => return self.wrong_kind("an address", values::address(port.as_str()).err()),
            _ => return self.wrong_kind("an address", values::address("").err()),
        };
        match values::address(text) {
            Ok(address) => Some(address),
            Err(hint) => self.fault(&format!("is not an address: `{text}`"), Some(hint)),
        }
    }

    /// Any value as JSON; a date becomes its text.
    pub(super) fn json(&self) -> Option<Value> {
        match self.value {
            DeValue::String(text) => Some(Value::from(text.as_ref())),
            DeValue::Boolean(value) => Some(Value::from(*value)),
            DeValue::Datetime(date) => Some(Value::from(date.to_string())),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Some(Value::from(number)),
                Err(_) => self.fault("is a number that does not fit into 64 bits", None),
            },
            DeValue::Float(number) => match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
                Some(number) => Some(Value::Number(number)),
                None => self.fault("is a number that JSON does not have", None),
            },
            DeValue::Array(_) => self.list(Item::json).map(Value::Array),
            DeValue::Table(table) => {
                let member = |(name, value): (&'d toml::Spanned<toml::de::DeString<'d>>, &'d toml::Spanned<_>)| {
                    let item = Item {
                        doc: self.doc,
                        value: value.get_ref(),
                        at: value.span().start,
                        label: format!("`{}` of {}", name.get_ref(), self.label),
                        path: format!("{}.{}", self.path, name.get_ref()),
                    };
                    Some((name.get_ref().to_string(), item.json()?))
                };
                table.iter().map(member).collect::<Option<_>>().map(Value::Object)
            }
        }
    }
}
