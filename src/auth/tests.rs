//! The guard with an issuer that exists only here: its keys come from a fetch that is a closure.

mod endpoints;
mod keys;
mod lease;
mod rsa;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Fetch, Guard, Refused, Request};
use crate::call::Principal;
use crate::config::{Auth, AuthKind, Config, Jwt, Keys};

const ISSUER: &str = "https://id.example";
const RESOURCE: &str = "https://r.example/mcp";

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key pair with a name.
struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "alg": "ES256", "use": "sig", "x": encode(x), "y": encode(y) })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", encode(signature.as_ref()))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": self.id, "typ": "at+jwt" }), claims)
    }
}

fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": RESOURCE, "sub": "ann", "exp": from_now(600), "scope": "mcp other", "dept": ["x", "y"] })
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

/// What the issuer serves: `None` is a refusal.
type Served = Arc<Mutex<Option<Vec<Value>>>>;

struct World {
    /// What requests say of it.
    host: &'static str,
    guard: Arc<Guard>,
    served: Served,
    fetched: Arc<AtomicUsize>,
    go: Arc<Notify>,
}

fn jwt(change: impl FnOnce(&mut Jwt)) -> Config {
    let mut jwt = Jwt::new(ISSUER.to_owned(), Keys::Url(format!("{ISSUER}/keys")));
    jwt.labels = [("team".to_owned(), "dept".to_owned())].into();
    change(&mut jwt);
    config(AuthKind::Jwt(jwt.into()))
}

fn config(kind: AuthKind) -> Config {
    let mut config = Config::default();
    let scopes = vec!["mcp".to_owned()];
    config.auth.insert("people".to_owned(), Auth { kind, scopes });
    config.listen.auth = Some("people".to_owned());
    config.listen.public_url = Some("https://r.example".to_owned());
    config
}

/// `patient`: a fetch waits until it is told to go on.
fn world(config: &Config, keys: Option<Vec<Value>>, patient: bool) -> World {
    let (served, fetched, go) = (
        Arc::new(Mutex::new(keys)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(Notify::new()),
    );
    let fetch: Fetch = {
        let (served, fetched, go) = (Arc::clone(&served), Arc::clone(&fetched), Arc::clone(&go));
        Arc::new(move |uri, _, _| {
            let (served, fetched, go) = (Arc::clone(&served), Arc::clone(&fetched), Arc::clone(&go));
            Box::pin(async move {
                fetched.fetch_add(1, Ordering::SeqCst);
                if patient {
                    go.notified().await;
                }
                if uri.path() != "/keys" {
                    return Ok(Bytes::from(
                        json!({ "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys") }).to_string(),
                    ));
                }
                let keys = served.lock().unwrap().clone().ok_or("it is down")?;
                Ok(Bytes::from(json!({ "keys": keys }).to_string()))
            })
        })
    };
    World {
        host: "r.example",
        guard: Guard::new(config, fetch),
        served,
        fetched,
        go,
    }
}

impl World {
    async fn admit(
        &self,
        endpoint: &str,
        headers: &[(http::HeaderName, &str)],
    ) -> Result<Option<Arc<Principal>>, Refused> {
        let mut map: HeaderMap = headers.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect();
        map.insert(HOST, self.host.parse().unwrap());
        let request = Request {
            endpoint: Some(endpoint),
            query: None,
            headers: &map,
            secure: true,
        };
        self.guard.admit(request).await
    }

    async fn with(&self, token: &str) -> Result<Arc<Principal>, Refused> {
        self.with_at("", token).await
    }

    async fn with_at(&self, endpoint: &str, token: &str) -> Result<Arc<Principal>, Refused> {
        let admitted = self
            .admit(endpoint, &[(AUTHORIZATION, &format!("Bearer {token}"))])
            .await;
        admitted.map(Option::unwrap)
    }

    async fn why(&self, token: &str) -> (u16, String) {
        let refused = self.with(token).await.unwrap_err();
        (refused.status.as_u16(), refused.why)
    }

    fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn a_good_token_makes_a_principal_with_scopes_and_labels() {
    let signer = Signer::new("k1");
    for config in [jwt(|_| {}), jwt(|jwt| jwt.keys = Keys::Discovered)] {
        let world = world(&config, Some(vec![signer.public()]), false);
        let ann = world.with(&signer.token(&claims())).await.unwrap();
        assert_eq!((ann.name.as_str(), &**ann.key()), ("ann", "people/ann"));
        assert_eq!(ann.scopes, ["mcp", "other"]);
        assert_eq!(ann.labels, BTreeMap::from([("team".to_owned(), "x y".to_owned())]));
        let many = with("aud", json!(["https://other.example", RESOURCE]));
        assert!(world.with(&signer.token(&many)).await.is_ok());
        let scp = with("scp", json!(["mcp"]));
        assert!(world.with(&signer.token(&scp)).await.is_ok());
    }
    let text = json!({ "keys": [signer.public()] }).to_string();
    let in_file = jwt(|jwt| {
        jwt.keys = Keys::File {
            path: "/k".into(),
            text,
        }
    });
    let world = world(&in_file, None, false);
    assert!(world.with(&signer.token(&claims())).await.is_ok());
    assert_eq!(world.fetched(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_bad_token_is_told_why() {
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k1"));
    // A secret among the public keys, as a mistake or a trap: it is no key.
    let secret = json!({ "kty": "oct", "kid": "k2", "k": encode(b"0123456789abcdef0123456789abcdef") });
    let world = world(&jwt(|_| {}), Some(vec![signer.public(), secret]), false);
    let header = |header: Value| signer.sign(&header, &claims());
    let without = |key: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(key);
        signer.token(&claims)
    };
    let good = signer.token(&claims());
    let cut = good.rsplit_once('.').unwrap().0.to_owned() + ".";
    let hmac = |key: &[u8]| {
        let text = format!(
            "{}.{}",
            encode(json!({ "alg": "HS256", "kid": "k1" }).to_string().as_bytes()),
            encode(claims().to_string().as_bytes())
        );
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key), text.as_bytes());
        format!("{text}.{}", encode(tag.as_ref()))
    };
    for (token, status, why) in [
        (
            signer.token(&with("aud", json!("https://other.example/mcp"))),
            401,
            "it is for another audience",
        ),
        (
            signer.token(&with("aud", json!("https://r.example/mcp/other"))),
            401,
            "it is for another audience",
        ),
        (without("aud"), 401, "it names no audience"),
        (signer.token(&with("exp", json!(from_now(-61)))), 401, "it has expired"),
        (without("exp"), 401, "it has no date of expiry"),
        (
            signer.token(&with("nbf", json!(from_now(90)))),
            401,
            "it is not valid yet",
        ),
        (
            signer.token(&with("iss", json!("https://evil.example"))),
            401,
            "it is of another issuer",
        ),
        (
            signer.token(&with("iss", json!([ISSUER]))),
            401,
            "it is of another issuer",
        ),
        (without("iss"), 401, "it names no issuer"),
        (without("sub"), 401, "it names no principal"),
        (without("scope"), 403, "the token needs the scopes: mcp"),
        (
            signer.token(&with("scope", json!("mcpx other"))),
            403,
            "the token needs the scopes: mcp",
        ),
        (stranger.token(&claims()), 401, "it is not signed by its issuer"),
        (cut, 401, "it is not signed by its issuer"),
        (
            header(json!({ "alg": "none" })),
            401,
            "it is not a token of the kind that is wanted here",
        ),
        (
            hmac(signer.pair.public_key().as_ref()),
            401,
            "its algorithm is not accepted here",
        ),
        (
            hmac(b"0123456789abcdef0123456789abcdef"),
            401,
            "its algorithm is not accepted here",
        ),
        (
            header(json!({ "alg": "ES384", "kid": "k1" })),
            401,
            "it is signed with a key that its issuer does not have",
        ),
        (
            header(json!({ "alg": "ES256", "kid": "k1", "typ": "logout+jwt" })),
            401,
            "it is no access token",
        ),
        (
            header(json!({ "alg": "ES256", "kid": "k1", "crit": ["x"] })),
            401,
            "it has critical extensions, of which none is known here",
        ),
        (
            "abc".to_owned(),
            401,
            "it is not a token of the kind that is wanted here",
        ),
        (
            "a.b.c".to_owned(),
            401,
            "it is not a token of the kind that is wanted here",
        ),
    ] {
        assert_eq!(world.why(&token).await, (status, why.to_owned()), "{token}");
    }
    assert!(world.with(&good).await.is_ok());
    let leeway = signer.token(&with("exp", json!(from_now(-30))));
    assert!(world.with(&leeway).await.is_ok(), "within the leeway of 60 s");
    let strict = jwt(|jwt| jwt.leeway = Duration::from_secs(5));
    let strict = self::world(&strict, Some(vec![signer.public()]), false);
    assert_eq!(strict.why(&leeway).await.1, "it has expired");
    let other = jwt(|jwt| jwt.algorithms = vec![crate::config::Algorithm::Rs256]);
    let other = self::world(&other, Some(vec![signer.public()]), false);
    assert_eq!(other.why(&good).await.1, "its algorithm is not accepted here");
    let named = jwt(|jwt| jwt.audience = vec!["api://tools".to_owned()]);
    let named = self::world(&named, Some(vec![signer.public()]), false);
    assert_eq!(named.why(&good).await.1, "it is for another audience");
    assert!(
        named
            .with(&signer.token(&with("aud", json!("api://tools"))))
            .await
            .is_ok()
    );
}
