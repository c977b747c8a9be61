//! `pointsman plugin test`: asks a plugin what its fixtures say, and compares.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::fixture::{Fixture, NAME, files};
use super::{case, decision, runtime, source_of};
use crate::cli::print;
use crate::config::{Policies, Source};
use crate::plugin::{Host, Loaded};

/// `pointsman plugin test`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Test {
    /// The plugin's file or `embedded:NAME`, unless the fixtures name it; then fixtures, or folders of them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

impl Test {
    /// Asks a component what these fixtures say.
    pub(super) fn of(component: &Path, fixtures: &Path) -> Self {
        let words = [component, fixtures].map(|path| path.to_string_lossy().into_owned());
        Self { files: words.into() }
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
        let fixtures = files(&words)?.into_iter().map(|path| {
            let fixture = Fixture::read(&path)?;
            Ok((path, fixture))
        });
        let fixtures = fixtures.collect::<Result<Vec<_>, String>>()?;
        // Nobody waits but whoever called this, who can end it: an interpreter may take long on a busy machine.
        let policies = Policies {
            compile_timeout: Duration::from_secs(600),
            ..Policies::default()
        };
        let host = Host::metered(&policies).map_err(|error| error.to_string())?;
        let (mut all, mut failed) = (0, 0);
        runtime()?.block_on(async {
            for (path, fixture) in &fixtures {
                let settings = fixture.settings(path, over.as_ref())?;
                let loaded = host.load(NAME, &settings).await.map_err(|error| {
                    let file = match &settings.source {
                        Source::File(file) => file.display().to_string(),
                        Source::Embedded(name) => format!("embedded:{name}"),
                        Source::Pulled(from) => from.clone(),
                    };
                    format!("{}: {file}: {error}", path.display())
                })?;
                let (text, wrong) = asked(path, fixture, &loaded).await?;
                print(&text);
                all += fixture.cases.len();
                failed += wrong;
            }
            Ok::<(), String>(())
        })?;
        if failed > 0 {
            return Err(format!("{failed} of {all} cases failed"));
        }
        print(&format!("{all} cases passed"));
        Ok(())
    }
}

/// Asks all cases of one fixture: what is to be told, and how many went wrong.
async fn asked(path: &Path, fixture: &Fixture, loaded: &Loaded) -> Result<(String, usize), String> {
    let mut out = format!("{}\n", path.display());
    let mut failed = 0;
    for case in &fixture.cases {
        let wrong = |why: String| format!("{}: case {:?}: {why}", path.display(), case.name);
        let asked = case::asked(case).map_err(wrong)?;
        if !loaded.hooks().contains(&asked.hook()) {
            return Err(wrong(format!("the plugin does not export {}", asked.hook())));
        }
        let trial = loaded.try_out(&asked).await;
        let found = decision::differences(&case.expect, &decision::told(&asked, &trial));
        let verdict = if found.is_empty() { "ok  " } else { "FAIL" };
        let fuel = trial.fuel.map(|fuel| format!("{fuel} fuel")).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {verdict}  {:<56} {fuel:>12} {:>8.1?}", case.name, trial.took);
        for line in &found {
            let _ = writeln!(out, "        {line}");
        }
        failed += usize::from(!found.is_empty());
    }
    Ok((out, failed))
}
