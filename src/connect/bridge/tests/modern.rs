//! Modern clients: no session, headers, cancelling, listening.

use serde_json::json;

use super::world::{NOTHING, World, code, modern, note};
use crate::connect::bridge::Event;

fn discovered() -> World {
    let mut world = World::new();
    assert_eq!(world.say(modern(0, "server/discover", json!({}))), ["start"]);
    let sent = world.on(Event::Reached);
    assert_eq!(sent, ["post server/discover#0 [2026-07-28 server/discover None]"]);
    world.head("server/discover#0", 200);
    world.answer("server/discover#0", json!(0), json!({ "resultType": "complete" }));
    world
}

#[test]
fn requests_carry_their_headers_and_no_session_is_made() {
    let mut world = discovered();
    for (method, params, shown) in [
        ("tools/call", json!({ "name": "t" }), r#"Some("t")"#),
        ("prompts/get", json!({ "name": "p" }), r#"Some("p")"#),
        ("resources/read", json!({ "uri": "u:" }), r#"Some("u:")"#),
        ("tasks/get", json!({ "taskId": "9" }), r#"Some("9")"#),
        ("tools/list", json!({}), "None"),
    ] {
        let sent = world.say(modern(1, method, params));
        assert_eq!(sent, [format!("post {method}#1 [2026-07-28 {method} {shown}]")]);
        let name = format!("{method}#1");
        world.head(&name, 200);
        let progress = note("notifications/progress", json!({ "progressToken": 1, "progress": 1 }));
        assert_eq!(world.hear(&name, progress.clone()), [format!("< {progress}")]);
        assert_eq!(world.answer(&name, json!(1), json!({})).len(), 1);
        assert_eq!(world.end(&name), NOTHING, "nothing is left of it");
    }
    // Nobody would understand it.
    assert_eq!(world.say(note("notifications/x", json!({}))), NOTHING);
}

#[test]
fn a_call_is_cancelled_by_closing_its_connection() {
    let mut world = discovered();
    world.say(modern(1, "tools/call", json!({ "name": "t" })));
    assert_eq!(world.say(modern(2, "tools/call", json!({ "name": "t" }))), NOTHING);
    let cancelled = world.say(note("notifications/cancelled", json!({ "requestId": 1 })));
    assert_eq!(cancelled[0], "drop tools/call#1");
    assert_eq!(
        cancelled[1..],
        [r#"post tools/call#2 [2026-07-28 tools/call Some("t")]"#]
    );
    assert_eq!(
        world.say(note("notifications/cancelled", json!({ "requestId": 77 }))),
        NOTHING
    );
}

#[test]
fn a_death_is_told_to_calls_alone() {
    let mut world = discovered();
    world.say(modern(1, "tools/call", json!({ "name": "t" })));
    world.head("tools/call#1", 200);
    world.say(modern(2, "tools/list", json!({})));
    world.head("tools/list#2", 200);
    let dead = world.cut("tools/call#1");
    assert_eq!(
        (code(&dead), dead.len()),
        (7004, 1),
        "nothing waits, so no router is started"
    );
    assert_eq!(world.cut("tools/list#2"), ["start"]);
    assert_eq!(
        world.on(Event::Reached),
        ["post tools/list#2 [2026-07-28 tools/list None]"]
    );
    // A router that ends properly without an answer is no better.
    world.head("tools/list#2", 200);
    assert_eq!(world.end("tools/list#2"), ["start"]);
    world.on(Event::Reached);
    world.head("tools/list#2", 200);
    assert_eq!(code(&world.cut("tools/list#2")), 7004, "it was sent often enough");
}

#[test]
fn a_listener_is_opened_again_under_its_id_and_acknowledged_once() {
    let mut world = discovered();
    world.say(modern(
        "l",
        "subscriptions/listen",
        json!({ "notifications": { "toolsListChanged": true } }),
    ));
    let name = "subscriptions/listen#\"l\"";
    world.head(name, 200);
    let acknowledged = note(
        "notifications/subscriptions/acknowledged",
        json!({ "notifications": { "toolsListChanged": true } }),
    );
    assert_eq!(world.hear(name, acknowledged.clone()), [format!("< {acknowledged}")]);
    let sent = format!("post {name} [2026-07-28 subscriptions/listen None]");
    let changed = r#"< {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"l"}}}"#;
    for round in 0..5 {
        // Killed, or ended with a result as a router does that stops.
        if round % 2 == 0 {
            assert_eq!(world.cut(name), ["start"]);
        } else {
            assert_eq!(
                world.answer(name, json!("l"), json!({ "resultType": "complete" })),
                ["start"]
            );
        }
        assert_eq!(world.on(Event::Reached), std::slice::from_ref(&sent));
        world.head(name, 200);
        assert_eq!(
            world.hear(name, acknowledged.clone()),
            [changed],
            "what was missed may be anything"
        );
    }
    assert_eq!(
        world.say(note("notifications/cancelled", json!({ "requestId": "l" }))),
        [format!("drop {name}")]
    );
    assert_eq!(world.on(Event::Eof), ["end -"]);
}

#[test]
fn refusals_are_the_answer_whoever_they_are_addressed_to() {
    for (status, body, heard) in [
        (
            404,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m"}}"#,
            Some(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m"}}"#),
        ),
        (
            413,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"m"}}"#,
            Some(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"m"}}"#),
        ),
        (400, "<html>", None),
        (500, "", None),
        (
            200,
            "{\"jsonrpc\":\"2.0\",\n\"id\":1,\r\n\"result\":{}}",
            Some(r#"{"jsonrpc":"2.0", "id":1,  "result":{}}"#),
        ),
    ] {
        let mut world = discovered();
        world.say(modern(1, "tools/call", json!({ "name": "t" })));
        world.head("tools/call#1", status);
        let number = world.number("tools/call#1");
        let mut effects = Vec::new();
        if !body.is_empty() {
            effects = world.on(Event::Said(number, body.to_owned()));
        }
        effects.extend(world.on(Event::Ended(number)));
        match heard {
            Some(line) => assert_eq!(effects, [format!("< {line}")]),
            None => assert_eq!((effects.len(), code(&effects)), (1, -32603), "{effects:?}"),
        }
    }
}
