//! What a policy costs by its language: the same three hooks in each, built and measured on this machine.
//!
//! A project of each language is made by `pointsman plugin new`, gets the sources that lie beside this file, is built by
//! `pointsman plugin build`, and asked by `pointsman plugin bench`. A language whose toolchain is not here is a line that
//! says so. All of it lies in `target/languages`, where compilers find what they made before.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it speaks to the person who measures"
)]

mod project;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use self::project::{LANGUAGES, Language, Place};

/// Measures one policy in all languages.
#[derive(Parser)]
#[command(after_help = "Examples:
  make bench-languages
  make bench-languages ARGS='--only rust,go --rounds 20000'

Every policy looks at the tool's name in `route`, `select` and `transform-request`; at a header, and at how busy each
candidate that offers the tool is; at the loads of all targets; at an argument, which it edits. Warm: an instance that has
answered before. Fresh: one for each hook call, as with `reuse = 1`. The three hooks are those of one call, asked as the
router asks them. TypeScript is left out: the same interpreter runs the JavaScript that its compiler makes.")]
struct Options {
    /// The languages to measure.
    #[arg(long, value_name = "LANGUAGE", value_delimiter = ',', value_parser = language)]
    only: Vec<&'static Language>,
    /// Calls that are measured for each; a tenth of them with fresh instances.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    rounds: u32,
    /// The program, if it is not the one that was built beside this one.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

fn language(name: &str) -> Result<&'static Language, String> {
    let names = || LANGUAGES.iter().map(|l| l.name).collect::<Vec<_>>().join(", ");
    let found = LANGUAGES.iter().find(|language| language.name == name);
    found.ok_or_else(|| format!("the languages are {}", names()))
}

fn main() -> ExitCode {
    match Options::parse().measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("languages: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn measure(&self) -> Result<(), String> {
        let own = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
        // Examples lie in a folder of their own beside the program, and that in the folder of a profile.
        let profile = own.ancestors().nth(2).unwrap_or(Path::new("."));
        let beside = profile.join(format!("pointsman{}", std::env::consts::EXE_SUFFIX));
        let place = Place {
            program: self.program.clone().unwrap_or(beside),
            folder: profile.parent().unwrap_or(profile).join("languages"),
        };
        println!(
            "\nthree hooks by language, µs: p50, min; load average before: {}",
            load()
        );
        println!(
            "  {:<12}{:>9}{:>18}{:>18}{:>20}{:>20}",
            "language", "size KB", "route, warm", "route, fresh", "3 hooks, warm", "3 hooks, fresh"
        );
        let (mut nobody, mut is_missing) = (None, false);
        for language in &LANGUAGES {
            if !self.only.is_empty() && !self.only.iter().any(|one| one.name == language.name) {
                continue;
            }
            match place.measure(language, self.rounds) {
                Ok((size, report)) => {
                    println!("{}", line(language, size, &report));
                    nobody = nobody.or_else(|| report["no_plugin_us"].as_f64());
                }
                Err(why) => {
                    println!("  {:<12} not measured: {why}", language.title);
                    is_missing = true;
                }
            }
        }
        println!("  {:<12} as JavaScript: the same interpreter", "TypeScript");
        if let Some(nobody) = nobody {
            println!("  a hook that no plugin has: {nobody:.3} µs for each call");
        }
        if is_missing {
            println!("  what is missing of compilers, but for that of Rust, `make tools` installs here");
        }
        println!("load average after: {}", load());
        Ok(())
    }
}

fn line(language: &Language, size: u64, report: &Value) -> String {
    let (route, call) = (&report["hooks"]["route"], &report["call"]);
    let mut line = format!("  {:<12}{:>9.0}", language.title, size as f64 / 1e3);
    for (cost, width) in [(route, 18), (call, 20)] {
        if let Some(why) = cost["error"].as_str() {
            return format!("{line}  fails: {why}");
        }
        for how in ["warm_us", "fresh_us"] {
            let of = |what: &str| cost[how][what].as_f64().unwrap_or(f64::NAN);
            line += &format!("{:>width$}", format!("{:.2}, {:.2}", of("p50"), of("min")));
        }
    }
    line
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
