//! Who may call, as TOML. Tokens themselves are not known any more, and need not be: their digests are enough.

use super::expand::escape;
use super::show::{Printer, list, quote};
use super::show_backend::pairs;
use super::values::Word;
use super::{Auth, AuthKind, Jwt, Keys, Token};

impl Printer {
    /// One `[auth.NAME]` with its tokens.
    pub(super) fn auth(&mut self, name: &str, auth: &Auth) {
        let Auth { kind, scopes } = auth;
        self.table(&format!("auth.{name}"));
        self.line("scopes", list(scopes));
        match kind {
            AuthKind::Jwt(jwt) => self.jwt(jwt),
            AuthKind::Tokens(tokens) if tokens.is_empty() => self.line("tokens", "{}"),
            AuthKind::Tokens(tokens) => {
                for (principal, token) in tokens {
                    self.table(&format!("auth.{name}.tokens.{}", quote(principal)));
                    self.token(token);
                }
            }
        }
    }

    fn token(&mut self, token: &Token) {
        let Token { sha256, scopes, labels } = token;
        let digest: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = quote(self.hidden(&digest));
        self.line("sha256", digest);
        self.line("scopes", list(scopes));
        let labels = pairs(labels.iter().map(|(name, value)| (name, value.as_str())));
        self.line("labels", labels);
    }

    fn jwt(&mut self, jwt: &Jwt) {
        let Jwt {
            issuer,
            audience,
            keys,
            algorithms,
            leeway,
            principal,
            labels,
            wait,
            ca_file,
        } = jwt;
        self.text("issuer", Some(issuer));
        let audience: Vec<String> = audience.iter().map(|one| escape(one)).collect();
        self.line("audience", list(&audience));
        match keys {
            Keys::Discovered => {}
            Keys::Url(url) => self.text("jwks", Some(url)),
            Keys::File { path, .. } => self.path("jwks-file", Some(path)),
        }
        let algorithms: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.word()).collect();
        self.line("algorithms", list(&algorithms));
        self.time("leeway", *leeway);
        self.line("principal", quote(principal));
        let labels = pairs(labels.iter().map(|(name, value)| (name, value.as_str())));
        self.line("labels", labels);
        self.time("wait", *wait);
        self.path("ca-file", ca_file.as_deref());
    }
}
