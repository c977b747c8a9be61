//! For whom tokens of an issuer are made out: for a name that the operator gave the router, and no client.

use super::{Auth, AuthKind, Config, Listen};

impl Listen {
    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// The `[auth.NAME]` whose tokens would be made out for whatever the client calls the router: beyond loopback that must
/// be configured, as an audience or as the router's own name.
pub fn nameless(config: &Config) -> impl Iterator<Item = &str> {
    let chosen = !config.listen.is_loopback() && config.listen.public_url.is_none();
    let of_endpoints = config.endpoints.values().map(|one| &one.auth);
    let used: Vec<&String> = of_endpoints.chain([&config.listen.auth]).flatten().collect();
    let nameless = move |(name, auth): &(&String, &Auth)| match &auth.kind {
        AuthKind::Jwt(jwt) => chosen && jwt.audience.is_empty() && used.contains(name),
        AuthKind::Tokens(_) => false,
    };
    config.auth.iter().filter(nameless).map(|(name, _)| name.as_str())
}

/// What is wrong with those, and what would be right.
pub fn nameless_words(name: &str, config: &Config) -> (String, String) {
    let address = config.listen.address;
    (
        format!("[auth.{name}] has no `audience`, and the router no name: {address} is no loopback address"),
        "set `public-url` in [listen] to what agents know it by".to_owned(),
    )
}
