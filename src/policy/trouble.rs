//! A call in trouble, as `settle` sees it.

use std::sync::Arc;
use std::time::Duration;

/// What a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleKind {
    /// It is about to wait, and was not written.
    Held,
    /// It was written, and its target died.
    Died,
}

impl TroubleKind {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Died => "died",
        }
    }
}

/// A call in trouble.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// What it met.
    pub kind: TroubleKind,
    /// Why, in words.
    pub why: String,
    /// The backend that it is for.
    pub backend: Arc<str>,
    /// The best state of that backend's targets.
    pub state: &'static str,
    /// How often it was written.
    pub attempts: u32,
    /// Whether its method only reads.
    pub is_read: bool,
    /// Calls that would go before it.
    pub ahead: u32,
    /// When the backend is expected to be ready.
    pub eta: Option<Duration>,
}

/// What `settle` decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing: as always.
    Next,
    /// It waits, or is written again.
    Replay,
    /// It fails.
    Fail {
        /// For programs.
        code: String,
        /// For people and models.
        message: String,
    },
    /// It waits, or is written again, for so many milliseconds at most.
    Hold(u32),
}
