//! Targets that die, stop listening, or never start: what becomes of their calls.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::world::{Made, World, idle, settings};
use crate::config::{self, Backoff, CrashLoop, EraChoice, StateKind};
use crate::error::Reason;
use crate::process::mock::{Asked, PIPE_BYTES};
use crate::process::{Exit, SpawnError};

fn text(text: &str) -> Made {
    Made {
        text: text.into(),
        ..Made::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_written_is_lost_and_a_repeatable_one_returns() {
    let (world, mut server) = World::ready(settings()).await;
    let mut lost = world.send_with(1, text("lost")).await;
    let mut again = world
        .send_with(
            2,
            Made {
                replay: true,
                ..text("again")
            },
        )
        .await;
    server.expect("tools/call").await;
    server.expect("tools/call").await;
    server.die();
    assert_eq!(lost.end().await, "lost: its process was killed by signal 9 (SIGKILL)");
    assert_eq!(again.end().await, "returned, replayed: true");
    assert_eq!(world.backend.gate().load(), (1, 10, 1));
    drop((lost, again));
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_line_was_not_fully_written_returns() {
    let (world, mut server) = World::ready(settings()).await;
    // The child reads nothing: the pipe takes the beginning of the first line.
    let mut part = world.send_with(1, text(&"x".repeat(100_000))).await;
    let mut none = world.send_with(2, text("none")).await;
    idle().await;
    let mut some = [0; 100];
    server.child.stdin.read_exact(&mut some).await.unwrap();
    idle().await;
    server.die();
    assert_eq!(part.end().await, "returned, replayed: false");
    assert_eq!(none.end().await, "returned, replayed: false");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_lacks_its_newline_alone_may_have_run() {
    let (world, mut server) = World::ready(settings()).await;
    let whole = |length: usize| text(&"x".repeat(length));
    // The first line tells how long the others are; the next one fills the pipe but for its newline.
    let mut sent = world.send_with(1, whole(0)).await;
    let around = server.hear_line().await.len();
    server.answer(&json!(sent.id), json!({})).await;
    sent.end().await;
    drop(sent);
    let mut sent = world.send_with(1, whole(PIPE_BYTES + 1 - around)).await;
    idle().await;
    server.die();
    assert_eq!(sent.end().await, "lost: its process was killed by signal 9 (SIGKILL)");
}

#[tokio::test(start_paused = true)]
async fn answers_in_the_pipe_at_the_end_are_delivered() {
    let (world, mut server) = World::ready(settings()).await;
    let (mut one, mut two) = (world.send_with(1, text("1")).await, world.send_with(1, text("2")).await);
    idle().await;
    server.serve().await;
    server.serve().await;
    server.die();
    assert_eq!(one.end().await, r#"{"text":"1"}"#);
    assert_eq!(two.end().await, r#"{"text":"2"}"#);
}

#[tokio::test(start_paused = true)]
async fn junk_unknown_ids_and_repeated_answers_harm_nobody() {
    let (world, mut server) = World::ready(settings()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    for junk in [
        "",
        "hello",
        "[1,2]",
        "{\"jsonrpc\":\"2.0\"}",
        "\u{1b}[31mred",
        "{\"id\":",
    ] {
        server.say(junk).await;
    }
    let id = json!(sent.id);
    for other in [json!(99_999), json!("x"), json!(-1), json!(format!("{id}"))] {
        server.answer(&other, json!({ "wrong": true })).await;
    }
    server
        .say(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}"#)
        .await;
    server.answer(&id, json!({ "right": true })).await;
    server.answer(&id, json!({ "wrong": true })).await;
    assert_eq!(sent.end().await, r#"{"right":true}"#);
    drop(sent);
    let mut next = world.send_with(1, text("next")).await;
    server.serve().await;
    assert_eq!(next.end().await, r#"{"text":"next"}"#);
    let status = &world.backend.status(9).targets[0];
    assert_eq!(status.junk, 5);
    assert!(
        status.stderr.contains(&"on stdout: hello".to_owned()),
        "{:?}",
        status.stderr
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_ends_the_target_and_the_answers_around_it_count() {
    let limit = config::Backend {
        max_message: 300,
        ..settings()
    };
    let (world, mut server) = World::ready(limit).await;
    let mut calls = [world.send(1).await, world.send(2).await, world.send(3).await];
    idle().await;
    let before = json!({ "jsonrpc": "2.0", "id": calls[0].id, "result": {} });
    let big = json!({ "jsonrpc": "2.0", "id": calls[1].id, "result": "x".repeat(500) });
    let after = json!({ "jsonrpc": "2.0", "id": calls[2].id, "result": {} });
    server.say(&format!("{before}\n{big}\n{after}")).await;
    assert_eq!(calls[0].end().await, "{}");
    assert_eq!(calls[2].end().await, "{}");
    let lost = calls[1].end().await;
    assert!(lost.starts_with("lost: it sent a message over the limit"), "{lost}");
    assert_eq!(server.end(), Some(Exit::killed(9)));
}

#[tokio::test(start_paused = true)]
async fn one_that_closes_its_stdout_and_lives_is_killed_after_a_second() {
    let (mut world, mut server) = World::ready(settings()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    let closed = Instant::now();
    drop(std::mem::replace(&mut server.child.stdout, tokio::io::duplex(1).0));
    idle().await;
    assert!(world.backend.live().is_empty(), "nobody chooses it any more");
    drop(world.hold(2));
    assert_eq!(sent.end().await, "lost: it closed its stdout");
    assert_eq!(closed.elapsed().as_secs(), 1);
    assert_eq!(server.child.asked.recv().await, Some(Asked::Kill));
    world.ready_child().await;
}

#[tokio::test(start_paused = true)]
async fn a_child_that_closes_its_stdout_and_then_ends_is_told_by_its_end() {
    let (world, mut server) = World::ready(settings()).await;
    let mut sent = world.send(1).await;
    server.expect("tools/call").await;
    drop(std::mem::replace(&mut server.child.stdout, tokio::io::duplex(1).0));
    idle().await;
    server.child.handle.exit(Exit::status(3));
    assert_eq!(sent.end().await, "lost: its process exited with status 3");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_its_time() {
    let mut world = World::new(settings());
    let begun = Instant::now();
    let mut silent = world.child().await;
    silent.expect("initialize").await;
    let mut next = world.child().await;
    assert_eq!(silent.end(), Some(Exit::killed(9)));
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(30) && took < Duration::from_millis(30_300),
        "{took:?}"
    );
    next.shake(&["a"]).await;
    idle().await;
    assert_eq!(world.backend.live()[0].1.incarnation, 2);
}

#[tokio::test(start_paused = true)]
async fn dying_at_every_start_is_a_crash_loop_and_the_gate_refuses_at_once() {
    let few = config::Backend {
        crash_loop: CrashLoop {
            deaths: 2,
            ..CrashLoop::default()
        },
        ..settings()
    };
    let mut world = World::new(few);
    for _ in 0..2 {
        world.child().await.die();
    }
    let last = world.child().await;
    let mut held = world.hold(1);
    last.die();
    let died = Instant::now();
    let error = held.turn().await.unwrap_err();
    assert_eq!(died.elapsed(), Duration::ZERO);
    assert!(
        matches!(&error.reason, Reason::CrashLoop(why) if why.contains("signal 9")),
        "{error:?}"
    );
    assert_eq!((error.code(), error.retry_after), (7005, Some(Duration::from_secs(30))));
    assert_eq!(world.refusal().code(), 7005);
    // The probe: refused while it shakes hands, welcome when it is ready.
    let mut probe = world.child().await;
    assert_eq!(died.elapsed().as_secs(), 30);
    probe.greet().await;
    assert_eq!(world.refusal().code(), 7005);
    probe.list(&["a"]).await;
    idle().await;
    drop(world.pass(1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_by_hand_ends_the_crash_loop_for_the_callers_too() {
    let one = config::Backend {
        crash_loop: CrashLoop {
            deaths: 0,
            ..CrashLoop::default()
        },
        ..settings()
    };
    let mut world = World::new(one);
    world.child().await.die();
    idle().await;
    assert_eq!(world.refusal().code(), 7005);
    world.backend.restart().await;
    idle().await;
    let mut held = world.hold(1);
    world.ready_child().await;
    held.turn().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_program_that_cannot_be_started_is_given_up_and_one_that_may_be_later_is_tried_again() {
    let mut world = World::new(settings());
    world.child().await.die();
    let (busy, gone) = (std::io::ErrorKind::WouldBlock.into(), String::from("server"));
    world.mock.fail_next(SpawnError::Other {
        program: gone.clone(),
        error: busy,
    });
    world.mock.fail_next(SpawnError::NotFound { program: gone });
    let mut held = world.hold(1);
    let error = held.turn().await.unwrap_err();
    assert!(
        matches!(&error.reason, Reason::Unavailable(why) if why.contains("not found")),
        "{error:?}"
    );
    assert_eq!(world.refusal().code(), 7001);
    assert_eq!(world.backend.state().0, "failed");
    world.backend.restart().await;
    world.ready_child().await;
    drop(world.pass(1));
}

#[tokio::test(start_paused = true)]
async fn lost_state_fails_what_was_held_and_what_comes_back() {
    let repl = config::Backend {
        state: StateKind::Volatile,
        ..settings()
    };
    // A death before the first start is done loses no state.
    let mut world = World::new(repl);
    let early = world.caller(1, "early");
    world.child().await.die();
    let mut server = world.ready_child().await;
    assert_eq!(server.serve().await, "early");
    early.await.unwrap().unwrap();

    let mut unsent = world.send_with(1, text(&"x".repeat(100_000))).await;
    idle().await;
    server.die();
    idle().await;
    let mut held = world.hold(2);
    let mut server = world.ready_child().await;
    assert_eq!(held.turn().await.unwrap_err().code(), 7006);
    // Its caller comes by late.
    assert_eq!(unsent.end().await, "returned, replayed: false");
    assert_eq!(unsent.permit.hold_again(false).unwrap_err().reason, Reason::StateLost);
    let fresh = world.caller(1, "fresh");
    assert_eq!(server.serve().await, "fresh");
    fresh.await.unwrap().unwrap();
    drop(held);
    assert_eq!(world.backend.gate().load(), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_of_the_probe_is_greeted_the_old_way() {
    let mut world = World::new(config::Backend {
        era: EraChoice::Auto,
        ..settings()
    });
    let mut first = world.child().await;
    first.expect("server/discover").await;
    first.die();
    world.ready_child().await;
    assert_eq!(world.backend.live()[0].1.incarnation, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_last_moment_opens_nothing() {
    let strict = config::Backend {
        backoff: Backoff {
            min: Duration::from_secs(5),
            ..Backoff::default()
        },
        max_message: 400,
        ..settings()
    };
    let mut world = World::new(strict);
    let mut server = world.child().await;
    server.greet().await;
    let list = server.expect("tools/list").await;
    let answer = json!({ "jsonrpc": "2.0", "id": list["id"], "result": { "tools": [] } });
    // The target is given up for the first of the two lines; the second ends its handshake.
    server.say(&format!("{}\n{answer}", "x".repeat(500))).await;
    idle().await;
    assert!(world.backend.live().is_empty());
    drop(world.hold(1));
    assert_eq!(world.backend.state().0, "backoff");
}
