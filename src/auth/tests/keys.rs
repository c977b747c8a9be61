//! Keys of an issuer: when they are fetched, how often, and what happens while that does not work.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Signer, claims, jwt, world};

#[tokio::test(start_paused = true)]
async fn requests_are_held_while_the_first_keys_are_fetched_and_fetched_once() {
    let signer = Signer::new("k1");
    let world = Arc::new(world(&jwt(|_| {}), Some(vec![signer.public()]), true));
    let token = signer.token(&claims());
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.with(&token).await.is_ok() })
        })
        .collect();
    while world.fetched() == 0 {
        tokio::task::yield_now().await;
    }
    world.go.notify_one();
    for one in asking {
        assert!(one.await.unwrap());
    }
    assert_eq!(world.fetched(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_is_waited_for_and_then_nobody_can_tell() {
    let signer = Signer::new("k1");
    let world = world(&jwt(|jwt| jwt.wait = Duration::from_secs(5)), None, false);
    let token = signer.token(&claims());
    let began = tokio::time::Instant::now();
    let refused = world.with(&token).await.unwrap_err();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    // What went wrong inside is for the log alone.
    assert_eq!(refused.why, "tokens cannot be checked now");
    assert_eq!(refused.retry_after, Some(1));
    // It comes up while somebody waits.
    let served = Arc::clone(&world.served);
    let key = signer.public();
    let up = async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        *served.lock().unwrap() = Some(vec![key]);
    };
    let (admitted, ()) = tokio::join!(world.with(&token), up);
    assert!(admitted.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_asked_for_and_made_up_ones_do_not_hammer_the_issuer() {
    let (old, new, forged) = (Signer::new("k1"), Signer::new("k2"), Signer::new("k3"));
    let world = world(&jwt(|_| {}), Some(vec![old.public()]), false);
    assert!(world.with(&old.token(&claims())).await.is_ok());
    *world.served.lock().unwrap() = Some(vec![old.public(), new.public()]);
    assert!(world.with(&new.token(&claims())).await.is_ok(), "known after one look");
    assert_eq!(world.fetched(), 2);
    for _ in 0..20 {
        let why = "it is signed with a key that its issuer does not have";
        assert_eq!(world.why(&forged.token(&claims())).await, (401, why.to_owned()));
    }
    assert_eq!(world.fetched(), 2, "not again within 30 s");
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(world.why(&forged.token(&claims())).await.0, 401);
    assert_eq!(world.fetched(), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_their_issuer_and_are_renewed_aside() {
    let signer = Signer::new("k1");
    let world = world(&jwt(|_| {}), Some(vec![signer.public()]), false);
    let token = signer.token(&claims());
    assert!(world.with(&token).await.is_ok());
    *world.served.lock().unwrap() = None;
    for round in 2..5 {
        tokio::time::advance(Duration::from_secs(601)).await;
        assert!(world.with(&token).await.is_ok(), "stale keys are keys");
        while world.fetched() < round {
            tokio::task::yield_now().await;
        }
    }
    // Withdrawn keys are gone with the next good answer.
    *world.served.lock().unwrap() = Some(Vec::new());
    tokio::time::advance(Duration::from_secs(601)).await;
    assert!(world.with(&token).await.is_ok());
    while world.with(&token).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_bring_a_new_key_wait_for_the_same_look() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let world = Arc::new(world(&jwt(|_| {}), Some(vec![old.public()]), true));
    world.go.notify_one();
    assert!(world.with(&old.token(&claims())).await.is_ok());
    *world.served.lock().unwrap() = Some(vec![old.public(), new.public()]);
    let token = new.token(&claims());
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (world, token) = (Arc::clone(&world), token.clone());
        asking.spawn(async move { world.with(&token).await.map(drop) });
    }
    while world.fetched() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    world.go.notify_one();
    for answer in asking.join_all().await {
        assert_eq!(answer, Ok(()));
    }
    assert_eq!(world.fetched(), 2, "one look for all");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_failed_says_nothing_against_a_token() {
    let (old, new) = (Signer::new("k1"), Signer::new("k2"));
    let world = world(&jwt(|_| {}), Some(vec![old.public()]), false);
    assert!(world.with(&old.token(&claims())).await.is_ok());
    *world.served.lock().unwrap() = None;
    let token = new.token(&claims());
    for _ in 0..5 {
        assert_eq!(world.why(&token).await.0, 503);
    }
    assert_eq!(world.fetched(), 2, "not again within a second");
    *world.served.lock().unwrap() = Some(vec![old.public(), new.public()]);
    tokio::time::advance(Duration::from_millis(1001)).await;
    assert!(world.with(&token).await.is_ok(), "it need not wait for half a minute");
}
