//! What a target asks in the middle of a call: whom, and how the answer comes back.

use std::sync::Arc;

use serde_json::{Value, json};

use super::world::{Ear, Made, Sent, Server, World, agent, idle, settings};
use crate::backend::face::{Face, Owner};
use crate::backend::{Backend, Sink};
use crate::config::{self, ServerRequests};
use crate::process::Spawner;
use crate::process::mock::Mock;
use crate::wire::{RawJson, method};

fn serialized() -> config::Backend {
    config::Backend {
        server_requests: ServerRequests::Serialize,
        ..settings()
    }
}

async fn ask(server: &mut Server, id: Value, method: &str) {
    let params = json!({ "x": 1, "_meta": { "progressToken": 0 } });
    let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    server.say(&request.to_string()).await;
    idle().await;
}

/// A call with an ear, in flight at the server.
async fn call(world: &World, server: &mut Server, n: u64) -> (Sent, Arc<Ear>) {
    let ear = Arc::new(Ear::default());
    let made = Made {
        sink: Some(Arc::clone(&ear)),
        ..Made::default()
    };
    let sent = world.send_with(n, made).await;
    server.hear().await;
    (sent, ear)
}

#[tokio::test(start_paused = true)]
async fn a_shared_target_is_told_of_clients_only_where_their_calls_go_one_by_one() {
    for (settings, told) in [(settings(), false), (serialized(), true)] {
        let mut world = World::new(settings);
        let mut server = world.child().await;
        let hello = server.hear().await.unwrap();
        assert_eq!(hello["method"], "initialize");
        assert_eq!(hello["params"]["capabilities"]["sampling"].is_object(), told, "{hello}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_call_is_asked_and_its_answer_comes_back_under_the_servers_id() {
    let (world, mut server) = World::ready(serialized()).await;
    let (_sent, ear) = call(&world, &mut server, 1).await;
    assert!(matches!(
        world.backend.enter(&agent(2), 10),
        Ok(crate::backend::Entry::Hold(_))
    ));
    ask(&mut server, json!(0), method::SAMPLE).await;
    let asked = ear.asked();
    assert_eq!(asked.method, method::SAMPLE);
    let progress = r#"{"progressToken":"ask-1","progress":2}"#.to_owned();
    asked.progress.send(progress.into()).await.unwrap();
    let told = server.hear().await.unwrap();
    assert_eq!(
        (&told["method"], &told["params"]["progressToken"]),
        (&json!(method::PROGRESS), &json!(0))
    );
    asked
        .reply
        .send(Ok(RawJson::from("{\n\"model\":1.0}".to_owned())))
        .unwrap();
    assert_eq!(
        server.hear().await.unwrap(),
        json!({ "jsonrpc": "2.0", "id": 0, "result": { "model": 1.0 } })
    );
    ask(&mut server, json!("s"), method::ROOTS_LIST).await;
    drop(ear.asked().reply);
    assert_eq!(server.hear().await.unwrap()["error"]["code"], -32603);
}

#[tokio::test(start_paused = true)]
async fn what_has_no_known_owner_is_refused() {
    let (world, mut server) = World::ready(serialized()).await;
    ask(&mut server, json!(1), method::ROOTS_LIST).await;
    assert_eq!(server.hear().await.unwrap()["error"]["code"], -32601, "nobody calls");
    let (gone, _) = call(&world, &mut server, 1).await;
    drop(gone);
    idle().await;
    assert_eq!(server.hear().await.unwrap()["method"], method::CANCELLED);
    let (_sent, ear) = call(&world, &mut server, 2).await;
    ask(&mut server, json!(2), method::SAMPLE).await;
    assert_eq!(
        server.hear().await.unwrap()["error"]["code"],
        -32601,
        "the cancelled call may be the one that asks"
    );
    assert_eq!(ear.heard(), [""; 0]);

    let (world, mut server) = World::ready(settings()).await;
    let (_sent, ear) = call(&world, &mut server, 1).await;
    ask(&mut server, json!(3), method::SAMPLE).await;
    assert_eq!(server.hear().await.unwrap()["error"]["code"], -32601, "not serialized");
    assert_eq!(ear.heard(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_with_its_call_or_when_the_server_withdraws_it() {
    let (world, mut server) = World::ready(serialized()).await;
    let (sent, ear) = call(&world, &mut server, 1).await;
    ask(&mut server, json!("a"), method::SAMPLE).await;
    let asked = ear.asked();
    server.notify(method::CANCELLED, json!({ "requestId": "a" })).await;
    idle().await;
    assert!(asked.reply.is_closed());
    ask(&mut server, json!("b"), method::SAMPLE).await;
    let asked = ear.asked();
    server.answer(&json!(sent.id), json!({})).await;
    idle().await;
    assert!(asked.reply.is_closed(), "the call was answered");
}

#[tokio::test(start_paused = true)]
async fn a_target_of_one_agent_asks_that_agent_whatever_runs() {
    let (mock, mut children) = Mock::new(4);
    let spawner: Arc<dyn Spawner> = Arc::new(Arc::clone(&mock));
    let ear = Arc::new(Ear::default());
    let owner = Owner {
        face: Face {
            client: r#"{"name":"me"}"#.to_owned().into(),
            capabilities: r#"{"roots":{}}"#.to_owned().into(),
        },
        sink: Arc::clone(&ear) as Arc<dyn Sink>,
    };
    let base = Backend::start("b", settings(), Arc::clone(&spawner));
    let _scout = children.recv().await.unwrap();
    let _backend = Backend::start_for(&base, settings(), spawner, owner);
    let mut server = Server::new(children.recv().await.unwrap());
    let hello = server.hear().await.unwrap();
    assert_eq!(
        hello["params"]["clientInfo"]["name"], "me",
        "it is told who its client is"
    );
    assert_eq!(hello["params"]["capabilities"], json!({ "roots": {} }));
    let result = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
    server.answer(&hello["id"], result).await;
    server.expect(method::INITIALIZED).await;
    ask(&mut server, json!(5), method::ROOTS_LIST).await;
    assert_eq!(ear.asked().method, method::ROOTS_LIST);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_of_the_same_agent_is_no_hindrance() {
    let (world, mut server) = World::ready(serialized()).await;
    let (gone, _) = call(&world, &mut server, 1).await;
    drop(gone);
    idle().await;
    assert_eq!(server.hear().await.unwrap()["method"], method::CANCELLED);
    let (_sent, ear) = call(&world, &mut server, 1).await;
    ask(&mut server, json!(2), method::SAMPLE).await;
    assert_eq!(ear.asked().method, method::SAMPLE);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_takes_its_time_gives_way_to_others_that_wait() {
    let (world, mut server) = World::ready(serialized()).await;
    let (_sent, ear) = call(&world, &mut server, 1).await;
    ask(&mut server, json!(0), method::ELICIT).await;
    let asked = ear.asked();
    tokio::time::advance(world.backend.settings().gate.wait * 3).await;
    assert!(server.is_quiet().await, "nobody waits: it may take its time");
    assert!(!asked.reply.is_closed());
    let _held = world.hold(2);
    let told = server.hear().await.unwrap();
    assert!(
        told["error"]["message"].to_string().contains("other calls wait"),
        "{told}"
    );
    assert!(asked.reply.is_closed());
}
