//! `pointsman plugin`: for those who write policy components, or want to know what one is before they run it.

mod bench;
mod build;
mod case;
mod check;
mod decision;
mod dev;
mod expect;
mod fixture;
mod heard;
mod inspect;
mod lang;
mod lock;
mod measure;
mod moment;
mod new;
mod pull;
mod test;
mod trace;
mod traced;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ended;
use crate::config;
use crate::plugin::{Anatomy, LoadError, Problem, embedded};

/// `pointsman plugin`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what a file is: hooks, contract, what it imports and the grants that it needs.
    #[command(after_help = "Examples:
  pointsman plugin inspect mine.wasm
  pointsman plugin inspect embedded:redact
  pointsman plugin inspect mine.wasm --json | jq .hooks

Nothing of the file is run. Exit status: 0 when it is a component, or a module that can be made one; 1 otherwise.")]
    Inspect(inspect::Inspect),
    /// Load a file and start one instance, as the router would.
    #[command(after_help = "Examples:
  pointsman plugin check mine.wasm
  pointsman plugin check mine.wasm --fixture fixtures/route.toml
  pointsman plugin check mine.wasm --config pointsman.toml
  pointsman plugin check new/mine.wasm --config pointsman.toml --name mine

Without a configuration the plugin gets an empty `config`, the usual limits, and every grant that it asks for (requests
may go nowhere, and there are no secrets). With one it gets what stands at [plugins.NAME] there, without --name that of
the plugin with this file; with a fixture it gets what stands at [plugin] there. Exit status: 0 when the router would take it, 1 with the router's words when not.")]
    Check(check::Check),
    /// Ask a plugin what its fixtures say, and compare what it decides.
    #[command(
        override_usage = "pointsman plugin test [PLUGIN] FIXTURES...",
        after_help = "Examples:
  pointsman plugin test mine.wasm fixtures/
  pointsman plugin test mine.wasm fixtures/deny.toml fixtures/allow.json
  pointsman plugin test fixtures/redact.toml     (it names its plugin itself)

A fixture holds settings of a plugin and cases: a hook, a call, and the decision that is expected; docs/plugins.md shows
all of it. Cases are asked in their order, of one instance. Each is told with its fuel, which is the same on every machine,
and its time on this one, where counting takes some. Exit status: 0 when all decisions are as expected, 1 otherwise."
    )]
    Test(test::Test),
    /// Measure what a plugin's hooks cost, with a call that is built in.
    #[command(after_help = "Examples:
  pointsman plugin bench mine.wasm
  pointsman plugin bench embedded:redact --config pointsman.toml --name redact
  pointsman plugin bench mine.wasm --fixture fixtures/route.toml
  pointsman plugin bench mine.wasm --rounds 20000
  pointsman plugin bench mine.wasm --json | jq .hooks.route.warm_us.p50

Warm: an instance that has answered before, as nearly all calls meet it. Fresh: one that is made for the call, `init`
included, as with `reuse = 1`. All hooks but `observe`, which no call waits for; those that each call meets also in a row,
about one call. The last line is what a hook costs that no plugin has.")]
    Bench(bench::Bench),
    /// Ask a running router why calls went where they went: what every plugin decided, and how long it took.
    #[command(after_help = "Examples:
  pointsman plugin trace                      the newest calls about which a plugin decided something
  pointsman plugin trace --denied --last 5
  pointsman plugin trace --tool 'db__*' --follow
  pointsman plugin trace --call 42            all of one call, nothing shortened
  pointsman plugin trace --all --follow       also calls that every plugin let pass
  pointsman plugin trace --json | jq '.calls[] | .steps[] | select(.decided)'

The router keeps the newest calls (policies.trace-calls, 256) that a plugin denied, redirected, answered, held or edited, or
failed on, and those for which it chose among several backends. Calls that every plugin let pass are kept only while
somebody asks for them: from the first --all on, until a minute after the last one. Names, decisions, words of denials and
times are kept, never arguments or results. Times are UTC, as in the log.")]
    Trace(trace::Trace),
    /// Make a project for a new policy, which builds and passes its own fixture.
    #[command(after_help = "Examples:
  pointsman plugin new mine && cd mine && pointsman plugin build
  pointsman plugin new --lang python mine

docs/plugins.md says what each language needs to be built, and `pointsman plugin build` what of it is missing.")]
    New(new::New),
    /// Build a component from a project, with the toolchain of its language.
    #[command(after_help = "Examples:
  pointsman plugin build
  pointsman plugin build mine --out plugins/mine.wasm

What the toolchain lacks is named, with the line that installs it. The file is put into place in one step, so that a running router that has it swaps it in at once.")]
    Build(build::Build),
    /// Build a policy whenever its project changes, ask its fixtures, and run a router that swaps it in.
    #[command(after_help = "Examples:
  pointsman plugin dev
  pointsman plugin dev mine --listen 127.0.0.1:7456
  pointsman plugin dev --no-run               (a router of yours has the file)

The router is that of pointsman.toml in the project. What does not build, or is not what the fixtures expect, is said, and the component before it goes on.")]
    Dev(dev::Dev),
    /// Write down which components a configuration means, in plugins.lock beside it.
    #[command(after_help = "Examples:
  pointsman plugin lock --config pointsman.toml
  pointsman plugin lock --update guard        (what its reference means today)
  pointsman plugin lock --check               (in CI: exit status 1 if the lock would change)

