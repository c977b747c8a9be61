//! `WWW-Authenticate`: how a registry wants to know who asks.

use std::collections::BTreeMap;

/// What a registry wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password, at each request.
    Basic,
    /// A token, which is had elsewhere.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
    },
}

impl Challenge {
    /// The one of these headers that is to be answered: a token goes before a password.
    pub(super) fn of<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for (scheme, mut parameters) in headers.flat_map(challenges) {
            match (scheme.as_str(), parameters.remove("realm")) {
                ("bearer", Some(realm)) => {
                    let service = parameters.remove("service");
                    return Some(Self::Bearer { realm, service });
                }
                ("basic", _) => found = Some(Self::Basic),
                _ => {}
            }
        }
        found
    }
}

/// The challenges of one header: each scheme with its parameters, their names in small letters.
fn challenges(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // The end, or something that no challenge has.
            return found;
        }
        match (after.trim_start().strip_prefix('='), found.last_mut()) {
            (None, _) => {
                found.push((word.to_ascii_lowercase(), BTreeMap::new()));
                rest = after;
            }
            (Some(text), last) => {
                let (value, after) = value(text.trim_start());
                if let Some((_, parameters)) = last {
                    parameters.entry(word.to_ascii_lowercase()).or_insert(value);
                }
                rest = after;
            }
        }
    }
}

/// A value, in quotes or without, and what follows.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[&str]) -> Option<Challenge> {
        Challenge::of(headers.iter().copied())
    }

    fn bearer(realm: &str, service: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        })
    }

    #[test]
    fn a_token_goes_before_a_password() {
        let hub =
            "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"a:b:pull,push\"";
        let token = bearer("https://auth.docker.io/token", Some("registry.docker.io"));
        assert_eq!(of(&[hub]), token);
        assert_eq!(of(&["Basic realm=\"all, of it\"", hub]), token);
        assert_eq!(of(&[&format!("Basic realm=\"all, of it\", {hub}")]), token);
        assert_eq!(of(&["basic"]), Some(Challenge::Basic));
    }

    #[test]
    fn forms_that_are_seldom() {
        assert_eq!(
            of(&["BEARER Realm = https://a/t , service=b"]),
            bearer("https://a/t", Some("b"))
        );
        assert_eq!(of(&[r#"Bearer realm="a\"b\\c""#]), bearer("a\"b\\c", None));
        assert_eq!(of(&["Negotiate YWJj==, Bearer realm=\"a\""]), bearer("a", None));
        // The first word counts, and what is not closed goes to the end.
        assert_eq!(of(&["Bearer realm=\"a\", realm=\"b\""]), bearer("a", None));
        assert_eq!(of(&["Bearer realm=\"a"]), bearer("a", None));
        for nothing in [
            "",
            "Bearer",
            "Bearer service=\"x\"",
            "realm=\"x\"",
            "=",
            "\"",
            "Digest realm=\"x\"",
        ] {
            assert_eq!(of(&[nothing]), None, "{nothing}");
        }
    }
}
