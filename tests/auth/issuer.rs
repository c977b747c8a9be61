//! Tokens of an issuer, end to end: keys from its metadata, every bad token refused, keys that change.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::asking::call;
use crate::server::Server;
use crate::support::Router;

pub struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub fn new(id: &'static str) -> Signer {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Signer { id, pair }
    }

    pub fn public(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": encode(x), "y": encode(y) })
    }

    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": self.id }), claims)
    }
}

pub fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// An issuer with metadata and keys, which can change.
async fn issuer(keys: &Arc<Mutex<Vec<Value>>>) -> Server {
    let keys = Arc::clone(keys);
    Server::start(move |asked| {
        let host = asked.header("host").unwrap();
        match asked.line.as_str() {
            "GET /.well-known/openid-configuration" => (
                200,
                json!({ "issuer": format!("http://{host}"), "jwks_uri": format!("http://{host}/keys") }),
            ),
            // A front that has a page for everything.
            "GET /.well-known/oauth-authorization-server" => (200, json!("<html>")),
            "GET /keys" => (200, json!({ "keys": *keys.lock().unwrap() })),
            _ => (404, json!({})),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_an_issuer_are_checked_in_every_respect() {
    let (signer, stranger) = (Signer::new("k1"), Signer::new("k1"));
    let keys = Arc::new(Mutex::new(vec![signer.public()]));
    let server = issuer(&keys).await;
    let name = server.url("");
    let config = format!(
        "[listen]\nauth = \"people\"\n[auth.people]\nissuer = \"{name}\"\nscopes = [\"mcp\"]\nlabels = {{ team = \"dept\" }}\n\
         [backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
    );
    let router = Router::start(&config).await;
    router.ready("demo").await;
    let claims = |aud: &str| json!({ "iss": name, "aud": aud, "sub": "ann", "exp": from_now(600), "scope": "mcp" });
    let with = |key: &str, value: Value| {
        let mut claims = claims("http://localhost/mcp");
        claims[key] = value;
        signer.token(&claims)
    };
    let good = signer.token(&claims("http://localhost/mcp"));
    assert_eq!(
        call(&router, "/mcp", Some(&good), "echo", json!({ "text": "hi" }))
            .await
            .text(),
        "hi"
    );
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#) + "." + good.split('.').nth(1).unwrap() + ".";
    let secret = {
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"k1"}"#) + "." + good.split('.').nth(1).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, signer.pair.public_key().as_ref());
        format!(
            "{head}.{}",
            URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, head.as_bytes()))
        )
    };
    for (what, token, status, error) in [
        (
            "another audience",
            with("aud", json!("https://other.example/mcp")),
            401,
            "invalid_token",
        ),
        ("expired", with("exp", json!(from_now(-90))), 401, "invalid_token"),
        (
            "wrong issuer",
            with("iss", json!("https://evil.example")),
            401,
            "invalid_token",
        ),
        (
            "missing scope",
            with("scope", json!("other")),
            403,
            "insufficient_scope",
        ),
        (
            "wrong signature",
            stranger.token(&claims("http://localhost/mcp")),
            401,
            "invalid_token",
        ),
        ("alg none", none, 401, "invalid_token"),
        ("HS256 with the public key", secret, 401, "invalid_token"),
        (
            "unknown kid",
            Signer::new("k9").token(&claims("http://localhost/mcp")),
            401,
            "invalid_token",
        ),
        ("no JWT", "abc".to_owned(), 401, "invalid_token"),
    ] {
        let reply = call(&router, "/mcp", Some(&token), "echo", json!({ "text": "hi" })).await;
        let (got, challenge) = reply.refusal();
        assert_eq!(got, status, "{what}: {reply:?}");
        assert!(
            challenge.starts_with(&format!("Bearer error=\"{error}\"")),
            "{what}: {challenge}"
        );
        assert!(
            challenge.contains("resource_metadata=\"http://localhost/.well-known/oauth-protected-resource/mcp\""),
            "{what}: {challenge}"
        );
        println!("{what}: {got} {challenge}");
    }
    // A token for one endpoint is none for another.
    let reply = call(&router, "/mcp/demo", Some(&good), "echo", json!({ "text": "hi" })).await;
    assert_eq!(reply.status, 401);
    let other = signer.token(&claims("http://localhost/mcp/demo"));
    assert_eq!(
        call(&router, "/mcp/demo", Some(&other), "echo", json!({ "text": "hi" }))
            .await
            .status,
        200
    );
    let metadata = crate::asking::ask(&router, "GET", "/.well-known/oauth-protected-resource/mcp", &[], "").await;
    assert_eq!(metadata.body["authorization_servers"], json!([name]));
    // The issuer was asked for its keys once at the start, and once because of the unknown one.
    assert_eq!(server.asked("/keys").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_sends_too_much_is_not_listened_to() {
    let signer = Signer::new("k1");
    let key = signer.public();
    let server = Server::start(move |_| (200, json!({ "keys": [key], "waste": "x".repeat(1 << 20) }))).await;
    let name = server.url("");
    let config = format!(
        "[listen]\nauth = \"people\"\n[auth.people]\nissuer = \"{name}\"\njwks = \"{name}/keys\"\naudience = [\"api\"]\n\
         wait = \"300ms\"\n[backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
    );
    let router = Router::start(&config).await;
    let token = signer.token(&json!({ "iss": name, "aud": "api", "sub": "ann", "exp": from_now(600) }));
    let reply = call(&router, "/mcp", Some(&token), "echo", json!({})).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    // Who is not known learns nothing of the issuer.
    assert_eq!(reply.body["error"]["message"], "tokens cannot be checked now");
    assert_eq!(reply.retry_after.as_deref(), Some("1"));
    let log = router.log();
    assert!(log.contains("its answer is longer than 1048576 bytes"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_new_is_found_and_an_issuer_that_is_gone_is_no_matter() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let keys = Arc::new(Mutex::new(vec![old.public()]));
    let server = issuer(&keys).await;
    let name = server.url("");
    let config = format!(
        "[listen]\nauth = \"people\"\n[auth.people]\nissuer = \"{name}\"\njwks = \"{name}/keys\"\naudience = [\"api\"]\n\
         wait = \"300ms\"\n[backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
    );
    let router = Router::start(&config).await;
    router.ready("demo").await;
    let claims = json!({ "iss": name, "aud": "api", "sub": "ann", "exp": from_now(600) });
    let status = async |signer: &Signer| {
        let token = signer.token(&claims);
        call(&router, "/mcp", Some(&token), "echo", json!({ "text": "hi" }))
            .await
            .status
    };
    assert_eq!(status(&old).await, 200);
    *keys.lock().unwrap() = vec![old.public(), new.public()];
    assert_eq!(status(&new).await, 200);
    drop(server);
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    // One that never was there cannot be asked: that is told, after the wait, and is nobody's token's fault.
    let config = config.replace("[\"api\"]", "[\"api\", \"more\"]");
    router.configure(&config);
    crate::support::until_async("the changed realm", async || (status(&old).await == 503).then_some(())).await;
}
