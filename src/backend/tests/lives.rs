//! Whole lives: restarts, the stop ladder, and the end of a backend.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::world::{Made, Server, World, idle, settings};
use crate::config::{self, Stop};
use crate::error::Reason;
use crate::process::Exit;
use crate::process::mock::Asked;

const SOON: Duration = Duration::from_millis(50);

/// The rungs, 1 s, 2 s and 3 s apart.
fn ladder() -> config::Backend {
    config::Backend {
        stop: Stop {
            drain: Duration::from_secs(1),
            eof: Duration::from_secs(2),
            term: Duration::from_secs(3),
        },
        ..settings()
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_holds_calls_and_lets_those_in_flight_finish() {
    let (mut world, mut server) = World::ready(settings()).await;
    let mut flying = world
        .send_with(
            1,
            Made {
                text: "flying".into(),
                ..Made::default()
            },
        )
        .await;
    idle().await;
    world.backend.restart().await;
    idle().await;
    let held: Vec<_> = (0..3).map(|n| world.caller(n, &format!("held {n}"))).collect();
    idle().await;
    assert_eq!(world.backend.gate().load().0, 3);
    assert_eq!(server.serve().await, "flying");
    assert_eq!(flying.end().await, r#"{"text":"flying"}"#);
    assert_eq!(
        server.hear().await,
        None,
        "its stdin is closed when nothing is in flight"
    );
    server.child.handle.exit(Exit::status(0));
    let mut server = world.ready_child().await;
    for n in 0..3 {
        assert_eq!(server.serve().await, format!("held {n}"));
    }
    for call in held {
        call.await.unwrap().unwrap();
    }
    drop(flying);
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
    assert_eq!(world.backend.status(0).targets[0].restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn the_ladder_of_a_stubborn_child() {
    let (world, mut server) = World::ready(ladder()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    let backend = Arc::clone(&world.backend);
    let begun = Instant::now();
    let stop = tokio::spawn(async move { backend.stop(Reason::ShuttingDown).await });
    assert_eq!(server.hear().await, None);
    assert_eq!(begun.elapsed().as_secs(), 1);
    assert_eq!(server.child.asked.recv().await, Some(Asked::Terminate));
    assert_eq!(begun.elapsed().as_secs(), 3);
    assert_eq!(server.child.asked.recv().await, Some(Asked::Kill));
    assert_eq!(begun.elapsed().as_secs(), 6);
    stop.await.unwrap();
    assert!(sent.end().await.starts_with("lost"));
    assert_eq!(world.backend.state().0, "stopped");
}

#[tokio::test(start_paused = true)]
async fn a_kill_waits_for_nothing() {
    let (world, mut server) = World::ready(ladder()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    let begun = Instant::now();
    world.backend.kill().await;
    assert_eq!((server.end(), begun.elapsed()), (Some(Exit::killed(9)), Duration::ZERO));
    assert!(sent.end().await.starts_with("lost"));
}

#[tokio::test(start_paused = true)]
async fn stopping_refuses_at_once_and_for_good() {
    let (world, mut server) = World::ready(ladder()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    let backend = Arc::clone(&world.backend);
    let stop = tokio::spawn(async move { backend.stop(Reason::ShuttingDown).await });
    idle().await;
    assert_eq!(world.refusal().reason, Reason::ShuttingDown);
    server.answer(&serde_json::json!(sent.id), serde_json::json!({})).await;
    assert_eq!(sent.end().await, "{}", "what is in flight finishes");
    server.child.handle.exit(Exit::status(0));
    stop.await.unwrap();
    assert_eq!(world.refusal().reason, Reason::ShuttingDown);
    world.backend.reconfigure(ladder(), false).await;
    idle().await;
    assert_eq!(world.refusal().reason, Reason::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn a_refusing_backend_stays_so_when_its_target_comes_back() {
    let (mut world, server) = World::ready(settings()).await;
    world.backend.refuse(Reason::ShuttingDown);
    server.die();
    world.ready_child().await;
    assert_eq!(world.refusal().reason, Reason::ShuttingDown);
    world.backend.restart().await;
    idle().await;
    drop(world.hold(1));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_target_the_router_stops_is_told_who_did_it() {
    let (world, mut server) = World::ready(settings()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    let backend = Arc::clone(&world.backend);
    let stop = tokio::spawn(async move { backend.stop(Reason::ShuttingDown).await });
    while server.hear().await.is_some() {}
    server.die();
    let lost = sent.end().await;
    assert!(lost.starts_with("lost: the router stopped it: its process"), "{lost}");
    stop.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stopping_right_after_the_start_leaves_no_process() {
    let mut world = World::new(settings());
    // The actor has not run yet.
    let backend = Arc::clone(&world.backend);
    let stop = tokio::spawn(async move { backend.stop(Reason::ShuttingDown).await });
    let mut server = world.child().await;
    while server.hear().await.is_some() {}
    assert!(!stop.is_finished());
    server.child.handle.exit(Exit::status(0));
    stop.await.unwrap();
    assert!(!world.started());
}

#[tokio::test(start_paused = true)]
async fn stopping_in_the_pause_between_starts_ends_it() {
    let mut world = World::new(settings());
    world.child().await.die();
    idle().await;
    timeout(SOON, world.backend.stop(Reason::ShuttingDown)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(!world.started());
}

/// Drops the world's backend and sees it climb the ladder to the end of the actor.
async fn is_dropped(world: World, mut server: Server) {
    let gone = Arc::downgrade(&world.backend);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    drop(world);
    assert!(gone.upgrade().is_none());
    while server.hear().await.is_some() {}
    server.child.handle.exit(Exit::status(0));
    drop(server);
    idle().await;
    assert_eq!(tasks(), 0, "the actor and the reader of stderr have ended");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_backend_ends_its_actors() {
    let (world, server) = World::ready(settings()).await;
    is_dropped(world, server).await;
    // While its actor is busy: it hears of the end when it waits again.
    let (world, mut server) = World::ready(settings()).await;
    for _ in 0..100 {
        server.say("junk").await;
    }
    world.backend.want_level(3).await;
    is_dropped(world, server).await;
    // Before its actor ever ran.
    let (mock, mut children) = crate::process::mock::Mock::new(1);
    drop(crate::backend::Backend::start("b", settings(), mock));
    let server = Server::new(children.recv().await.unwrap());
    let world = World::new(settings());
    drop(server);
    idle().await;
    world.backend.kill().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_backend_in_the_middle_of_its_work_ends_its_actor() {
    for calls in 1..4 {
        let (world, mut server) = World::ready(settings()).await;
        let mut sent = Vec::new();
        for n in 0..calls {
            sent.push(world.send(n).await);
        }
        // The actor takes the calls, lets the others run, and they drop everything.
        tokio::task::yield_now().await;
        drop(world);
        drop(sent);
        while server.hear().await.is_some() {}
        server.child.handle.exit(Exit::status(0));
        drop(server);
        idle().await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn new_settings_restart_only_where_the_child_must_have_them() {
    let (mut world, server) = World::ready(settings()).await;
    let mut wider = settings();
    wider.max_in_flight = 1;
    world.backend.reconfigure(wider.clone(), false).await;
    idle().await;
    assert!(!world.started());
    let one = world.pass(1);
    let mut two = world.hold(2);
    drop(one);
    two.turn().await.unwrap();
    wider.command = "other".into();
    world.backend.reconfigure(wider, true).await;
    drop(two);
    server.child.handle.exit(Exit::status(0));
    let next = world.child().await;
    assert_eq!(next.child.spec.program, "other");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_target_hears_when_it_comes_and_when_it_goes() {
    let mut world = World::new(settings());
    let mut server = world.child().await;
    let mut changes = world.backend.changes();
    assert!(world.backend.is_first_start(crate::wire::Kind::Tools));
    server.shake(&["a"]).await;
    timeout(SOON, changes.changed()).await.unwrap().unwrap();
    assert!(!world.backend.is_first_start(crate::wire::Kind::Tools) && !world.backend.live().is_empty());
    server.die();
    timeout(SOON, changes.changed()).await.unwrap().unwrap();
    assert!(world.backend.live().is_empty());

    let mut world = World::new(settings());
    let server = world.child().await;
    let mut changes = world.backend.changes();
    server.die();
    timeout(SOON, changes.changed()).await.unwrap().unwrap();
    assert!(
        !world.backend.is_first_start(crate::wire::Kind::Tools),
        "it failed: nobody need wait for it"
    );
}
