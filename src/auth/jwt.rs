//! JSON Web Tokens as access tokens (RFC 7519, RFC 8725, RFC 9068): from a text to a principal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tracing::debug;

use super::Fetch;
use super::challenge::Lack;
use super::keys::{Key, Keys, Missing};
use super::signature;
use crate::call::Principal;
use crate::config;

/// Knows the tokens of one issuer.
pub(super) struct Issuer {
    realm: String,
    settings: config::Jwt,
    algorithms: Vec<Algorithm>,
    keys: Arc<Keys>,
}

type Claims = Map<String, Value>;

impl Issuer {
    pub(super) fn new(realm: &str, settings: &config::Jwt, fetch: &Fetch) -> Self {
        signature::install();
        Self {
            realm: realm.to_owned(),
            algorithms: settings.algorithms.iter().copied().map(algorithm).collect(),
            keys: Keys::new(settings, Arc::clone(fetch)),
            settings: settings.clone(),
        }
    }

    /// The issuer's identifier.
    pub(super) fn name(&self) -> &str {
        &self.settings.issuer
    }

    /// Who presents this token, at the resource with this URL.
    pub(super) async fn whose(&self, token: &str, resource: Option<&str>) -> Result<Arc<Principal>, Lack> {
        let header = decode_header(token).map_err(|error| Lack::Good(words(error.kind())))?;
        self.check_header(&header)?;
        let keys = match self.keys.find(header.kid.as_deref(), header.alg).await {
            Ok(keys) => keys,
            Err(Missing::Key) => return Err(Lack::Good("it is signed with a key that its issuer does not have")),
            Err(Missing::All(why)) => {
                debug!("tokens of {} cannot be checked: {why}", self.settings.issuer);
                return Err(Lack::Unsure);
            }
        };
        let claims = self.claims(token, header.alg, &keys, resource)?;
        self.principal(&claims).map(Arc::new)
    }

    fn check_header(&self, header: &Header) -> Result<(), Lack> {
        if !self.algorithms.contains(&header.alg) {
            return Err(Lack::Good("its algorithm is not accepted here"));
        }
        if header.crit.is_some() {
            return Err(Lack::Good("it has critical extensions, of which none is known here"));
        }
        // Other kinds of tokens of the same issuer are signed with the same keys (RFC 8725, section 3.11).
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        let kind = kind.as_deref().map(|k| k.strip_prefix("application/").unwrap_or(k));
        match kind {
            None | Some("jwt" | "at+jwt") => Ok(()),
            _ => Err(Lack::Good("it is no access token")),
        }
    }

    fn claims(&self, token: &str, algorithm: Algorithm, keys: &[Key], resource: Option<&str>) -> Result<Claims, Lack> {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.settings.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&self.audience(resource));
        let mut failed = Lack::Good("it is not signed by its issuer");
        for key in keys {
            match decode::<Claims>(token, &key.key, &validation) {
                // The crate also takes lists of issuers, of which there is no such thing.
                Ok(data) if data.claims.get("iss").is_some_and(Value::is_string) => return Ok(data.claims),
                Ok(_) => failed = Lack::Good(words(&ErrorKind::InvalidIssuer)),
                Err(error) => failed = Lack::Good(words(error.kind())),
            }
        }
        Err(failed)
    }

    /// For whom a token may be made out (RFC 8707): for the URL that it is presented at, or for what is configured.
    fn audience(&self, resource: Option<&str>) -> Vec<String> {
        if !self.settings.audience.is_empty() {
            return self.settings.audience.clone();
        }
        resource
            .into_iter()
            .flat_map(|url| [url.to_owned(), format!("{url}/")])
            .collect()
    }

    fn principal(&self, claims: &Claims) -> Result<Principal, Lack> {
        let name = claims.get(&self.settings.principal).and_then(text);
        let name = name.filter(|name| !name.is_empty());
        let name = name.ok_or(Lack::Good("it names no principal"))?;
        // RFC 8693, section 4.2; some issuers have `scp` instead, as a text or as a list.
        let scopes = claims.get("scope").or_else(|| claims.get("scp")).and_then(text);
        let scopes = scopes
            .unwrap_or_default()
            .split(' ')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        let label = |(label, claim): (&String, &String)| Some((label.clone(), text(claims.get(claim)?)?));
        let labels: BTreeMap<String, String> = self.settings.labels.iter().filter_map(label).collect();
        // It was looked at when the signature was checked, and it is good for as long as it is let in.
        let end = claims.get("exp").and_then(Value::as_f64);
        let end = end.and_then(|end| Duration::try_from_secs_f64(end).ok());
        let until = end.and_then(|end| SystemTime::UNIX_EPOCH.checked_add(end + self.settings.leeway));
        let mut principal = Principal::new(&self.realm, name, scopes, labels);
        principal.until = until;
        Ok(principal)
    }
}

/// A claim as text: of lists the items with a space between.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            Some(items?.join(" "))
        }
        Value::Null | Value::Object(_) => None,
    }
}

fn algorithm(configured: config::Algorithm) -> Algorithm {
    use config::Algorithm as A;
    match configured {
        A::Rs256 => Algorithm::RS256,
        A::Rs384 => Algorithm::RS384,
        A::Rs512 => Algorithm::RS512,
        A::Ps256 => Algorithm::PS256,
        A::Ps384 => Algorithm::PS384,
        A::Ps512 => Algorithm::PS512,
        A::Es256 => Algorithm::ES256,
        A::Es384 => Algorithm::ES384,
        A::EdDsa => Algorithm::EdDSA,
    }
}

/// What is wrong with a token, in words that may stand in a challenge.
fn words(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidIssuer => "it is of another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::InvalidSignature => "it is not signed by its issuer",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            "its algorithm is not accepted here"
        }
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "it has no date of expiry",
            "aud" => "it names no audience",
            _ => "it names no issuer",
        },
        _ => "it is not a token of the kind that is wanted here",
    }
}
