//! Who may call, as TOML. Tokens themselves are not known any more, and need not be: their digests are enough.

use super::expand::escape;
use super::show::{Printer, list, quote};
use super::show_backend::pairs;
use super::values::Word;
use super::{Auth, AuthKind, Jwt, Keys, OAuth, Token, TokenServer};

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

    /// How the router gets a token for a backend.
    pub(super) fn oauth(&mut self, backend: &str, oauth: &OAuth) {
        let OAuth {
            server,
            client_id,
            client_secret,
            client_auth,
            scopes,
            resource,
            audience,
            ca_file,
        } = oauth;
        self.table(&format!("backends.{backend}.oauth"));
        match server {
            TokenServer::Url(url) => self.text("token-url", Some(url)),
            TokenServer::Issuer(issuer) => self.text("issuer", Some(issuer)),
        }
        self.text("client-id", Some(client_id));
        match &client_secret.file {
            Some(file) => self.path("client-secret-file", Some(file)),
            None => {
                let secret = self.hidden(&client_secret.text).to_owned();
                self.text("client-secret", Some(&secret));
            }
        }
        self.word("client-auth", *client_auth);
        self.line("scopes", list(scopes));
        self.text("resource", resource.as_deref());
        self.text("audience", audience.as_deref());
        self.path("ca-file", ca_file.as_deref());
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
