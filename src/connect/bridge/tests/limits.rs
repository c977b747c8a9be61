//! Bounds and ends: each is met.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{LIMITS, NOTHING, World, call, code, initialize, modern, note, request};
use crate::connect::bridge::Event;

fn written(effects: &[String]) -> Value {
    let line = effects
        .iter()
        .find_map(|e| e.strip_prefix("< "))
        .expect("something is written");
    serde_json::from_str(line).unwrap()
}

#[test]
fn so_many_messages_are_held_and_no_more() {
    let mut world = World::new();
    world.say(initialize(json!({})));
    for id in 1..LIMITS.messages {
        assert_eq!(world.say(call(id)), NOTHING);
    }
    let refused = written(&world.say(call("more")));
    assert_eq!(
        (&refused["id"], &refused["error"]["code"]),
        (&json!("more"), &json!(7002))
    );
    assert_eq!(refused["error"]["data"]["bound"], "count");
    assert_eq!(refused["error"]["data"]["delivery"], "not_sent");
    // Those in flight count as well.
    world.on(Event::Reached);
    assert_eq!(code(&world.say(call("more"))), 7002);
}

#[test]
fn so_many_bytes_are_held_and_no_more() {
    let mut world = World::new();
    let long = |id: i64| request(id, "tools/call", json!({ "name": "x".repeat(950) }));
    world.say(initialize(json!({})));
    for id in 1..=3 {
        assert_eq!(world.say(long(id)), NOTHING);
    }
    let refused = written(&world.say(long(4)));
    assert_eq!(refused["error"]["data"]["bound"], "bytes");
    // A call that left is not kept: there is room again.
    world.on(Event::Reached);
    world.open("initialize#0", "s1", json!(0));
    world.head("tools/call#1", 200);
    assert_eq!(world.say(long(4)), NOTHING);
}

