//! Who may call: static tokens, or the tokens of an issuer. Who may not is told so by the front.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::item::Item;
use super::read::Table;
use super::remote::url_fault;
use super::sections::{HOUR, TICK, duration};
use super::values::Word;
use super::{Config, DEFAULT_ENDPOINT, Endpoint};
use crate::wire::discovery::is_safe;

/// In the place of an `[auth.NAME]`: anybody may.
pub const OPEN: &str = "none";

/// `[auth.NAME]`: how agents prove who they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Auth {
    /// What is proof.
    pub kind: AuthKind,
    /// Scopes that every token must have.
    pub scopes: Vec<String>,
}

/// What is proof of who an agent is.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthKind {
    /// One of these, by the name of the principal.
    Tokens(BTreeMap<String, Token>),
    /// A JSON Web Token (RFC 7519, RFC 9068).
    Jwt(Box<Jwt>),
}

/// A token that stays the same. It is not kept, only known again.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What it is good for.
    pub scopes: Vec<String>,
    /// What policies can read of its principal.
    pub labels: BTreeMap<String, String>,
}

/// The tokens of one issuer.
#[derive(Clone, Debug, PartialEq)]
pub struct Jwt {
    /// The issuer, as it stands in `iss`.
    pub issuer: String,
    /// Audiences that are taken; with none the URL of the endpoint must be it (RFC 8707).
    pub audience: Vec<String>,
    /// Where its public keys are.
    pub keys: Keys,
    /// Algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The claim that names the principal.
    pub principal: String,
    /// Labels that policies can read, and the claims that they come from.
    pub labels: BTreeMap<String, String>,
    /// How long a request waits for the issuer's keys.
    pub wait: Duration,
    /// Certificates of the authorities that are believed instead of the system's, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// Where an issuer's public keys are (a JWK set, RFC 7517).
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// Where the issuer's metadata says (RFC 8414, OpenID Connect Discovery).
    Discovered,
    /// There.
    Url(String),
    /// In a file.
    File {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        text: String,
    },
}

/// Signatures by a key pair. Those by a shared secret are not among them: a public key must never pass for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of RFC 7518 and RFC 8037")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// The default of `leeway`.
const LEEWAY: Duration = Duration::from_secs(60);
/// The default of `wait`.
const WAIT: Duration = Duration::from_secs(10);
/// More would be no tolerance of clocks, but a longer life of every token.
const LEEWAY_MOST: Duration = Duration::from_secs(600);

