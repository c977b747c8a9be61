//! What a server leaves unanswered: messages of the router's own, and the question whether it is well.

use std::time::Duration;

use super::fake::{Fake, event, failed, legacy, modern_call};
use crate::remote::{Event, Remote};

/// Lets time pass that nothing happens in. What the server was sent must have reached it before.
async fn quiet(remote: &mut Remote, time: Duration) {
    tokio::time::pause();
    tokio::select! {
        told = remote.event() => panic!("{told:?}"),
        () = tokio::time::sleep(time) => {}
    }
    tokio::time::resume();
}

#[tokio::test]
async fn what_the_router_says_itself_is_given_up() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    let mut unanswered = Vec::new();
    for _ in 0..65 {
        remote.push(None, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec());
        unanswered.push(fake.next().await);
    }
    assert_eq!(remote.backlog(), usize::MAX);
    quiet(&mut remote, Duration::from_secs(11)).await;
    assert_eq!(remote.backlog(), 0);
}

#[tokio::test]
async fn a_fetch_lasts_until_its_owner_gives_it_up() {
    let mut fake = Fake::new().await;
    let mut remote = legacy(&mut fake).await;
    failed(&event(&mut remote).await);
    remote.push(
        None,
        br#"{"jsonrpc":"2.0","id":"list-3","method":"tools/list"}"#.to_vec(),
    );
    let asked = fake.next().await;
    quiet(&mut remote, Duration::from_secs(11)).await;
    let cancelled = br#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"list-3"}}"#;
    remote.push(None, cancelled.to_vec());
    asked.left().await;
    assert!(fake.next().await.body.contains("cancelled"));
}

#[tokio::test]
async fn a_server_that_does_not_say_whether_it_is_well_is_not() {
    let mut fake = Fake::new().await;
    let mut remote = fake.remote();
    remote.push(Some(1), modern_call(1));
    fake.next().await.hang_up().await;
    let probe = fake.next().await;
    tokio::time::pause();
    let Event::Down { why } = event(&mut remote).await else {
        panic!()
    };
    assert_eq!(why, "it does not say whether it is well");
    assert_eq!(failed(&event(&mut remote).await), (1, true));
    drop(probe);
}
