//! The fixtures of `pointsman plugin test`, as they are written: settings of a plugin, and calls with what it is to decide.
//!
//! TOML, or JSON where the file's name ends in `.json`. `docs/plugins.md` explains every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::moment::Moment;
use crate::config::{self, Outside, Plugin};

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fixture {
    /// What would stand at `[plugins.NAME]`.
    #[serde(default)]
    plugin: toml::Table,
    /// What time it is for all cases that do not say it; without it that of the first one that does, or the system's.
    pub(super) now: Option<Moment>,
    /// That `init` refuses these settings, and part of the words it has for that.
    pub(super) refused: Option<String>,
    /// What it is asked, in this order.
    cases: Option<Vec<Case>>,
}

/// A question and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) hook: String,
    /// From this case on.
    pub(super) now: Option<Moment>,
    #[serde(default)]
    pub(super) call: CallData,
    #[serde(default)]
    pub(super) candidates: Vec<CandidateData>,
    #[serde(default)]
    pub(super) targets: Vec<TargetData>,
    pub(super) response: Option<ResponseData>,
    pub(super) listing: Option<ListingData>,
    pub(super) trouble: Option<TroubleData>,
    pub(super) expect: Value,
}

/// A call; what is left out is as for a plain `tools/call` of a modern agent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CallData {
    pub(super) id: Option<u64>,
    pub(super) method: Option<String>,
    pub(super) params: Option<Value>,
    pub(super) params_json: Option<String>,
    #[serde(default)]
    pub(super) endpoint: String,
    pub(super) path_backend: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) principal: Option<PrincipalData>,
    pub(super) era: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) introduction: Option<IntroductionData>,
    pub(super) roots: Option<Value>,
}

/// Who an agent proved to be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PrincipalData {
    pub(super) name: String,
    #[serde(default)]
    pub(super) realm: String,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

/// The `initialize` of a legacy session.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct IntroductionData {
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) meta: Option<Value>,
    pub(super) client: Option<Value>,
    pub(super) capabilities: Option<Value>,
}

/// A backend that may take the call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CandidateData {
    pub(super) backend: String,
    #[serde(default)]
    pub(super) offers: bool,
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) held: u32,
    #[serde(default)]
    pub(super) in_flight: u32,
    pub(super) definition: Option<Value>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) latency_us: Option<u64>,
    pub(super) eta_ms: Option<u64>,
}

/// A live target.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TargetData {
    pub(super) backend: String,
    pub(super) replica: Option<u32>,
    pub(super) incarnation: Option<u64>,
    #[serde(default)]
    pub(super) in_flight: u32,
    #[serde(default)]
    pub(super) answered: u64,
    pub(super) latency_us: Option<u64>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

/// What a backend answered: one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ResponseData {
    pub(super) result: Option<Value>,
    pub(super) result_json: Option<String>,
    pub(super) error: Option<Value>,
}

/// A list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ListingData {
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) endpoint: String,
    pub(super) path_backend: Option<String>,
    pub(super) naming: Option<String>,
    pub(super) backends: Vec<String>,
    pub(super) items: Vec<ItemData>,
}

/// An item of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ItemData {
    pub(super) backend: String,
    pub(super) key: Option<String>,
    pub(super) name: Option<String>,
    pub(super) definition: Option<Value>,
}

/// What a call met.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TroubleData {
    pub(super) kind: String,
    pub(super) backend: String,
    #[serde(default)]
    pub(super) why: String,
    pub(super) state: Option<String>,
    #[serde(default)]
    pub(super) attempts: u32,
    #[serde(default)]
    pub(super) is_read: bool,
    #[serde(default)]
    pub(super) ahead: u32,
    pub(super) eta_ms: Option<u64>,
}

impl Fixture {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let read = if path.extension().is_some_and(|end| end == "json") {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error| error.to_string())
        };
        let wrong = |error: String| format!("{}: {}", path.display(), error.trim_end());
        let fixture: Self = read.map_err(wrong)?;
        fixture.agrees().map_err(wrong)?;
        Ok(fixture)
    }

    /// Whether its parts fit together.
    fn agrees(&self) -> Result<(), String> {
        if self.refused.is_some() && !self.cases().is_empty() {
            return Err("a plugin that is `refused` is asked nothing: put the `cases` into another file".to_owned());
        }
        if self.refused.as_deref() == Some("") {
            return Err(
                "`refused` is empty, which all words would do for: write some of those that are meant".to_owned(),
            );
        }
        let mut last = self.now;
        for case in self.cases() {
            if case.now.is_some_and(|now| last.is_some_and(|last| now < last)) {
                return Err(format!(
                    "case {:?}: `now` is before that of the case before, and time does not go back",
                    case.name
                ));
            }
            last = case.now.or(last);
        }
        Ok(())
    }

    /// What it is asked.
    pub(super) fn cases(&self) -> &[Case] {
        self.cases.as_deref().unwrap_or_default()
    }

    /// The same, for those who want nothing else.
    pub(super) fn into_cases(self) -> Vec<Case> {
        self.cases.unwrap_or_default()
    }

    /// Whether there is anything to find out. A file without would always be content.
    pub(super) fn is_test(&self) -> bool {
        !self.cases().is_empty() || self.refused.is_some()
    }

    /// What time it is when the plugin is loaded, unless the system says it.
    pub(super) fn begins(&self) -> Option<Moment> {
        self.now.or_else(|| self.cases().iter().find_map(|case| case.now))
    }

    /// The settings of the plugin, read as those of a configuration are. `over` goes before the file that they name.
    pub(super) fn settings(&self, path: &Path, over: Option<&config::Source>) -> Result<Plugin, String> {
        let wrong = |why: String| format!("{}: [plugin]: {}", path.display(), why.trim_end());
        let mut table = self.plugin.clone();
        if over.is_some() {
            table.remove("file");
            table.remove("embedded");
            // Put in its place below; the reader asks for one.
            table.insert("embedded".to_owned(), "default-route".into());
        } else if !table.contains_key("file") && !table.contains_key("embedded") {
            return Err(wrong(
                "it names no component: name its file on the command line, before the fixtures, or here with `file`"
                    .to_owned(),
            ));
        }
        let mut plugins = toml::Table::new();
        plugins.insert(NAME.to_owned(), table.into());
        let mut whole = toml::Table::new();
        whole.insert("plugins".to_owned(), plugins.into());
        let outside = Outside::real();
        let loaded = config::parse(&whole.to_string(), path, &outside);
        let problems = |problems: config::Problems| {
            // Their lines are those of the text that was made here, and so is the name.
            let words = problems.0.iter();
            let words = words.map(|problem| problem.message.replace(&format!("plugins.{NAME}"), "plugin"));
            wrong(words.collect::<Vec<_>>().join("; "))
        };
        let plugin = loaded.map_err(problems)?.config.plugins.remove(NAME);
        let mut plugin = plugin.ok_or_else(|| wrong("it is no plugin".to_owned()))?;
        if let Some(source) = over {
            plugin.source = source.clone();
        }
        Ok(plugin)
    }
}

/// What a plugin is called while its settings are read, which nobody is told.
const NAME: &str = "fixture";

/// The files that these words mean: folders stand for the fixtures in them.
pub(super) fn files(words: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for word in words {
        if !word.is_dir() {
            files.push(word.clone());
            continue;
        }
        let entries = std::fs::read_dir(word).map_err(|error| format!("{}: {error}", word.display()))?;
        let is_fixture = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml" || end == "json");
        let mut inside: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(is_fixture).collect();
        if inside.is_empty() {
            return Err(format!("{}: there is no .toml or .json file in it", word.display()));
        }
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}