#[test]
fn messages_that_are_too_long_are_answered() {
    let mut world = World::new();
    let long = written(&world.say(request(5, "tools/call", json!({ "name": "x".repeat(LIMITS.body) }))));
    assert_eq!((&long["id"], &long["error"]["code"]), (&json!(5), &json!(-32600)));
    let longer = written(&world.on(Event::TooLong(77)));
    assert_eq!(
        (&longer["id"], &longer["error"]["code"]),
        (&json!(null), &json!(-32600))
    );
    for (line, code, id) in [
        ("{", -32700, json!(null)),
        ("[]", -32600, json!(null)),
        ("[1]", -32600, json!(null)),
        (r#"{"jsonrpc":"2.0","id":4}"#, -32600, json!(4)),
    ] {
        let error = written(&world.line(line));
        assert_eq!((&error["id"], &error["error"]["code"]), (&id, &json!(code)), "{line}");
    }
}

#[test]
fn what_is_held_for_too_long_is_told() {
    let mut world = World::with(LIMITS, false);
    assert_eq!(
        world.say(modern(1, "tools/list", json!({}))),
        ["look"],
        "it may start none"
    );
    assert_eq!(world.wait(LIMITS.wait / 2), NOTHING);
    assert_eq!(world.say(call(2)), NOTHING);
    assert_eq!(world.bridge.deadline(), Some(world.now + LIMITS.wait / 2));
    let late = written(&world.wait(LIMITS.wait / 2));
    assert_eq!((&late["id"], &late["error"]["code"]), (&json!(1), &json!(7003)));
    assert_eq!(late["error"]["data"]["waited_ms"], 60_000);
    assert_eq!(late["error"]["data"]["backend"], Value::Null);
    assert_eq!(
        late["error"]["message"],
        "the router was not ready within 60.0 s. The call was not sent; it is safe to repeat it."
    );
}

#[test]
fn a_router_that_cannot_be_started_is_told_with_the_reason_and_tried_again() {
    let mut world = World::new();
    world.say(initialize(json!({})));
    world.say(note("notifications/initialized", json!({})));
    world.say(call(1));
    let told = world.on(Event::Unreachable("no config".to_owned()));
    assert_eq!(told.len(), 3, "{told:?}");
    let first = written(&told);
    assert_eq!((&first["id"], &first["error"]["code"]), (&json!(0), &json!(7001)));
    assert!(
        first["error"]["message"]
            .as_str()
            .unwrap()
            .contains("the router is not available: no config")
    );
    assert_eq!(told[2], "look");
    assert_eq!(world.say(initialize(json!({}))), ["start"]);
}

#[test]
fn a_failing_router_is_not_asked_without_pause() {
    let mut world = World::new();
    world.say(modern(1, "tools/list", json!({})));
    world.on(Event::Reached);
    let mut waited = Duration::ZERO;
    for _ in 0..10 {
        assert_eq!(world.head("tools/list#1", 503), ["drop tools/list#1"]);
        let until = world.bridge.deadline().unwrap();
        waited += until - world.now;
        world.now = until;
        let again = world.on(Event::Tick);
        assert_eq!(again, ["post tools/list#1 [2026-07-28 tools/list None]"]);
    }
    assert!(waited > Duration::from_secs(5), "{waited:?}");
}

#[test]
fn the_end_waits_for_answers_but_not_for_ever() {
    let mut world = World::legacy(json!({}));
    world.say(call(1));
    assert_eq!(world.on(Event::Eof), NOTHING);
    world.head("tools/call#1", 200);
    let last = world.answer("tools/call#1", json!(1), json!({}));
    assert_eq!(last, [r#"< {"id":1,"jsonrpc":"2.0","result":{}}"#, "end s1"]);
    assert_eq!(world.say(call(2)), NOTHING, "it is over");

    let mut world = World::legacy(json!({}));
    world.say(call(1));
    world.head("tools/call#1", 200);
    assert_eq!(world.on(Event::Eof), NOTHING);
    assert_eq!(world.wait(LIMITS.grace - Duration::from_millis(1)), NOTHING);
    assert_eq!(world.wait(Duration::from_millis(1)), ["end s1"]);

    let mut world = World::legacy(json!({}));
    world.say(call(1));
    assert_eq!(world.on(Event::Eof), NOTHING);
    assert_eq!(world.on(Event::Eof), ["end s1"], "asked twice, it ends now");
    assert_eq!(World::new().on(Event::Eof), ["end -"]);
}

#[test]
fn questions_that_nobody_answers_and_subscriptions_have_a_bound() {
    let mut world = World::legacy(json!({ "roots": {} }));
    for id in 0..1001 {
        assert_eq!(world.hear("stream", request(id, "roots/list", json!({}))).len(), 1);
    }
    let answer = |id: i64| json!({ "jsonrpc": "2.0", "id": id, "result": {} });
    assert_eq!(world.say(answer(0)), NOTHING, "the oldest was given up");
    assert_eq!(world.say(answer(1)).len(), 1);
    world.head("answer#1", 202);
    world.end("answer#1");
    for id in 0..1001 {
        let name = format!("resources/subscribe#{id}");
        world.say(request(id, "resources/subscribe", json!({ "uri": format!("u:{id}") })));
        world.head(&name, 200);
        world.answer(&name, json!(id), json!({}));
    }
    world.say(call("last"));
    world.head("tools/call#\"last\"", 404);
    world.open("own initialize", "s2", json!("own"));
    world.head("notifications/initialized", 202);
    let mut next = world.end("notifications/initialized");
    let mut again = 0;
    while next.iter().any(|e| e.starts_with("post own resources/subscribe")) {
        again += 1;
        world.head("own resources/subscribe", 200);
        let made = json!({ "jsonrpc": "2.0", "id": "own", "result": {} });
        next = world.hear("own resources/subscribe", made);
    }
    assert_eq!(again, 1000);
}
