//! What plugins write to the log while fixtures are asked, kept to be shown beside the cases.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::wire::printable::printable;

/// Where plugins' lines come from.
const VOICE: &str = "pointsman::plugin::voice";

/// The lines that nobody has asked for yet, while this lives, of the thread that made it.
pub(super) struct Heard {
    lines: Arc<Mutex<Vec<String>>>,
    _listening: DefaultGuard,
}

struct Ear(Arc<Mutex<Vec<String>>>);

/// Words about a component, some of which may be its own: no line after the first one looks like one of ours.
pub(super) fn fit(words: &str) -> String {
    let lines: Vec<String> = words.lines().map(printable).collect();
    lines.join("\n        ")
}

/// The words of an event.
struct Words(String);

impl Heard {
    /// Listens from now on.
    pub(super) fn begin() -> Self {
        let lines = Arc::default();
        let ear = Ear(Arc::clone(&lines));
        let listening = tracing::subscriber::set_default(tracing_subscriber::registry().with(ear));
        Self {
            lines,
            _listening: listening,
        }
    }

    /// What was said since the last time, of which so many lines were dropped.
    pub(super) fn lines(&self, dropped: u64) -> Vec<String> {
        let mut lines = std::mem::take(&mut *self.lines.lock().unwrap_or_else(PoisonError::into_inner));
        if dropped > 0 {
            let of_all = lines.len() as u64 + dropped;
            lines.push(format!("(the first {} of {of_all} lines)", lines.len()));
        }
        lines
    }
}

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if about.target() != VOICE {
            return;
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        let level = about.level().as_str().to_ascii_lowercase();
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(format!("{level}: {}", printable(&words.0)));
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