With a lock the router loads no other component, whatever lies in a file or behind a tag, and the last good one goes on.
References (`from`) that the lock has keep their component; new ones are pulled.")]
    Lock(lock::Lock),
    /// Fetch components from registries and web servers into the store, from which the router loads them.
    #[command(after_help = "Examples:
  pointsman plugin pull --config pointsman.toml              (what the configuration needs, as plugins.lock has it)
  pointsman plugin pull oci://ghcr.io/acme/guard:1.2         (says what to write into a configuration)
  pointsman plugin pull https://example.com/guard.wasm

The router itself asks nobody: what is in the store is loaded without a network. One that runs and waits for a component of
the configuration is told when it is there. Registries get the credentials that `docker login` left; the system's
certificates say whom to trust.")]
    Pull(pull::Pull),
}

impl Command {
    pub(super) fn main(&self) -> ExitCode {
        ended(match self {
            Self::Inspect(inspect) => inspect.run(),
            Self::Check(check) => check.run(),
            Self::Test(test) => test.run(),
            Self::Bench(bench) => bench.run(),
            Self::Trace(trace) => trace.run(),
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Dev(dev) => dev.run(),
            Self::Lock(lock) => lock.run(),
            Self::Pull(pull) => pull.run(),
        })
    }
}

/// Where the settings of a plugin come from.
#[derive(Args, Clone, Debug)]
struct Settings {
    /// The configuration with the plugin's settings.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Its name there, where the file does not tell.
    #[arg(short, long, value_name = "NAME", requires = "config")]
    name: Option<String>,
    /// A fixture whose `[plugin]` has the settings, instead of a configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    fixture: Option<PathBuf>,
}

/// A plugin as it would be configured.
struct Subject {
    name: String,
    plugin: config::Plugin,
    policies: config::Policies,
}

impl Settings {
    /// The settings for the component at `source`.
    fn of(&self, source: config::Source) -> Result<Subject, String> {
        if let Some(path) = &self.fixture {
            return Ok(Subject {
                name: usual_name(&source),
                plugin: fixture::Fixture::read(path)?.settings(path, Some(&source))?,
                policies: config::Policies::default(),
            });
        }
        let Some(path) = &self.config else {
            let anatomy = Anatomy::of(&bytes_of(&source)?).map_err(|problem| problem.to_string())?;
            let plugin = config::Plugin {
                grants: anatomy.grants(),
                ..config::Plugin::default()
            };
            return Ok(Subject {
                name: usual_name(&source),
                plugin: config::Plugin { source, ..plugin },
                policies: config::Policies::default(),
            });
        };
        let loaded = config::load(path).map_err(|problems| format!("the configuration is wrong:\n{problems}"))?;
        let mut plugins = loaded.config.plugins;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => named_by(&source, &plugins, path)?,
        };
        let Some(plugin) = plugins.remove(&name) else {
            let there = plugins.into_keys().collect::<Vec<_>>().join(", ");
            return Err(format!("{} has no plugin {name}; there are: {there}", path.display()));
        };
        Ok(Subject {
            name,
            plugin: config::Plugin { source, ..plugin },
            policies: loaded.config.policies,
        })
    }

    /// Why a plugin with these settings was not loaded, and how to give it others where it had none.
    fn told(&self, error: &LoadError) -> String {
        let is_init = matches!(error.problem, Problem::Init(..));
        match is_init && self.config.is_none() && self.fixture.is_none() {
            true => format!(
                "{error}\nit was given an empty `config`: take that of a fixture with --fixture FILE, or of a \
                 configuration with --config FILE"
            ),
            false => error.to_string(),
        }
    }
}

/// The one plugin of a configuration that has this file.
fn named_by(
    source: &config::Source,
    plugins: &std::collections::BTreeMap<String, config::Plugin>,
    path: &Path,
) -> Result<String, String> {
    let same = |of: &config::Source| match (of, source) {
        (config::Source::File(a), config::Source::File(b)) => a.canonicalize().ok() == b.canonicalize().ok(),
        (a, b) => a == b,
    };
    let names: Vec<&String> = plugins
        .iter()
        .filter(|(_, p)| same(&p.source))
        .map(|(n, _)| n)
        .collect();
    match names.as_slice() {
        [name] => Ok((*name).clone()),
        [] => Err(format!(
            "no plugin of {} has this file: say which settings it is to have with --name; there are: {}",
            path.display(),
            plugins.keys().cloned().collect::<Vec<_>>().join(", ")
        )),
        several => Err(format!(
            "several plugins of {} have this file: say which is meant with --name, one of {}",
            path.display(),
            several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// What `FILE` on the command line means: a path, or `embedded:NAME` as `pointsman status` writes it.
fn source_of(word: &str) -> config::Source {
    match word.strip_prefix("embedded:") {
        Some(name) => config::Source::Embedded(name.to_owned()),
        None => config::Source::File(PathBuf::from(word)),
    }
}

fn bytes_of(source: &config::Source) -> Result<Vec<u8>, String> {
    match source {
        config::Source::Embedded(name) => match embedded(name) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(Problem::NotEmbedded(name.clone()).to_string()),
        },
        config::Source::File(path) => std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())),
        config::Source::Pulled(from) => Err(format!("{from} is none of a file or `embedded:NAME`")),
    }
}

/// What a plugin would be called in a configuration: as its file.
fn usual_name(source: &config::Source) -> String {
    let name = match source {
        config::Source::Embedded(name) => name.clone(),
        config::Source::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        config::Source::Pulled(from) => from.clone(),
    };
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    name.chars().map(allowed).collect()
}

/// A runtime for the one thing that a command does.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|error| error.to_string())
}
