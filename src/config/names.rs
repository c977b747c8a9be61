//! Which names backends, endpoints and plugins may have.

/// The longest name: with `__` and a tool's name it has to fit into 64 characters.
const LONGEST: usize = 32;

/// Why `name` cannot name a thing, or `None` where it can. Names stand in paths, in `BACKEND__TOOL` and in logs, and
/// `__` has to have one meaning only: hence neither it inside nor `_` at an end.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    let word = |c: char| c.is_ascii_alphanumeric();
    if name.is_empty() {
        Some("is empty")
    } else if !name.chars().all(|c| word(c) || c == '-' || c == '_') {
        Some("may hold letters, digits, `-` and `_` only")
    } else if !name.starts_with(word) || !name.ends_with(word) {
        Some("must begin and end with a letter or digit")
    } else if name.contains("__") {
        Some("must not hold `__`, which separates backend and tool")
    } else if name.len() > LONGEST {
        Some("is longer than 32 characters")
    } else {
        None
    }
}

/// A valid name that is like `name`, or `None` where nothing of it is left.
pub(super) fn suggestion(name: &str) -> Option<String> {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c);
        } else if !out.is_empty() && !out.ends_with(['-', '_']) {
            out.push(if c == '_' { '_' } else { '-' });
        }
    }
    out.truncate(LONGEST);
    let trimmed = out.trim_end_matches(['-', '_']);
    fault(trimmed).is_none().then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_always_a_valid_name() {
        for (name, expected) in [
            ("My Server!", Some("My-Server")),
            ("a__b", Some("a_b")),
            ("@scope/tool", Some("scope-tool")),
            ("-x-", Some("x")),
            ("ünï", Some("n")),
            ("!!", None),
        ] {
            assert!(fault(name).is_some(), "{name}");
            assert_eq!(suggestion(name).as_deref(), expected, "{name}");
        }
        assert_eq!(suggestion(&"x".repeat(40)).map(|s| s.len()), Some(32));
        assert_eq!(fault("git-2_x"), None);
    }
}
