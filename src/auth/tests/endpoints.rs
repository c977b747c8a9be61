//! What each endpoint asks for, and what it says of that.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{ISSUER, RESOURCE, Signer, config, jwt, with, world};
use crate::auth::{Guard, Request};
use crate::call::Principal;
use crate::config::{Auth, AuthKind, Config, Endpoint, Token, digest};

#[tokio::test(start_paused = true)]
async fn endpoints_ask_for_what_they_are_told_and_no_path_leads_around() {
    let token = |name: &str, scopes: &[&str]| {
        let one = Token {
            sha256: digest(name.as_bytes()),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            labels: BTreeMap::new(),
        };
        (name.to_owned(), one)
    };
    let tokens = [
        token("low", &["mcp"]),
        token("high", &["mcp", "admin"]),
        token("none", &[]),
    ];
    let mut config = config(AuthKind::Tokens(tokens.into()));
    let endpoint = |auth: Option<&str>, scopes: &[&str], backends: &[&str]| Endpoint {
        auth: auth.map(str::to_owned),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        backends: Some(backends.iter().map(ToString::to_string).collect()),
        ..Endpoint::default()
    };
    config.endpoints = [
        ("default".to_owned(), endpoint(None, &[], &["mild"])),
        ("admin".to_owned(), endpoint(None, &["admin"], &["wild"])),
        ("open".to_owned(), endpoint(Some("none"), &[], &["free"])),
    ]
    .into();
    for name in ["mild", "wild", "free"] {
        config.backends.insert(name.to_owned(), Default::default());
    }
    let world = world(&config, None, false);
    let status = async |endpoint: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let admitted = match token {
            "" => world.admit(endpoint, &[]).await,
            _ => world.admit(endpoint, &[(AUTHORIZATION, &bearer)]).await,
        };
        admitted.map_or_else(|refused| refused.status.as_u16(), |_| 200)
    };
    for (endpoint, statuses) in [
        ("", [401, 403, 200, 200]),
        ("mild", [401, 403, 200, 200]),
        ("admin", [401, 403, 403, 200]),
        ("wild", [401, 403, 403, 200]),
        ("open", [200, 200, 200, 200]),
        ("free", [200, 200, 200, 200]),
        ("unknown", [401, 403, 200, 200]),
    ] {
        for (token, expected) in ["", "none", "low", "high"].into_iter().zip(statuses) {
            assert_eq!(status(endpoint, token).await, expected, "{endpoint} {token}");
        }
    }
    assert_eq!(status("", "wrong").await, 401);
    // A reload is in force at once.
    config.auth.get_mut("people").unwrap().kind = AuthKind::Tokens([token("new", &["mcp"])].into());
    world.guard.configure(&config);
    assert_eq!((status("", "low").await, status("", "new").await), (401, 200));
}

#[tokio::test]
async fn metadata_names_resource_issuer_and_scopes() {
    let world = world(&jwt(|_| {}), None, false);
    let headers = HeaderMap::new();
    let metadata = |guard: &Guard, endpoint| {
        let request = Request {
            endpoint: Some(endpoint),
            query: None,
            headers: &headers,
            secure: false,
        };
        guard
            .metadata(request)
            .map(|text| serde_json::from_str::<Value>(&text).unwrap())
    };
    let document = metadata(&world.guard, "").unwrap();
    assert_eq!(document["resource"], RESOURCE);
    assert_eq!(document["authorization_servers"], json!([ISSUER]));
    assert_eq!(document["scopes_supported"], json!(["mcp"]));
    assert_eq!(document["bearer_methods_supported"], json!(["header"]));
    assert_eq!(metadata(&world.guard, "unknown"), None);
    assert_eq!(metadata(&self::world(&Config::default(), None, false).guard, ""), None);
}

