//! The router's own log: to stderr, never to stdout, which belongs to the protocol.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The variable whose value, when there is one, takes the place of the configured filter.
pub const ENV_FILTER: &str = "POINTSMAN_LOG";
/// The filter when none is given.
const DEFAULT_FILTER: &str = "info";

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("log filter `{filter}` in {place} is wrong: {error}; an example: `info,pointsman=debug`")]
    Filter {
        /// The filter.
        filter: String,
        /// Where it stands.
        place: &'static str,
        /// What is wrong with it.
        #[source]
        error: ParseError,
    },
    /// A bare word of it is no level. As the name of a module it would silence all others.
    #[error("log filter `{filter}` in {place} is wrong: {} {}", no_level(.word), filter_hint(.word))]
    Level {
        /// The filter.
        filter: String,
        /// Where it stands.
        place: &'static str,
        /// The word.
        word: String,
    },
    /// This process has a log already.
    #[error("the log is set up already")]
    Twice(#[source] TryInitError),
}

/// The levels, and words that people take for one.
const LEVELS: [(&str, &str); 14] = [
    ("off", "off"),
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
    ("none", "off"),
    ("quiet", "off"),
    ("critical", "error"),
    ("fatal", "error"),
    ("warning", "warn"),
    ("notice", "info"),
    ("verbose", "debug"),
    ("all", "trace"),
];

fn no_level(word: &str) -> String {
    let known: Vec<&str> = LEVELS.iter().take(6).map(|(level, _)| *level).collect();
    format!("`{word}` is no level; there are {}.", known.join(", "))
}

fn filter_hint(word: &str) -> String {
    let lower = word.to_lowercase();
    let far = |known: &str| strsim::damerau_levenshtein(&lower, known);
    let nearest = LEVELS.iter().min_by_key(|(known, _)| far(known));
    match nearest.filter(|(known, _)| far(known) <= 1 + known.len() / 4) {
        Some((_, level)) => format!("Did you mean `{level}`?"),
        None => format!("A module has a level of its own: `info,{word}=debug`"),
    }
}

/// The first word of a filter that stands alone and is no level.
fn bare_word(filter: &str) -> Option<&str> {
    let parts = filter.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .filter(|part| part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-'))
        .find(|part| part.parse::<LevelFilter>().is_err())
}

/// Sets the log up for the whole process. An empty filter means `info`; [`ENV_FILTER`] goes before both.
pub fn init(format: Format, filter: &str) -> Result<(), TelemetryError> {
    // As elsewhere, a NO_COLOR that is set and not empty means none: https://no-color.org
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ansi = io::stderr().is_terminal() && !plain;
    let filter = choose(std::env::var(ENV_FILTER).ok(), filter)?;
    subscriber(format, filter, ansi, io::stderr)
        .try_init()
        .map_err(TelemetryError::Twice)
}

fn choose(from_env: Option<String>, configured: &str) -> Result<EnvFilter, TelemetryError> {
    let (place, filter) = match from_env.as_deref().map(str::trim) {
        Some(filter) if !filter.is_empty() => (ENV_FILTER, filter),
        _ if configured.trim().is_empty() => ("`--log`", DEFAULT_FILTER),
        _ => ("`--log`", configured.trim()),
    };
    if let Some(word) = bare_word(filter) {
        return Err(TelemetryError::Level {
            filter: filter.to_owned(),
            place,
            word: word.to_owned(),
        });
    }
    EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        place,
        error,
    })
}

type Boxed = Box<dyn Subscriber + Send + Sync>;

fn subscriber<W>(format: Format, filter: EnvFilter, ansi: bool, writer: W) -> Boxed
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        Format::Text => Box::new(builder.with_ansi(ansi).finish()),
        // Fields at the top of the object: that is where log collectors look for them.
        Format::Json => Box::new(builder.with_ansi(false).json().flatten_event(true).finish()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: EnvFilter, what: impl FnOnce()) -> String {
        let log = Log::default();
        let writer = log.clone();
        tracing::subscriber::with_default(subscriber(format, filter, false, move || writer.clone()), what);
        let bytes = log.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_for_people_and_json_for_machines() {
        let say = || tracing::info!(backend = "echo", "ready");
        let text = logged(Format::Text, choose(None, "").unwrap(), say);
        assert!(
            text.contains("INFO") && text.contains("ready backend=\"echo\""),
            "{text}"
        );

        let json = logged(Format::Json, choose(None, "").unwrap(), say);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&json["level"], &json["message"], &json["backend"]),
            (&"INFO".into(), &"ready".into(), &"echo".into())
        );
    }

    #[test]
    fn the_variable_goes_before_the_configuration_and_info_is_the_default() {
        let shows = |filter: EnvFilter| logged(Format::Text, filter, || tracing::debug!("detail")).contains("detail");
        assert!(!shows(choose(None, " ").unwrap()));
        assert!(shows(choose(None, "debug").unwrap()));
        assert!(shows(choose(Some("debug".into()), "warn").unwrap()));
        assert!(!shows(choose(Some(String::new()), "warn").unwrap()));
    }

    #[test]
    fn a_wrong_filter_is_named_with_its_place() {
        let text = choose(Some("pointsman=loud".into()), "info").unwrap_err().to_string();
        assert!(text.contains("`pointsman=loud` in POINTSMAN_LOG"), "{text}");
        assert!(choose(None, "a=b=c").unwrap_err().to_string().contains("`--log`"));
    }

    #[test]
    fn a_bare_word_that_is_no_level_does_not_silence_the_log() {
        for (filter, hint) in [
            ("warning", "Did you mean `warn`?"),
            ("info,verbose", "Did you mean `debug`?"),
            ("debgu", "Did you mean `debug`?"),
            ("bogus", "`info,bogus=debug`"),
            ("pointsman", "`info,pointsman=debug`"),
        ] {
            for (env, configured) in [(None, filter), (Some(filter.to_owned()), "info")] {
                let text = choose(env, configured).unwrap_err().to_string();
                assert!(text.contains("is no level") && text.contains(hint), "{text}");
            }
        }
        for filter in [
            "off",
            "WARN",
            "0",
            "info,pointsman=debug",
            "warn,,pointsman::backend",
            "[span]=info",
        ] {
            assert!(choose(None, filter).is_ok(), "{filter}");
        }
    }
}
