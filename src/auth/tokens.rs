//! Static tokens, of which only the digests are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::call::Principal;
use crate::config::{Token, digest};

/// Knows the tokens of one `[auth.NAME]`.
pub(super) struct Tokens(Vec<([u8; 32], Arc<Principal>)>);

impl Tokens {
    pub(super) fn new(realm: &str, tokens: &BTreeMap<String, Token>) -> Self {
        let known = |(name, token): (&String, &Token)| {
            let Token { sha256, scopes, labels } = token.clone();
            let principal = Principal::new(realm, name.clone(), scopes, labels);
            (sha256, Arc::new(principal))
        };
        Self(tokens.iter().map(known).collect())
    }

    /// Whose token it is. How long this takes says nothing about any token: all are compared, each to its end.
    pub(super) fn whose(&self, token: &str) -> Option<Arc<Principal>> {
        let digest = digest(token.as_bytes());
        let mut found = None;
        for (known, principal) in &self.0 {
            if bool::from(known.ct_eq(&digest)) {
                found = Some(Arc::clone(principal));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_whole_or_not_at_all() {
        let token = |text: &str| Token {
            sha256: digest(text.as_bytes()),
            scopes: vec![text.to_owned()],
            labels: BTreeMap::new(),
        };
        let tokens = [
            ("a".to_owned(), token("0123456789abcdef")),
            ("b".to_owned(), token("second")),
        ];
        let tokens = Tokens::new("ci", &tokens.into());
        let whose = |text| tokens.whose(text).map(|p| (p.name.clone(), p.key().to_string()));
        assert_eq!(whose("0123456789abcdef"), Some(("a".to_owned(), "ci/a".to_owned())));
        assert_eq!(whose("second"), Some(("b".to_owned(), "ci/b".to_owned())));
        for other in ["0123456789abcde", "0123456789abcdef0", "0123456789abcdeF", ""] {
            assert_eq!(whose(other), None);
        }
    }
}
