//! What each endpoint asks for, and what it says of that.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{ISSUER, RESOURCE, config, jwt, world};
use crate::auth::{Guard, Request};
use crate::config::{AuthKind, Config, Endpoint, Token, digest};

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
