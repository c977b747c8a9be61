//! Whether a URI may come from a URI template (RFC 6570): enough to tell whose resource it is.
//!
//! Only the literal parts decide. What stands for an expression is looked at as far as its operator says: a plain
//! `{var}` has no `/`, `{+path}` and lists may have anything.

/// A longer URI comes from no template.
const MAX_URI: usize = 8 * 1024;

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Stands there as it is.
    Literal(&'a str),
    /// An expression: any text, with slashes or without.
    Any { slashes: bool },
}

/// Whether `uri` may be an expansion of `template`.
pub fn matches(template: &str, uri: &str) -> bool {
    // Most templates are told apart by how they begin.
    let start = template.find('{').map_or(template, |open| &template[..open]);
    let whole = start.len() < template.len() && !template[start.len()..].contains('}');
    (whole || uri.starts_with(start)) && uri.len() <= MAX_URI && fits(&parts(template), uri)
}

fn parts(template: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let Some(length) = rest[open..].find('}') else { break };
        if open > 0 {
            parts.push(Part::Literal(&rest[..open]));
        }
        let expression = &rest[open + 1..open + length];
        let slashes = expression.starts_with(['+', '#', '/']) || expression.contains('*');
        // Two expressions side by side are one: nothing tells where the first ends.
        match parts.last_mut() {
            Some(Part::Any { slashes: before }) => *before |= slashes,
            _ => parts.push(Part::Any { slashes }),
        }
        rest = &rest[open + length + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest));
    }
    parts
}

/// Keeps the set of places where the parts so far can end, so that no template costs more than its parts times the
/// length of the URI.
fn fits(parts: &[Part<'_>], uri: &str) -> bool {
    // `reach[i]`: the parts so far can end before byte i.
    let mut reach = vec![false; uri.len() + 1];
    reach[0] = true;
    for part in parts {
        let mut next = vec![false; uri.len() + 1];
        match part {
            Part::Literal(text) => {
                for at in (0..=uri.len()).filter(|at| reach[*at]) {
                    if uri.as_bytes()[at..].starts_with(text.as_bytes()) {
                        next[at + text.len()] = true;
                    }
                }
            }
            Part::Any { slashes } => {
                let mut open = false;
                for at in 0..=uri.len() {
                    open |= reach[at];
                    next[at] = open;
                    if !slashes && uri.as_bytes().get(at) == Some(&b'/') {
                        open = false;
                    }
                }
            }
        }
        reach = next;
    }
    reach[uri.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_decide_and_expressions_stand_for_text() {
        for (template, uri, fit) in [
            ("test://a/{id}", "test://a/7", true),
            ("test://a/{id}", "test://a/", true),
            ("test://a/{id}", "test://a/7/8", false),
            ("test://a/{id}/data", "test://a/7/data", true),
            ("test://a/{id}/data", "test://a/7/date", false),
            ("file:///{+path}", "file:///a/b/c", true),
            ("file:///{path*}", "file:///a/b/c", true),
            ("file://{/path*}", "file:///a/b/c", true),
            ("x://{a}{b}", "x://ab", true),
            ("x://{a}-{b}", "x://1-2-3", true),
            ("x://{a}-{b}", "x://12", false),
            ("x://q{?a,b}", "x://q?a=1&b=2", true),
            ("x://plain", "x://plain", true),
            ("x://plain", "x://plainer", false),
            ("x://{broken", "x://{broken", true),
            ("", "", true),
            ("{a}", "ä", true),
        ] {
            assert_eq!(matches(template, uri), fit, "{template} {uri}");
        }
    }

    #[test]
    fn a_nasty_template_costs_no_more_than_its_length_times_the_uris() {
        let template = "{a}a".repeat(1000);
        assert!(!matches(&template, &"a".repeat(999)));
        assert!(matches(&template, &"a".repeat(1000)));
    }
}