#[tokio::test(start_paused = true)]
async fn nobody_chooses_the_audience_of_his_token_beyond_loopback() {
    let signer = Signer::new("k1");
    for (address, status) in [("127.0.0.1:7400", 200), ("0.0.0.0:7400", 401), ("192.0.2.1:7400", 401)] {
        let mut config = jwt(|_| {});
        config.listen.public_url = None;
        config.listen.address = address.parse().unwrap();
        let mut world = world(&config, Some(vec![signer.public()]), false);
        world.host = "localhost:7400";
        let token = signer.token(&with("aud", json!("https://localhost:7400/mcp")));
        let admitted = world.with(&token).await;
        assert_eq!(
            admitted.map_or_else(|r| r.status.as_u16(), |_| 200),
            status,
            "{address}"
        );
        // A reload says another address, and the router listens where it did.
        let mut changed = config.clone();
        changed.listen.address = "127.0.0.1:7400".parse().unwrap();
        changed.auth.get_mut("people").unwrap().scopes.clear();
        world.guard.configure(&changed);
        let admitted = world.with(&token).await;
        assert_eq!(
            admitted.map_or_else(|r| r.status.as_u16(), |_| 200),
            status,
            "{address}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_or_changes_hands_is_guarded_until_it_is_gone() {
    let token = |name: &str| {
        let one = Token {
            sha256: digest(name.as_bytes()),
            scopes: vec!["mcp".to_owned(), name.to_owned()],
            labels: BTreeMap::new(),
        };
        (name.to_owned(), one)
    };
    let endpoint = |auth: &str, scopes: &[&str]| Endpoint {
        auth: Some(auth.to_owned()),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..Endpoint::default()
    };
    let mut old = config(AuthKind::Tokens([token("low"), token("high")].into()));
    old.listen.auth = None;
    old.auth.insert(
        "others".to_owned(),
        Auth {
            kind: AuthKind::Tokens([token("other")].into()),
            scopes: Vec::new(),
        },
    );
    let mut new = old.clone();
    old.endpoints = [
        ("gone".to_owned(), endpoint("people", &[])),
        ("opened".to_owned(), endpoint("people", &[])),
        ("eased".to_owned(), endpoint("people", &["high"])),
        ("sold".to_owned(), endpoint("people", &[])),
        ("closed".to_owned(), endpoint("none", &[])),
    ]
    .into();
    new.endpoints = [
        ("opened".to_owned(), endpoint("none", &[])),
        ("eased".to_owned(), endpoint("people", &[])),
        ("sold".to_owned(), endpoint("others", &[])),
        ("closed".to_owned(), endpoint("people", &[])),
        ("fresh".to_owned(), endpoint("people", &[])),
    ]
    .into();
    let world = world(&old, None, false);
    let status = async |endpoint: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let admitted = match token {
            "" => world.admit(endpoint, &[]).await,
            _ => world.admit(endpoint, &[(AUTHORIZATION, &bearer)]).await,
        };
        admitted.map_or_else(|refused| refused.status.as_u16(), |_| 200)
    };
    let all = async |expected: [(&str, [u16; 4]); 6]| {
        for (endpoint, statuses) in expected {
            for (token, expected) in ["", "low", "high", "other"].into_iter().zip(statuses) {
                assert_eq!(status(endpoint, token).await, expected, "{endpoint} {token}");
            }
        }
    };
    // Let in, and still sending when the rules change: what was let in there may not be let in here.
    let low = world.with_at("opened", "low").await.unwrap();
    let still = |endpoint: &str, principal: Option<&Principal>| world.guard.still(endpoint, principal).is_ok();
    assert!(still("closed", None) && !still("eased", None) && still("sold", Some(&low)));
    world.guard.prepare(&new);
    all([
        ("gone", [401, 200, 200, 401]),
        ("opened", [401, 200, 200, 401]),
        ("eased", [401, 403, 200, 401]),
        // Neither the old ones nor the new ones: for a moment nobody can tell what is there.
        ("sold", [401, 503, 503, 503]),
        ("closed", [401, 200, 200, 401]),
        ("fresh", [401, 200, 200, 401]),
    ])
    .await;
    world.guard.configure(&new);
    all([
        ("gone", [200, 200, 200, 200]),
        ("opened", [200, 200, 200, 200]),
        ("eased", [401, 200, 200, 401]),
        ("sold", [401, 401, 401, 200]),
        ("closed", [401, 200, 200, 401]),
        ("fresh", [401, 200, 200, 401]),
    ])
    .await;
    assert!(still("opened", None) && still("opened", Some(&low)) && still("eased", Some(&low)));
    assert!(!still("closed", None) && !still("sold", Some(&low)) && !still("fresh", None));
    let refused = world.guard.still("closed", None).unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.retry_after), (503, Some(1)));
}
