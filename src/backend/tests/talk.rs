//! What a target says unasked, and how it is spoken to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::world::{Made, Server, World, idle, settings, submit};
use crate::backend::Backend;
use crate::config::{self, EraChoice};
use crate::process::mock::{Mock, MockChild};
use crate::process::{BoxRead, Child, Exit, SpawnError, Spawner, Spec};
use crate::wire::{Era, Kind};

const CHANGED: &str = "notifications/tools/list_changed";

fn names(world: &World) -> Vec<String> {
    let list = world.backend.known(Kind::Tools);
    list.iter().flat_map(|l| l.items()).map(|t| t.key.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_changed_list_is_fetched_once_and_once_more_if_it_changed_meanwhile() {
    let (world, mut server) = World::ready(settings()).await;
    let mut told = world.backend.list(Kind::Tools);
    told.mark_unchanged();
    server.notify(CHANGED, json!({})).await;
    let fetch = server.expect("tools/list").await;
    for _ in 0..3 {
        server.notify(CHANGED, json!({})).await;
    }
    assert!(server.is_quiet().await);
    server.answer(&fetch["id"], json!({ "tools": [{ "name": "b" }] })).await;
    let again = server.expect("tools/list").await;
    assert_eq!(names(&world), ["b"]);
    assert!(told.has_changed().unwrap());
    told.mark_unchanged();
    server.answer(&again["id"], json!({ "tools": [{ "name": "b" }] })).await;
    assert!(server.is_quiet().await);
    assert!(told.has_changed().unwrap(), "the server said that it changed");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_fails_because_the_list_changed_is_repeated() {
    let (world, mut server) = World::ready(settings()).await;
    server.notify(CHANGED, json!({})).await;
    let fetch = server.expect("tools/list").await;
    server.notify(CHANGED, json!({})).await;
    server.refuse(&fetch["id"], -32602).await;
    server.list(&["c"]).await;
    idle().await;
    assert_eq!(names(&world), ["c"]);
    // Without a change in between it is left at that.
    server.notify(CHANGED, json!({})).await;
    let fetch = server.expect("tools/list").await;
    server.refuse(&fetch["id"], -32603).await;
    assert!(server.is_quiet().await);
    assert_eq!(names(&world), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_never_answered_holds_up_no_later_one() {
    let (world, mut server) = World::ready(settings()).await;
    server.notify(CHANGED, json!({})).await;
    let lost = server.expect("tools/list").await;
    server.notify(CHANGED, json!({})).await;
    tokio::time::advance(world.backend.settings().start_timeout).await;
    let given_up = server.expect("notifications/cancelled").await;
    assert_eq!(given_up["params"]["requestId"], lost["id"]);
    let again = server.expect("tools/list").await;
    server
        .answer(&lost["id"], json!({ "tools": [{ "name": "late" }] }))
        .await;
    server.answer(&again["id"], json!({ "tools": [{ "name": "d" }] })).await;
    idle().await;
    assert_eq!(names(&world), ["d"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changes_during_the_handshake_is_fetched_again() {
    let mut world = World::new(settings());
    let mut server = world.child().await;
    server.greet().await;
    server.notify(CHANGED, json!({})).await;
    server.list(&["old"]).await;
    server.list(&["new"]).await;
    idle().await;
    assert_eq!(names(&world), ["new"]);
}

#[tokio::test(start_paused = true)]
async fn requests_are_answered_and_a_flood_of_them_is_bounded() {
    let (world, mut server) = World::ready(settings()).await;
    server.say(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#).await;
    assert_eq!(
        server.hear().await,
        Some(json!({ "jsonrpc": "2.0", "id": "p", "result": {} }))
    );
    server.say(r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#).await;
    assert_eq!(server.hear().await.unwrap()["error"]["code"], -32601);
    // It asks and asks, and does not read the answers: twenty megabytes of them.
    let id = "x".repeat(100_000);
    for _ in 0..200 {
        server
            .say(&json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }).to_string())
            .await;
    }
    idle().await;
    let mut answers = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(1), server.hear()).await {
        answers += 1;
    }
    assert!(answers > 50 && answers < 100, "{answers}");
    let call = world.caller(1, "fine");
    assert_eq!(server.serve().await, "fine");
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_wanted_log_level_is_told_to_every_incarnation() {
    let (mut world, mut server) = World::ready(settings()).await;
    world.backend.want_level(4).await;
    let level = |message: Value| message["params"]["level"].clone();
    assert_eq!(level(server.expect("logging/setLevel").await), "error");
    world.backend.want_level(6).await;
    assert!(server.is_quiet().await, "less talkative than what is wanted already");
    world.backend.want_level(1).await;
    assert_eq!(level(server.expect("logging/setLevel").await), "info");
    server.die();
    let mut server = world.ready_child().await;
    assert_eq!(level(server.expect("logging/setLevel").await), "info");
}

#[tokio::test(start_paused = true)]
async fn a_modern_server_is_probed_listened_to_and_cancelled() {
    let mut world = World::new(config::Backend {
        era: EraChoice::Auto,
        ..settings()
    });
    let mut server = world.child().await;
    let probe = server.expect("server/discover").await;
    assert_eq!(
        probe["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
    let result = json!({ "supportedVersions": ["2026-07-28"], "capabilities": { "tools": { "listChanged": true } } });
    server.answer(&probe["id"], result).await;
    server.list(&["a"]).await;
    let listen = server.expect("subscriptions/listen").await;
    assert_eq!(listen["params"]["notifications"]["toolsListChanged"], true);
    assert_eq!(world.backend.live()[0].1.era, Era::Modern);
    server.notify(CHANGED, json!({})).await;
    server.list(&["b"]).await;
    let sent = world.send(1).await;
    server.expect("tools/call").await;
    drop(sent);
    server.expect("notifications/cancelled").await;
    // The next start is probed the same way, and does not wait for anything.
    let begun = Instant::now();
    server.die();
    world.child().await.expect("server/discover").await;
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_greeted_the_old_way_after_three_seconds() {
    let mut world = World::new(config::Backend {
        era: EraChoice::Auto,
        ..settings()
    });
    let begun = Instant::now();
    let mut server = world.child().await;
    server.expect("server/discover").await;
    server.shake(&["a"]).await;
    assert_eq!(begun.elapsed().as_secs(), 3);
    idle().await;
    assert_eq!(world.backend.live()[0].1.era, Era::Legacy);
    server.die();
    world.ready_child().await;
    assert_eq!(world.backend.live()[0].1.incarnation, 2, "its era is remembered");
}

/// Children whose stdout goes through `wrap`.
struct Odd {
    mock: Arc<Mock>,
    wrap: fn(BoxRead) -> BoxRead,
}

impl Spawner for Odd {
    fn spawn(&self, spec: &Spec) -> Result<Child, SpawnError> {
        let mut child = self.mock.spawn(spec)?;
        child.stdout = (self.wrap)(child.stdout);
        Ok(child)
    }
}

fn odd(wrap: fn(BoxRead) -> BoxRead) -> (Arc<Backend>, mpsc::Receiver<MockChild>) {
    let (mock, children) = Mock::new(8);
    let quick = config::Backend {
        start_timeout: Duration::from_secs(60),
        ..settings()
    };
    (Backend::start("b", quick, Arc::new(Odd { mock, wrap })), children)
}

/// A stdout that is read byte by byte, each for a part of the task's turn.
struct Slow(BoxRead);

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut one = [0];
        let mut byte = ReadBuf::new(&mut one);
        let read = self.0.as_mut().poll_read(cx, &mut byte);
        buf.put_slice(byte.filled());
        read
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_a_slow_pipe_at_the_end_are_delivered_too() {
    let (backend, mut children) = odd(|pipe| Box::pin(Slow(pipe)));
    let mut server = Server::new(children.recv().await.unwrap());
    server.shake(&["a"]).await;
    idle().await;
    let (target, live) = backend.live().swap_remove(0);
    let Ok(crate::backend::Entry::Pass(permit)) = backend.enter(&super::world::agent(1), 1) else {
        panic!("an open gate")
    };
    let mut sent = submit(
        &target,
        live.incarnation,
        1,
        permit,
        Made {
            text: "x".repeat(1000),
            ..Made::default()
        },
    )
    .await;
    idle().await;
    server.serve().await;
    server.die();
    assert_eq!(sent.end().await.len(), 1011);
}

/// A stdout that never has an end of what to read.
struct Flood(BoxRead);

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.0.as_mut().poll_read(cx, buf) {
            Poll::Pending => {
                // As a pipe that is filled faster than it is read.
                std::task::ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
                buf.put_slice(b"\n");
                Poll::Ready(Ok(()))
            }
            ready => ready,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_talks_without_end_is_heard_and_stopped() {
    let (backend, mut children) = odd(|pipe| Box::pin(Flood(pipe)));
    let mut server = Server::new(children.recv().await.unwrap());
    // The clock does not move by itself while somebody always has work. A thousand seconds must do.
    let clock = async {
        for _ in 0..2000 {
            tokio::time::advance(Duration::from_millis(500)).await;
            tokio::task::yield_now().await;
        }
    };
    let story = async {
        server.shake(&["a"]).await;
        while backend.live().is_empty() {
            tokio::task::yield_now().await;
        }
        backend.stop(crate::error::Reason::ShuttingDown).await;
        assert_eq!(server.end(), Some(Exit::killed(9)));
    };
    tokio::select! {
        () = story => {}
        () = clock => panic!("it was not heard, or went on"),
    }
}
