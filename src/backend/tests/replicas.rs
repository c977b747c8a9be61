//! Several targets of one backend.

use std::time::Duration;

use super::world::{Made, Server, World, idle, settings, submit};
use crate::config::{self, CrashLoop};
use crate::process::Exit;

fn pair() -> config::Backend {
    config::Backend {
        replicas: 2,
        crash_loop: CrashLoop {
            deaths: 0,
            ..CrashLoop::default()
        },
        ..settings()
    }
}

async fn ready() -> (World, Server, Server) {
    let mut world = World::new(pair());
    let one = world.ready_child().await;
    let two = world.ready_child().await;
    (world, one, two)
}

#[tokio::test(start_paused = true)]
async fn one_dies_and_calls_go_on_with_the_other() {
    let (mut world, one, mut two) = ready().await;
    one.die();
    idle().await;
    assert_eq!(world.backend.live().len(), 1);
    for n in 0..5 {
        let call = world.caller(1, &n.to_string());
        assert_eq!(two.serve().await, n.to_string());
        call.await.unwrap().unwrap();
    }
    // Only when both are given up the gate refuses; one that comes back opens it.
    two.die();
    idle().await;
    assert_eq!(world.refusal().code(), 7005);
    world.ready_child().await;
    drop(world.pass(1));
}

#[tokio::test(start_paused = true)]
async fn one_that_has_not_started_yet_is_waited_for() {
    let mut world = World::new(pair());
    let one = world.child().await;
    let mut two = world.child().await;
    one.die();
    idle().await;
    let mut held = world.hold(1);
    two.shake(&["a"]).await;
    held.turn().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_broke_is_not_chosen_beside_another() {
    let (world, mut one, mut two) = ready().await;
    drop(std::mem::replace(&mut one.child.stdout, tokio::io::duplex(1).0));
    let call = world.caller(1, "x");
    assert_eq!(two.serve().await, "x");
    call.await.unwrap().unwrap();
    let big = "y".repeat(config::Backend::default().max_message + 2);
    let mut two = two;
    let writes = tokio::spawn(async move {
        two.say(&big).await;
        two
    });
    writes.await.unwrap();
    idle().await;
    assert!(world.backend.live().is_empty());
}

#[tokio::test(start_paused = true)]
async fn fewer_replicas_and_then_more_again() {
    let (mut world, one, mut two) = ready().await;
    // The second is on its way out and takes its time.
    let (target, live) = world.backend.live().swap_remove(1);
    let permit = world.pass(5);
    let mut sent = submit(&target, live.incarnation, 5, permit, Made::default()).await;
    two.expect("tools/call").await;
    let fewer = config::Backend { replicas: 1, ..pair() };
    world.backend.reconfigure(fewer, false).await;
    idle().await;
    assert_eq!(world.backend.live().len(), 1);
    world.backend.reconfigure(pair(), false).await;
    let new = world.ready_child().await;
    one.die();
    idle().await;
    assert_eq!(world.backend.live().len(), 1);
    // Its last words are not taken for its successor's.
    two.die();
    assert!(sent.end().await.starts_with("lost"));
    drop(sent);
    idle().await;
    drop(world.pass(1));
    new.die();
    idle().await;
    assert_eq!(world.refusal().code(), 7005, "nobody is left to wait for");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_removed_is_not_waited_for() {
    let (world, one, two) = ready().await;
    let fewer = config::Backend { replicas: 1, ..pair() };
    world.backend.reconfigure(fewer, false).await;
    idle().await;
    two.child.handle.exit(Exit::status(0));
    tokio::time::sleep(Duration::from_millis(5)).await;
    one.die();
    idle().await;
    assert_eq!(world.refusal().code(), 7005);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_full_is_not_chosen() {
    let mut world = World::new(config::Backend {
        max_in_flight: 1,
        ..pair()
    });
    let mut one = world.ready_child().await;
    let mut two = world.ready_child().await;
    // The first call goes to the first live target, and a policy that always picks that must not fill it twice.
    let mut first = world.send(1).await;
    let mut second = world.send(2).await;
    one.serve().await;
    two.serve().await;
    first.end().await;
    second.end().await;
}
