//! `[endpoints.NAME.allow]` and `deny`: which of its backends' things an endpoint has at all.

use wildmatch::WildMatch;

use crate::wire::Kind;

/// Patterns of one kind of thing. `*` stands for any text, `?` for one character.
pub type Patterns = Vec<WildMatch>;

/// What an endpoint has: all that is allowed, and of that what is not denied.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Exposure {
    /// By kind; `None` allows everything of it.
    pub allow: [Option<Patterns>; 4],
    /// By kind.
    pub deny: [Patterns; 4],
}

impl Exposure {
    /// The word for a kind in the configuration.
    pub(super) fn word(kind: Kind) -> &'static str {
        match kind {
            Kind::Templates => "resource-templates",
            other => other.as_str(),
        }
    }

    /// Whether the endpoint has what `backend` knows as `key`. A pattern is about the name there, or with `__` about
    /// the backend and the name, `BACKEND__NAME`.
    pub fn has(&self, kind: Kind, backend: &str, key: &str) -> bool {
        let (allow, deny) = (&self.allow[kind.position()], &self.deny[kind.position()]);
        if allow.is_none() && deny.is_empty() {
            return true;
        }
        let full = format!("{backend}__{key}");
        let whole = |p: &WildMatch| p.to_string().contains("__");
        // No server gets itself allowed by a name that looks like another's. No URI does: schemes have no `_`.
        let plain = |p: &WildMatch| !whole(p) || !kind.is_named();
        let allowed = |p: &WildMatch| (whole(p) && p.matches(&full)) || (plain(p) && p.matches(key));
        let denied = |p: &WildMatch| (whole(p) && p.matches(&full)) || p.matches(key);
        allow.as_ref().is_none_or(|patterns| patterns.iter().any(allowed)) && !deny.iter().any(denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        texts.iter().map(|text| WildMatch::new(text)).collect()
    }

    #[test]
    fn what_is_allowed_and_not_denied_is_there() {
        let mut rules = Exposure::default();
        assert!(rules.has(Kind::Tools, "git", "push"));
        rules.allow[Kind::Tools.position()] = Some(patterns(&["git__*", "read_?"]));
        rules.deny[Kind::Tools.position()] = patterns(&["*push*", "files__read_2"]);
        let table = [
            ("git", "log", true),
            ("git", "push", false),
            ("git", "force_push_all", false),
            ("files", "read_1", true),
            ("files", "read_2", false),
            ("files", "read_10", false),
            ("files", "write", false),
            ("files", "git__log", false),
            ("git", "git__log", true),
            ("push", "read_3", true),
        ];
        for (backend, tool, expected) in table {
            assert_eq!(rules.has(Kind::Tools, backend, tool), expected, "{backend} {tool}");
        }
        assert!(rules.has(Kind::Prompts, "git", "push"), "rules are of one kind");
        rules.allow[Kind::Prompts.position()] = Some(Vec::new());
        assert!(!rules.has(Kind::Prompts, "git", "x"), "nothing is allowed");
        rules.deny[Kind::Resources.position()] = patterns(&["file:///etc/*"]);
        assert!(rules.has(Kind::Resources, "files", "file:///srv/a/b"));
        assert!(!rules.has(Kind::Resources, "files", "file:///etc/a/b"));
    }
}