/// The SHA-256 of a token.
pub fn digest(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Jwt {
    /// The tokens of this issuer, with the defaults for all else.
    pub fn new(issuer: String, keys: Keys) -> Self {
        Self {
            issuer,
            audience: Vec::new(),
            keys,
            algorithms: Algorithm::ALL.iter().map(|(_, algorithm)| *algorithm).collect(),
            leeway: LEEWAY,
            principal: "sub".to_owned(),
            labels: BTreeMap::new(),
            wait: WAIT,
            ca_file: None,
        }
    }
}

impl Config {
    /// The `[auth.NAME]` that stands before an endpoint, and the scopes that are wanted besides its own. The endpoint is
    /// named as in a path: empty for `/mcp`. A backend's own path asks for what the first endpoint that has the backend
    /// asks for, `/mcp` before all others: it is no way around it.
    pub fn asks(&self, endpoint: &str) -> (Option<&str>, &[String]) {
        let name = if endpoint.is_empty() {
            DEFAULT_ENDPOINT
        } else {
            endpoint
        };
        let has = |one: &&Endpoint| match &one.backends {
            None => true,
            Some(names) => names.iter().any(|name| name == endpoint),
        };
        let settings = match self.endpoints.get(name) {
            None if self.backends.contains_key(endpoint) => match self.endpoints.get(DEFAULT_ENDPOINT) {
                None => None,
                default => default
                    .filter(has)
                    .or_else(|| self.endpoints.values().find(has))
                    .or(default),
            },
            found => found,
        };
        let named = settings.and_then(|one| one.auth.as_deref());
        let named = named.or(self.listen.auth.as_deref()).filter(|name| *name != OPEN);
        (named, settings.map_or(&[], |one| &one.scopes))
    }
}

/// Reads `[auth.NAME]`. What is wrong with it is noted, so that what is returned then is never used.
pub(super) fn section(t: &mut Table<'_>) -> Auth {
    let mut scopes = Vec::new();
    t.read("scopes", &mut scopes, scope_list);
    let kind = match t.take("issuer") {
        Some(issuer) => {
            t.refuse("tokens", "there is an `issuer`");
            jwt(t, &issuer).map_or_else(|| AuthKind::Tokens(BTreeMap::new()), |jwt| AuthKind::Jwt(jwt.into()))
        }
        None => {
            if !t.has("tokens") {
                t.require("tokens` or `issuer");
            }
            for key in JWT_KEYS {
                t.refuse(key, "it belongs to an `issuer`");
            }
            let mut tokens = BTreeMap::new();
            t.each("tokens", |name, t| {
                if let Some(token) = token(t) {
                    tokens.insert(name.to_owned(), token);
                }
            });
            AuthKind::Tokens(tokens)
        }
    };
    Auth { kind, scopes }
}

const JWT_KEYS: [&str; 9] = [
    "audience",
    "jwks",
    "jwks-file",
    "algorithms",
    "leeway",
    "principal",
    "labels",
    "wait",
    "ca-file",
];

fn token(t: &mut Table<'_>) -> Option<Token> {
    let (text, file, hash) = (t.take("token"), t.take("file"), t.take("sha256"));
    let given: Vec<&Item<'_>> = [&text, &file, &hash].into_iter().flatten().collect();
    let mut one = Token {
        sha256: [0; 32],
        scopes: Vec::new(),
        labels: BTreeMap::new(),
    };
    t.read("scopes", &mut one.scopes, scope_list);
    t.section("labels", |t| t.variables(&mut one.labels));
    match given.as_slice() {
        [] => {
            t.require("token`, `file` or `sha256");
            return None;
        }
        [_] => {}
        [first, others @ ..] => {
            for other in others {
                other.fault::<()>(&format!("and {} exclude each other", first.label), None);
            }
            return None;
        }
    }
    one.sha256 = match (text, file, hash) {
        (Some(text), ..) => secret(&text, text.expanded()?)?,
        (_, Some(file), _) => {
            let (_, text) = file.file()?;
            secret(&file, text.trim().to_owned())?
        }
        (.., Some(hash)) => match from_hex(hash.text()?) {
            Some(bytes) => bytes,
            None => return hash.fault("must be 64 hexadecimal digits", None),
        },
        (None, None, None) => return None,
    };
    Some(one)
}

/// The shortest token: anything shorter is a word that can be guessed.
const SHORTEST: usize = 16;

fn secret(item: &Item<'_>, text: String) -> Option<[u8; 32]> {
    if text.len() < SHORTEST {
        let hint = Some("`openssl rand -hex 32` makes a good one".to_owned());
        return item.fault(&format!("is shorter than {SHORTEST} characters"), hint);
    }
    if !is_token(&text) {
        let hint = Some("letters, digits and -._~+/ can go into a header, and = at the end".to_owned());
        return item.fault("has characters that no token may have", hint);
    }
    Some(digest(text.as_bytes()))
}

/// Whether a text can be a bearer token: `token68` of RFC 9110, section 11.2.
pub fn is_token(text: &str) -> bool {
    let word = text.trim_end_matches('=');
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Scopes: `scope-token` of RFC 6749, section 3.3.
pub(super) fn scope_list(item: &Item<'_>) -> Option<Vec<String>> {
    let good = |word: &str| word.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    item.words_like(good, "is no scope", "write it like \"tools:call\"")
}

fn jwt(t: &mut Table<'_>, issuer: &Item<'_>) -> Option<Jwt> {
    let (url, file) = (t.take("jwks"), t.take("jwks-file"));
    let keys = match (&url, &file) {
        (Some(url), Some(file)) => url.fault(&format!("and {} exclude each other", file.label), None),
        (Some(url), None) => safe_url(url).map(Keys::Url),
        (None, Some(file)) => file.file().map(|(path, text)| Keys::File { path, text }),
        (None, None) => Some(Keys::Discovered),
    };
    let issuer = match keys {
        Some(Keys::Discovered) => safe_url(issuer),
        _ => issuer.expanded(),
    };
    let mut one = Jwt::new(String::new(), Keys::Discovered);
    t.read("audience", &mut one.audience, |item| item.list(Item::expanded));
    t.read("algorithms", &mut one.algorithms, |item| {
        match item.list(Item::word)? {
            none if none.is_empty() => item.fault("is empty", None),
            some => Some(some),
        }
    });
    t.read("leeway", &mut one.leeway, duration(Duration::ZERO, LEEWAY_MOST));
    t.read("principal", &mut one.principal, |item| item.text().map(str::to_owned));
    t.section("labels", |t| t.variables(&mut one.labels));
    t.read("wait", &mut one.wait, duration(TICK, HOUR));
    t.read("ca-file", &mut one.ca_file, |item| item.path().map(Some));
    Some(Jwt {
        issuer: issuer?,
        keys: keys?,
        ..one
    })
}

/// A URL that keys or credentials may be fetched from: whoever is on the way of plain HTTP could put in its own.
pub(super) fn safe_url(item: &Item<'_>) -> Option<String> {
    let text = item.expanded()?;
    if let Some(hint) = url_fault(&text) {
        return item.fault(&format!("is no URL: `{text}`"), Some(hint.to_owned()));
    }
    match is_safe(&text) {
        true => Some(text),
        false => item.fault(
            "must begin with https://",
            Some("plain HTTP is for loopback".to_owned()),
        ),
    }
}

/// Scheme and host of a URL, and nothing else.
pub(super) fn origin(item: &Item<'_>) -> Option<String> {
    let text = item.expanded()?;
    let bare = text.strip_suffix('/').unwrap_or(&text);
    let rest = bare.split_once("://").map_or("", |(_, rest)| rest);
    match url_fault(bare).is_none() && !rest.contains(['/', '?', '#']) {
        true => Some(bare.to_owned()),
        false => item.fault(
            &format!("is no scheme with a host: `{text}`"),
            Some("write it like \"https://router.example\"".to_owned()),
        ),
    }
}
