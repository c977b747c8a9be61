//! What is wrong with a configuration: all problems at once, each with its place.

use std::fmt;
use std::path::PathBuf;

/// One problem, printed as `pointsman.toml:12:3: message; hint`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file: the main one as the operator named it, an included one in full.
    pub file: PathBuf,
    /// Its line from 1; 0 where the problem is the whole file.
    pub line: usize,
    /// The column from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, where that can be told.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// All problems of a configuration, by file and line; never empty. With them the files it was read from: a change of
/// any of them may mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>, pub Vec<PathBuf>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The nearest of `known` to a word that is none of them, or `None` where nothing is near.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase().replace('_', "-");
    let near = |candidate: &str| strsim::damerau_levenshtein(&word, &candidate.replace('_', "-"));
    known
        .into_iter()
        .map(|candidate| (near(candidate), candidate))
        // A third of the letters may differ: more would suggest words that have nothing to do with it.
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3)) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The usual hint: the nearest word, else all of them, unless they are many.
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    match nearest(word, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() || known.len() > 12 => None,
        None => Some(all(known)),
    }
}

fn all(known: &[&str]) -> String {
    let all: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    format!("known: {}", all.join(", "))
}

/// Words that other programs have for a key, and ours.
const ELSEWHERE: [(&str, &str); 8] = [
    ("timeout", "call-timeout"),
    ("arguments", "args"),
    ("environment", "env"),
    ("cmd", "command"),
    ("working-directory", "cwd"),
    ("workdir", "cwd"),
    ("bind", "address"),
    ("port", "address"),
];

/// The hint for an unknown key: what was probably meant, else all keys of its table.
pub(super) fn key_hint(word: &str, known: &[&str]) -> Option<String> {
    let elsewhere = ELSEWHERE
        .iter()
        .find(|(theirs, ours)| word.eq_ignore_ascii_case(theirs) && known.contains(ours));
    match elsewhere {
        Some((_, ours)) => Some(format!("did you mean `{ours}`?")),
        None if known.is_empty() => None,
        None => did_you_mean(word, known).or_else(|| Some(all(known))),
    }
}
