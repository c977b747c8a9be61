//! How long somebody who was let in may listen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{AUTHORIZATION, HOST};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Signer, World, config, from_now, jwt, with, world};
use crate::auth::Lease;
use crate::config::{AuthKind, Token, digest};

/// The lease of whoever has this token.
async fn lease(world: &World, token: &str) -> Lease {
    let principal = world.with(token).await.unwrap();
    let headers = [
        (HOST, world.host.parse().unwrap()),
        (AUTHORIZATION, format!("Bearer {token}").parse().unwrap()),
    ];
    Lease::new(&world.guard, "", principal, headers.into_iter().collect(), true)
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_token_and_not_before() {
    let signer = Signer::new("k1");
    let world = world(
        &jwt(|jwt| jwt.leeway = Duration::from_secs(5)),
        Some(vec![signer.public()]),
        false,
    );
    let lease = lease(&world, &signer.token(&with("exp", json!(from_now(600))))).await;
    let began = Instant::now();
    lease.over().await;
    let lived = began.elapsed();
    assert!((602..=605).contains(&lived.as_secs()), "{lived:?}");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_token_is_not_good_any_more() {
    let token = |name: &str, scopes: &[&str]| {
        let one = Token {
            sha256: digest(name.as_bytes()),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            labels: BTreeMap::new(),
        };
        (name.to_owned(), one)
    };
    let mut config = config(AuthKind::Tokens(
        [token("ann", &["mcp"]), token("bob", &["mcp"]), token("cat", &["mcp"])].into(),
    ));
    let world = world(&config, None, false);
    let mut leases = Vec::new();
    for name in ["ann", "bob", "cat"] {
        leases.push(Box::pin(lease(&world, name).await.over()));
    }
    let [ann, bob, cat] = leases.as_mut_slice() else {
        panic!()
    };
    // Nothing that is asked has changed.
    world.guard.configure(&config.clone());
    for one in [&mut *ann, &mut *bob, &mut *cat] {
        assert!(timeout(Duration::from_secs(3600), one).await.is_err());
    }
    // One is gone, one has less, one has another token under the same name.
    config.auth.get_mut("people").unwrap().kind = AuthKind::Tokens([token("ann", &["mcp"]), token("bob", &[])].into());
    world.guard.prepare(&config);
    bob.await;
    cat.await;
    assert_eq!(ann.now_or_never(), None);
    // Nobody is asked any more: who listens may go on.
    config.listen.auth = None;
    world.guard.configure(&config);
    assert!(timeout(Duration::from_secs(3600), ann).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn while_nobody_can_tell_it_goes_on() {
    let signer = Signer::new("k1");
    let mut config = jwt(|jwt| jwt.wait = Duration::from_secs(5));
    let world = Arc::new(world(&config, Some(vec![signer.public()]), false));
    let mut lease = Box::pin(
        lease(&world, &signer.token(&with("exp", json!(from_now(86_400)))))
            .await
            .over(),
    );
    assert!(timeout(Duration::from_secs(1), &mut lease).await.is_err());
    // Another rule has no keys yet, and its issuer is down.
    *world.served.lock().unwrap() = None;
    let AuthKind::Jwt(jwt) = &mut config.auth.get_mut("people").unwrap().kind else {
        panic!()
    };
    jwt.principal = "sub".to_owned();
    jwt.leeway = Duration::from_secs(7);
    world.guard.configure(&config);
    assert!(timeout(Duration::from_secs(60), &mut lease).await.is_err());
    // It is up again, with other keys.
    *world.served.lock().unwrap() = Some(vec![Signer::new("k1").public()]);
    assert!(timeout(Duration::from_secs(60), &mut lease).await.is_ok());
}
