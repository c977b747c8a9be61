//! A plugin's voice in the log: its lines carry its name, long ones are cut, and too many are dropped.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Bytes of one line at most.
const LINE: usize = 1024;
/// Lines in one second at most.
const LINES: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// How many lines were said in a trial.
    static SAID: Arc<AtomicU64>;
}

/// Awaits a trial: how many lines were dropped in it. It has as many as a second has, however many trials fit into one.
pub(super) async fn counted<F: Future>(trial: F) -> (F::Output, u64) {
    let said = Arc::new(AtomicU64::new(0));
    let output = SAID.scope(Arc::clone(&said), trial).await;
    (output, said.load(Ordering::Relaxed).saturating_sub(u64::from(LINES)))
}

/// What all instances of one plugin share to speak.
pub(super) struct Voice {
    plugin: Arc<str>,
    window: Mutex<Window>,
}

struct Window {
    began: Instant,
    lines: u32,
    dropped: u64,
}

impl Window {
    /// Whether a line may be written now, and how many were dropped before it in the last window.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let mut missed = 0;
        if now.saturating_duration_since(self.began) >= SECOND {
            missed = std::mem::take(&mut self.dropped);
            self.began = now;
            self.lines = 0;
        }
        if self.lines < LINES {
            self.lines += 1;
            Some(missed)
        } else {
            self.dropped += 1;
            None
        }
    }
}

impl Voice {
    pub(super) fn new(plugin: Arc<str>) -> Self {
        Self {
            plugin,
            window: Mutex::new(Window {
                began: Instant::now(),
                lines: 0,
                dropped: 0,
            }),
        }
    }

    fn admit(&self) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.admit(Instant::now())
    }

    /// Writes one line.
    pub(super) fn say(&self, level: &str, message: &str) {
        let in_trial = SAID.try_with(|said| said.fetch_add(1, Ordering::Relaxed) < u64::from(LINES));
        let admitted = match in_trial {
            Ok(admitted) => admitted.then_some(0),
            Err(_) => self.admit(),
        };
        let Some(missed) = admitted else { return };
        let plugin = &*self.plugin;
        if missed > 0 {
            tracing::warn!(plugin, dropped = missed, "the plugin wrote too many log lines");
        }
        let message = cut(message);
        match level {
            "error" => tracing::error!(plugin, "{message}"),
            "warn" => tracing::warn!(plugin, "{message}"),
            "debug" => tracing::debug!(plugin, "{message}"),
            "trace" => tracing::trace!(plugin, "{message}"),
            _ => tracing::info!(plugin, "{message}"),
        }
    }
}

/// At most `LINE` bytes, ending at a character.
fn cut(message: &str) -> &str {
    &message[..message.floor_char_boundary(LINE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_lines_are_dropped_and_counted() {
        let voice = Voice::new("p".into());
        let mut window = voice.window.lock().unwrap();
        let began = window.began;
        assert!((0..LINES).all(|_| window.admit(began) == Some(0)));
        assert!((0..7).all(|_| window.admit(began).is_none()));
        assert_eq!(window.admit(began + SECOND), Some(7));
        assert_eq!(window.admit(began + SECOND), Some(0));
    }

    #[tokio::test]
    async fn every_trial_has_lines_of_its_own() {
        let voice = Voice::new("p".into());
        let say = async |lines: u32| (0..lines).for_each(|_| voice.say("info", "x"));
        for _ in 0..3 {
            assert_eq!(counted(say(LINES)).await.1, 0);
            assert_eq!(counted(say(LINES + 7)).await.1, 7);
        }
        // What was said in them counts nowhere else.
        assert_eq!(voice.window.lock().unwrap().lines, 0);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(LINE);
        assert_eq!(cut(&long).len(), LINE);
        assert_eq!(cut(&format!("x{long}")).len(), LINE - 1);
    }
}
