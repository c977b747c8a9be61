//! Legacy clients: order, what they hear, and a session that is opened again.

use serde_json::json;

use super::world::{NOTHING, World, call, code, initialize, note, request};
use crate::connect::bridge::Event;

#[test]
fn requests_wait_for_initialize_and_then_for_the_place_of_the_one_before() {
    let mut world = World::new();
    world.say(initialize(json!({})));
    assert_eq!(world.say(call(1)), NOTHING);
    assert_eq!(world.say(call(2)), NOTHING);
    assert_eq!(
        world.say(note("notifications/cancelled", json!({ "requestId": 2 }))),
        NOTHING
    );
    assert_eq!(world.say(call(3)), NOTHING);
    assert_eq!(world.on(Event::Reached), ["post initialize#0"]);
    let opened = world.open("initialize#0", "s1", json!(0));
    assert_eq!(opened[1..], ["post tools/call#1 @s1/2025-11-25"]);
    assert!(
        opened[0].starts_with(r#"< {"jsonrpc":"2.0","id":0,"result":{"#),
        "{opened:?}"
    );
    // What was taken back before it left never leaves.
    assert_eq!(world.head("tools/call#1", 200), ["post tools/call#3 @s1/2025-11-25"]);
    assert_eq!(
        world.say(note("notifications/cancelled", json!({ "requestId": 3 }))),
        NOTHING
    );
    let told = ["post notifications/cancelled @s1/2025-11-25"];
    assert_eq!(
        world.head("tools/call#3", 200),
        told,
        "not before its request has its place"
    );
    assert_eq!(
        world.answer("tools/call#3", json!(3), json!({})),
        NOTHING,
        "what was cancelled is not answered"
    );
    let answer = world.answer("tools/call#1", json!(1), json!({ "a": 1.50 }));
    assert_eq!(answer, [r#"< {"id":1,"jsonrpc":"2.0","result":{"a":1.5}}"#]);
}

#[test]
fn nothing_is_heard_that_was_not_asked_for() {
    let mut world = World::new();
    world.say(initialize(json!({ "elicitation": {} })));
    world.on(Event::Reached);
    world.open("initialize#0", "s1", json!(0));
    world.say(call(1));
    world.head("tools/call#1", 200);
    let log = note("notifications/message", json!({ "level": "info", "data": "x" }));
    assert_eq!(world.hear("tools/call#1", log.clone()), NOTHING, "not initialized yet");
    assert_eq!(
        world.say(note("notifications/initialized", json!({}))),
        ["post notifications/initialized @s1/2025-11-25", "get @s1"]
    );
    world.head("notifications/initialized", 202);
    for (message, heard) in [
        (log, true),
        (note("notifications/tools/list_changed", json!({})), true),
        (note("notifications/prompts/list_changed", json!({})), false),
        (request(7, "ping", json!({})), true),
        (request("e", "elicitation/create", json!({})), true),
    ] {
        let effects = world.hear("stream", message.clone());
        let expected = if heard { vec![format!("< {message}")] } else { vec![] };
        assert_eq!(effects, expected, "{message}");
    }
    // The router hears that the client cannot, from us.
    for method in ["sampling/createMessage", "roots/list", "unknown"] {
        assert_eq!(
            world.hear("stream", request(8, method, json!({}))),
            ["post answer#8 @s1/2025-11-25"]
        );
        world.head("answer#8", 202);
        world.end("answer#8");
    }
    let answer = json!({ "jsonrpc": "2.0", "id": "e", "result": { "action": "accept" } });
    assert_eq!(world.say(answer.clone()), [r#"post answer#"e" @s1/2025-11-25"#]);
    assert_eq!(world.say(answer), NOTHING, "once is enough");
}

#[test]
fn a_session_is_opened_again_as_it_was_and_nobody_hears_of_it() {
    let mut world = World::legacy(json!({ "elicitation": {} }));
    for (id, method, params) in [
        (1, "logging/setLevel", json!({ "level": "error" })),
        (2, "resources/subscribe", json!({ "uri": "a:" })),
        (3, "resources/subscribe", json!({ "uri": "b:" })),
        (4, "resources/unsubscribe", json!({ "uri": "a:" })),
    ] {
        let name = format!("{method}#{id}");
        world.say(request(id, method, params));
        world.head(&name, 200);
        assert_eq!(world.answer(&name, json!(id), json!({})).len(), 1);
    }
    world.hear("stream", request(7, "elicitation/create", json!({})));
    for message in [
        request(10, "tools/list", json!({})),
        call(11),
        request(12, "ping", json!({})),
    ] {
        world.say(message);
    }
    for name in ["tools/list#10", "tools/call#11", "ping#12"] {
        world.head(name, 200);
    }

    // It dies: what breaks first is looked after first.
    assert_eq!(world.cut("ping#12"), ["start"]);
    assert_eq!(code(&world.cut("tools/call#11")), 7004);
    assert_eq!(world.cut("stream"), NOTHING);
    assert_eq!(world.cut("tools/list#10"), NOTHING);
    assert_eq!(world.say(call(13)), NOTHING);
    assert_eq!(world.on(Event::Reached), NOTHING);
    let again = world.wait_for_pause();
    assert_eq!(again, ["post tools/list#10 @s1/2025-11-25", "get @s1"]);

    // The router there does not know the session. The question that it asked is void.
    let lost = world.head("tools/list#10", 404);
    let void = r#"< {"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7,"reason":"the router was restarted"}}"#;
    assert_eq!(lost, ["drop tools/list#10", void, "drop stream", "post own initialize"]);
    let swallowed = world.open("own initialize", "s2", json!("own"));
    assert_eq!(swallowed, ["post notifications/initialized @s2/2025-11-25"]);
    world.head("notifications/initialized", 202);
    assert_eq!(
        world.end("notifications/initialized"),
        ["post own logging/setLevel @s2/2025-11-25"]
    );
    world.head("own logging/setLevel", 200);
    let next = world.answer("own logging/setLevel", json!("own"), json!({}));
    assert_eq!(next, ["post own resources/subscribe @s2/2025-11-25"]);
    world.head("own resources/subscribe", 200);
    let done = world.answer("own resources/subscribe", json!("own"), json!({}));
    let changed = r#"< {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(done, [changed, "post tools/list#10 @s2/2025-11-25", "get @s2"]);
    assert_eq!(world.head("tools/list#10", 200), ["post ping#12 @s2/2025-11-25"]);
    assert_eq!(world.head("ping#12", 200), ["post tools/call#13 @s2/2025-11-25"]);
    let late = json!({ "jsonrpc": "2.0", "id": 7, "result": {} });
    assert_eq!(world.say(late), NOTHING, "nobody waits for that answer");
}

#[test]
fn a_router_that_was_never_reached_costs_nothing() {
    let mut world = World::legacy(json!({}));
    world.say(call(1));
    assert_eq!(world.refused("tools/call#1"), ["start"], "it never left");
    assert_eq!(world.on(Event::Reached), NOTHING);
    assert_eq!(world.wait_for_pause(), ["post tools/call#1 @s1/2025-11-25"]);
    world.head("tools/call#1", 200);
    // The stream alone starts no router.
    assert_eq!(world.end("stream"), ["look"]);
    assert_eq!(world.refused("stream"), NOTHING, "it is gone already");
    assert_eq!(world.say(request(2, "ping", json!({}))), ["start"]);
}

#[test]
fn a_session_that_cannot_be_opened_again_is_told_and_tried_again() {
    let mut world = World::legacy(json!({}));
    world.say(call(1));
    assert_eq!(world.head("tools/call#1", 404)[2], "post own initialize");
    world.head("own initialize", 404);
    let refusal = json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": "no endpoint" } });
    let told = world.hear("own initialize", refusal);
    assert_eq!(
        told,
        [r#"< {"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"no endpoint"}}"#]
    );
    world.end("own initialize");
    assert_eq!(world.wait_for_pause(), NOTHING);
    assert_eq!(world.say(call(2)), ["post own initialize"]);
    // Too many sessions: later there may be room.
    assert_eq!(world.head("own initialize", 503), ["drop own initialize"]);
    assert_eq!(world.wait_for_pause(), ["post own initialize"]);
    let made = world.open("own initialize", "s3", json!("own"));
    assert_eq!(made, ["post notifications/initialized @s3/2025-11-25"]);
}

#[test]
fn an_initialize_that_fails_is_the_clients_to_repeat() {
    let mut world = World::new();
    world.say(initialize(json!({})));
    world.on(Event::Reached);
    assert_eq!(world.cut("initialize#0"), ["start"], "once more does no harm");
    assert_eq!(world.on(Event::Reached), ["post initialize#0"]);
    world.head("initialize#0", 200);
    let error = json!({ "jsonrpc": "2.0", "id": 0, "error": { "code": -32602, "message": "no" } });
    assert_eq!(world.hear("initialize#0", error.clone()), [format!("< {error}")]);
    world.end("initialize#0");
    assert_eq!(world.say(initialize(json!({}))), ["post initialize#0"]);
}

#[test]
fn the_oldest_revision_is_spoken_although_the_router_has_it_under_another_name() {
    let mut world = World::new();
    let mut first = initialize(json!({}));
    first["params"]["protocolVersion"] = "2024-11-05".into();
    world.say(first);
    let effects = world.bridge.step(Event::Reached, world.now);
    assert!(
        format!("{effects:?}").contains(r#"\"protocolVersion\":\"2025-03-26\""#),
        "{effects:?}"
    );
    let crate::connect::bridge::Effect::Post(post) = &effects[0] else {
        panic!("{effects:?}")
    };
    let (number, session) = (post.number, Some("s".to_owned()));
    let status = 200;
    world.on(Event::Head {
        number,
        status,
        session,
    });
    let result = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-03-26","capabilities":{}}}"#;
    assert_eq!(
        world.on(Event::Said(number, result.to_owned())),
        [r#"< {"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2024-11-05","capabilities":{}}}"#]
    );
    assert_eq!(world.say(call(1)), ["post tools/call#1 @s/2025-03-26"]);
    world.head("tools/call#1", 200);
    // Batches are of that revision.
    let batch = format!("[{},{}]", call(2), note("notifications/x", json!({})));
    assert_eq!(world.line(&batch), ["post tools/call#2 @s/2025-03-26"]);
    assert_eq!(world.head("tools/call#2", 200), ["post notifications/x @s/2025-03-26"]);
}
