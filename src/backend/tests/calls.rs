//! Calls: answered, cancelled, and given back.

use serde_json::json;

use super::world::{Ear, Made, World, agent, idle, settings, submit};
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn a_call_is_answered() {
    let (world, mut server) = World::ready(settings()).await;
    let mut sent = world
        .send_with(
            1,
            Made {
                text: "hello".into(),
                ..Made::default()
            },
        )
        .await;
    assert_eq!(world.backend.state(), ("ready", 1));
    assert_eq!(server.serve().await, "hello");
    assert_eq!(sent.end().await, r#"{"text":"hello"}"#);
    drop(sent);
    assert_eq!(
        (world.backend.state(), world.backend.gate().load()),
        (("ready", 0), (0, 0, 0))
    );
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    server.refuse(&json!(sent.id), -32602).await;
    assert_eq!(sent.end().await, r#"error {"code":-32602,"message":"no"}"#);
    assert_eq!(world.backend.status(0).targets[0].answered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_before_it_is_written_never_reaches_the_child() {
    let (world, mut server) = World::ready(settings()).await;
    // The child does not read; the first call fills the pipe.
    let big = world
        .send_with(
            1,
            Made {
                text: "x".repeat(200_000),
                ..Made::default()
            },
        )
        .await;
    idle().await;
    let gone = world
        .send_with(
            2,
            Made {
                text: "gone".into(),
                ..Made::default()
            },
        )
        .await;
    let mut kept = world
        .send_with(
            3,
            Made {
                text: "kept".into(),
                ..Made::default()
            },
        )
        .await;
    idle().await;
    drop(gone);
    idle().await;
    assert_eq!(server.serve().await.len(), 200_000);
    assert_eq!(server.serve().await, "kept");
    assert_eq!(kept.end().await, r#"{"text":"kept"}"#);
    assert!(server.is_quiet().await);
    drop((big, kept));
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_later_is_cancelled_at_the_child() {
    let (world, mut server) = World::ready(settings()).await;
    let sent = world.send(1).await;
    let id = sent.id;
    server.expect("tools/call").await;
    drop(sent);
    let cancelled = server.expect("notifications/cancelled").await;
    assert_eq!(cancelled["params"]["requestId"], json!(id));
    // Its late answer is nobody's, and one that is answered is not cancelled.
    server.answer(&json!(id), json!({})).await;
    let mut sent = world.send(1).await;
    server.serve().await;
    sent.end().await;
    drop(sent);
    let unheard = world.send(1).await;
    server.serve().await;
    idle().await;
    drop(unheard);
    assert!(server.is_quiet().await);
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn calls_for_an_older_incarnation_are_given_back_in_order() {
    let (mut world, server) = World::ready(settings()).await;
    let (target, live) = world.backend.live().swap_remove(0);
    let (one, two) = (world.pass(1), world.pass(1));
    server.die();
    let mut server = world.ready_child().await;
    let text = |text: &str| Made {
        text: text.into(),
        ..Made::default()
    };
    let mut two = submit(&target, live.incarnation, 1, two, text("two")).await;
    let mut one = submit(&target, live.incarnation, 1, one, text("one")).await;
    assert_eq!(two.end().await, "returned, replayed: false");
    assert_eq!(one.end().await, "returned, replayed: false");
    assert_eq!(world.backend.gate().load(), (2, 20, 0));
    let mut two = two.permit.hold_again(false).unwrap();
    let mut one = one.permit.hold_again(false).unwrap();
    two.willing();
    one.willing();
    one.turn().await.unwrap();
    let one = submit(&target, 2, 1, one.go(), text("one")).await;
    two.turn().await.unwrap();
    let two = submit(&target, 2, 1, two.go(), text("two")).await;
    assert_eq!([server.serve().await, server.serve().await], ["one", "two"]);
    drop((one, two));
}

#[tokio::test(start_paused = true)]
async fn what_is_held_waits_for_the_handshake_and_goes_in_order() {
    let mut world = World::new(settings());
    let callers: Vec<_> = ["1", "2", "3"].iter().map(|text| world.caller(7, text)).collect();
    idle().await;
    assert_eq!(world.backend.gate().load().0, 3);
    assert!(world.backend.is_first_start(crate::wire::Kind::Tools));
    let mut server = world.child().await;
    server.greet().await;
    assert!(world.backend.live().is_empty());
    server.list(&["a"]).await;
    let mut texts = Vec::new();
    for _ in 0..3 {
        texts.push(server.serve().await);
    }
    assert_eq!(texts, ["1", "2", "3"]);
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_caller_went_while_its_target_died_is_not_blocked() {
    let (mut world, mut server) = World::ready(settings()).await;
    let replayable = world
        .send_with(
            1,
            Made {
                replay: true,
                ..Made::default()
            },
        )
        .await;
    server.expect("tools/call").await;
    // In the same moment: the actor may hear of the end before it hears that the call is not wanted.
    server.die();
    drop(replayable.flight);
    drop(replayable.permit);
    idle().await;
    let next = world.caller(1, "next");
    let mut server = world.ready_child().await;
    assert_eq!(server.serve().await, "next");
    next.await.unwrap().unwrap();
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn progress_goes_to_its_owner_alone() {
    let (world, mut server) = World::ready(settings()).await;
    let (a, b) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
    let one = world
        .send_with(
            1,
            Made {
                sink: Some(Arc::clone(&a)),
                ..Made::default()
            },
        )
        .await;
    let two = world
        .send_with(
            2,
            Made {
                sink: Some(Arc::clone(&b)),
                ..Made::default()
            },
        )
        .await;
    idle().await;
    for token in [json!(two.id), json!(two.id + 1), json!("two"), json!(null)] {
        server
            .notify(
                "notifications/progress",
                json!({ "progressToken": token, "progress": 1 }),
            )
            .await;
    }
    idle().await;
    assert!(a.heard().is_empty());
    assert_eq!(
        b.heard(),
        [format!(r#"progress {{"progress":1,"progressToken":{}}}"#, two.id)]
    );
    drop((one, two));
    idle().await;
    server
        .notify("notifications/progress", json!({ "progressToken": 101, "progress": 2 }))
        .await;
    idle().await;
    assert!(a.heard().is_empty() && b.heard().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_log_message_goes_to_the_one_agent_that_has_calls() {
    let (world, mut server) = World::ready(settings()).await;
    let (a, b) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
    let log = json!({ "level": "warning", "data": "careful" });
    server.notify("notifications/message", log.clone()).await;
    idle().await;
    let one = world
        .send_with(
            1,
            Made {
                sink: Some(Arc::clone(&a)),
                ..Made::default()
            },
        )
        .await;
    server.expect("tools/call").await;
    server.notify("notifications/message", log.clone()).await;
    idle().await;
    assert_eq!(a.heard(), [r#"log 3 {"data":"careful","level":"warning"}"#]);
    let two = world
        .send_with(
            2,
            Made {
                sink: Some(Arc::clone(&b)),
                ..Made::default()
            },
        )
        .await;
    server.expect("tools/call").await;
    server.notify("notifications/message", log.clone()).await;
    // The first is cancelled, but the child may still speak of it.
    drop(one);
    server.expect("notifications/cancelled").await;
    server.notify("notifications/message", log).await;
    idle().await;
    assert!(a.heard().is_empty() && b.heard().is_empty());
    drop(two);
    assert!(world.backend.enter(&agent(1), 1).is_ok());
}
