//! The token in a request: in its one header, and nowhere else.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::config::is_token;

/// Bytes of a token at most: it is read before anything is known of who sends it.
const LONGEST: usize = 16 * 1024;

/// What a request holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// No token.
    Nothing,
    /// A token.
    Token(&'a str),
    /// Something that looks like one and is none (RFC 6750, section 3.1: `invalid_request`).
    Malformed(&'static str),
}

/// Looks for the token of a request (RFC 6750, section 2.1). One in the query would stand in every log on its way:
/// MCP forbids it, so it is refused, and not merely overlooked.
pub(super) fn find<'a>(headers: &'a HeaderMap, query: Option<&str>) -> Found<'a> {
    let in_query = |part: &str| part.split('=').next() == Some("access_token");
    if query.is_some_and(|query| query.split('&').any(in_query)) {
        return Found::Malformed("a token belongs into the header Authorization, not into the URL");
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (values.next(), values.next());
    let Some(value) = value else {
        return Found::Nothing;
    };
    if more.is_some() {
        return Found::Malformed("there is more than one header Authorization");
    }
    let Ok(value) = value.to_str() else {
        return Found::Malformed("the header Authorization is not text");
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Found::Nothing;
    }
    let token = token.trim();
    if token.len() > LONGEST {
        return Found::Malformed("the token is too long");
    }
    match is_token(token) {
        true => Found::Token(token),
        false => Found::Malformed("the header Authorization holds no token"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_their_header_alone() {
        let long = format!("Bearer {}", "a".repeat(LONGEST));
        let longer = format!("{long}a");
        let malformed = |values: &[&str], query| matches!(found(values, query), Kept::Malformed);
        assert_eq!(
            found(&["Bearer abc.d-e_f="], None),
            Kept::Token("abc.d-e_f=".to_owned())
        );
        assert_eq!(found(&["bearer  abc"], Some("a=b")), Kept::Token("abc".to_owned()));
        assert_eq!(found(&[], None), Kept::Nothing);
        assert_eq!(found(&["Basic dTpw"], None), Kept::Nothing);
        assert_eq!(found(&["Bearerabc"], None), Kept::Nothing);
        assert!(matches!(found(&[&long], None), Kept::Token(_)));
        assert!(malformed(&[&longer], None));
        assert!(malformed(&["Bearer"], None) && malformed(&["Bearer "], None));
        assert!(malformed(&["Bearer a b"], None) && malformed(&["Bearer \"a\""], None));
        assert!(malformed(&["Bearer a", "Bearer a"], None));
        assert!(malformed(&["Bearer a"], Some("x=1&access_token=a")));
        assert!(malformed(&[], Some("access_token=a")));
    }

    #[derive(Debug, PartialEq)]
    enum Kept {
        Nothing,
        Token(String),
        Malformed,
    }

    fn found(values: &[&str], query: Option<&str>) -> Kept {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        match find(&headers, query) {
            Found::Nothing => Kept::Nothing,
            Found::Token(token) => Kept::Token(token.to_owned()),
            Found::Malformed(_) => Kept::Malformed,
        }
    }
}
