//! `pointsman plugin test`: asks a plugin what its fixtures say, and compares.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::fixture::{Fixture, files};
use super::heard::{Heard, fit};
use super::{case, decision, expect, runtime, source_of, usual_name};
use crate::cli::print;
use crate::config::{Policies, Source};
use crate::plugin::{Asked, Host, LoadError, Loaded, Problem};
use crate::policy::FaultKind;

/// `pointsman plugin test`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Test {
    /// The plugin's file or `embedded:NAME`, unless the fixtures name it; then fixtures, or folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// What the plugin is called, where its file does not tell.
    #[arg(skip)]
    name: Option<String>,
}

/// A file with fixtures, all of it understood.
struct Script {
    path: PathBuf,
    fixture: Fixture,
    questions: Vec<Asked>,
}

/// What came of one file.
struct Outcome {
    text: String,
    all: usize,
    failed: usize,
}

impl Test {
    /// Asks a component what these fixtures say; `name` is that of its project.
    pub(super) fn of(component: &Path, fixtures: &Path, name: String) -> Self {
        let words = [component, fixtures].map(|path| path.to_string_lossy().into_owned());
        Self {
            files: words.into(),
            name: Some(name),
        }
    }

    pub(super) fn run(&self) -> Result<(), String> {
        let is_plugin = |word: &&String| word.ends_with(".wasm") || word.starts_with("embedded:");
        let (over, words) = match self.files.split_first() {
            Some((first, rest)) if is_plugin(&first) => (Some(source_of(first)), rest),
            _ => (None, self.files.as_slice()),
        };
        if words.is_empty() {
            return Err(
                "no fixture is named: add its file, or a folder of fixtures (docs/plugins.md shows one)".to_owned(),
            );
        }
        let words: Vec<PathBuf> = words.iter().map(PathBuf::from).collect();
        // Before anything else, so that a slip is told before the compiler has run.
        let scripts = files(&words)?.into_iter().map(Script::read);
        let scripts = scripts.collect::<Result<Vec<_>, String>>()?;
        // Nobody waits but whoever called this, who can end it: an interpreter may take long on a busy machine.
        let policies = Policies {
            compile_timeout: Duration::from_secs(600),
            ..Policies::default()
        };
        let host = Host::metered(&policies).map_err(|error| error.to_string())?;
        let heard = Heard::begin();
        let (mut all, mut failed) = (0, 0);
        runtime()?.block_on(async {
            for script in &scripts {
                let outcome = self.play(script, &host, over.as_ref(), &heard).await?;
                print(&outcome.text);
                all += outcome.all;
                failed += outcome.failed;
            }
            Ok::<(), String>(())
        })?;
        if failed > 0 {
            return Err(format!("{failed} of {all} cases failed"));
        }
        print(&format!("{all} cases passed"));
        Ok(())
    }

    /// Loads the plugin as one file says, and asks it what stands there.
    async fn play(
        &self,
        script: &Script,
        host: &Host,
        over: Option<&Source>,
        heard: &Heard,
    ) -> Result<Outcome, String> {
        let Script { path, fixture, .. } = script;
        let settings = fixture.settings(path, over)?;
        let name = self.name.clone().unwrap_or_else(|| usual_name(&settings.source));
        host.begin_anew(fixture.begins().map(|moment| moment.0));
        let (loaded, dropped) = host.load_aloud(&name, &settings).await;
        // In `init`, which is not about any case.
        let said: String = heard
            .lines(dropped)
            .iter()
            .map(|line| format!("  says  {line}\n"))
            .collect();
        let outcome = match (&fixture.refused, loaded) {
            (Some(wanted), loaded) => script.refused(wanted, loaded.err()),
            (None, Ok(loaded)) => script.asked(host, &loaded, heard).await,
            (None, Err(error)) => Err(fit(&error.to_string())),
        };
        let path = path.display();
        match outcome {
            Ok(Outcome { text, all, failed }) => Ok(Outcome {
                text: format!("{path}\n{said}{text}"),
                all,
                failed,
            }),
            Err(why) => Err(format!("{path}: {why}\n{said}").trim_end().to_owned()),
        }
    }
}

impl Script {
    fn read(path: PathBuf) -> Result<Self, String> {
        let fixture = Fixture::read(&path)?;
        if !fixture.is_test() {
            return Err(format!("{}: it has neither a case nor `refused`", path.display()));
        }
        let questions = fixture.cases().iter().map(|case| {
            let wrong = |why: String| format!("{}: case {:?}: {why}", path.display(), case.name);
            let asked = case::asked(case).map_err(wrong)?;
            expect::check(&asked, &case.expect).map_err(wrong)?;
            Ok(asked)
        });
        let questions = questions.collect::<Result<_, String>>()?;
        Ok(Self {
            path,
            fixture,
            questions,
        })
    }

    /// Whether `init` has refused the settings, in the words that are wanted.
    fn refused(&self, wanted: &str, error: Option<LoadError>) -> Result<Outcome, String> {
        let found = match error {
            Some(LoadError {
                problem: Problem::Init(FaultKind::Error, words),
                ..
            }) if words.contains(wanted) => None,
            Some(LoadError {
                problem: Problem::Init(FaultKind::Error, words),
                ..
            }) => Some(format!("expected words with {wanted:?}, got {words:?}")),
            // It did not get as far as to be asked, or did not answer.
            Some(error) => return Err(fit(&error.to_string())),
            None => Some("expected `init` to refuse the config, and it takes it".to_owned()),
        };
        let mut text = format!("  {}  the config is refused\n", mark(&found));
        // Writing to a string cannot fail.
        let _ = found.iter().try_for_each(|line| writeln!(text, "        {line}"));
        Ok(Outcome {
            text,
            all: 1,
            failed: usize::from(found.is_some()),
        })
    }

    /// Asks all cases.
    async fn asked(&self, host: &Host, loaded: &Loaded, heard: &Heard) -> Result<Outcome, String> {
        let (mut text, mut failed) = (String::new(), 0);
        for (case, asked) in self.fixture.cases().iter().zip(&self.questions) {
            if !loaded.hooks().contains(&asked.hook()) {
                let (name, hook) = (&case.name, asked.hook());
                return Err(format!("case {name:?}: the plugin does not export {hook}"));
            }
            if let Some(now) = case.now {
                host.put_clock(now.0);
            }
            let trial = loaded.try_out(asked).await;
            let found = decision::differences(&case.expect, &decision::told(asked, &trial));
            let fuel = trial.fuel.map(|fuel| format!("{fuel} fuel")).unwrap_or_default();
            let mark = mark(&found);
            let _ = writeln!(text, "  {mark}  {:<56} {fuel:>12} {:>8.1?}", case.name, trial.took);
            for line in &found {
                let _ = writeln!(text, "        {}", fit(line));
            }
            for line in heard.lines(trial.dropped) {
                let _ = writeln!(text, "        says  {line}");
            }
            failed += usize::from(!found.is_empty());
        }
        Ok(Outcome {
            text,
            all: self.questions.len(),
            failed,
        })
    }
}

/// How a line begins about something of which this was found to be wrong.
fn mark<'a>(found: impl IntoIterator<Item = &'a String>) -> &'static str {
    match found.into_iter().next() {
        None => "ok  ",
        Some(_) => "FAIL",
    }
}
