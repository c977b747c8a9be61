//! The names that agents see where an endpoint has several backends.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::config::{self, Names};

/// The longest name shown: what the model interfaces accept.
const MAX_NAME: usize = 64;
/// Between backend and tool.
pub(super) const SEPARATOR: &str = "__";

/// Whether names carry their backend.
pub(super) fn prefixes(settings: &config::Endpoint, backends: usize) -> bool {
    match settings.names {
        Names::Auto => backends > 1,
        Names::Prefixed => true,
        Names::Plain => false,
    }
}

/// `BACKEND__TOOL`, at most 64 characters: longer ones end in a hash of the whole.
pub(super) fn prefixed_name(backend: &str, tool: &str) -> String {
    let whole = format!("{backend}{SEPARATOR}{tool}");
    if whole.chars().count() <= MAX_NAME {
        return whole;
    }
    let mut short: String = whole.chars().take(MAX_NAME - 9).collect();
    short.push('_');
    for byte in Sha256::digest(whole.as_bytes()).iter().take(4) {
        // Writing to a string cannot fail.
        let _ = write!(short, "{byte:02x}");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixed_names_do_not_depend_on_how_many_backends_there_are() {
        let prefixed = |names| {
            let settings = config::Endpoint {
                names,
                ..config::Endpoint::default()
            };
            [1, 2].map(|backends| prefixes(&settings, backends))
        };
        assert_eq!(prefixed(Names::Auto), [false, true]);
        assert_eq!(prefixed(Names::Prefixed), [true, true]);
        assert_eq!(prefixed(Names::Plain), [false, false]);
    }

    #[test]
    fn long_names_end_in_a_hash_and_stay_apart() {
        assert_eq!(prefixed_name("git", "status"), "git__status");
        let (a, b) = (
            prefixed_name("git", &format!("{}a", "x".repeat(70))),
            prefixed_name("git", &format!("{}b", "x".repeat(70))),
        );
        assert_eq!((a.len(), b.len()), (64, 64));
        assert_ne!(a, b);
    }
}
