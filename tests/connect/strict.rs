//! Every line that a client gets, in its order, and nothing else.

use serde_json::{Value, json};

use crate::place::{CONFIG, Place};
use crate::shim::{Shim, text};
use crate::support::{Agent, Switch, until_async};

/// A server that is not ready before a switch is on.
const SWITCHED: &str = "[backends.work]\ncommand = \"/bin/sh\"\nargs = [\"@dir/work.sh\"]\n";

/// A ping, or what stands for it, whose answer must be what comes next: nothing came unasked.
async fn nothing_more(shim: &mut Shim, modern: bool) {
    let method = if modern { "server/discover" } else { "ping" };
    let id = shim.send(method, json!({})).await;
    let next = shim.heard().await;
    assert_eq!(next["id"], id, "{next} was not asked for");
    assert!(next["result"].is_object(), "{next}");
}

/// An agent over TCP, which changes what the shim's client sees.
async fn other(place: &Place) -> Agent {
    let status = place.status().await;
    Agent::modern(status["address"].as_str().unwrap())
}

/// Waits until the server is ready, and its tools are known.
async fn ready(place: &Place) {
    until_async("the server", async || {
        let status = place.status().await;
        (status["backends"][0]["targets"][0]["state"] == "ready").then_some(())
    })
    .await;
}

fn methods(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|m| m["method"].as_str().unwrap_or("-")).collect()
}

#[tokio::test]
async fn a_legacy_client_hears_what_it_was_promised() {
    let mut place = Place::new(SWITCHED);
    let switch = Switch::new(place.path(), "work", "");
    place.run().await;
    ready(&place).await;
    let mut shim = Shim::start(&place, false, &[]);
    let params =
        json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "c", "version": "1" } });
    let id = shim.send("initialize", params).await;
    let opened = shim.heard().await;
    assert_eq!(
        (&opened["id"], &opened["result"]["protocolVersion"]),
        (&json!(id), &json!("2025-06-18"))
    );
    // Not initialized: whatever happens, it hears nothing.
    let other = other(&place).await;
    assert!(other.call("add_tool", json!({ "name": "new" })).await.text().is_some());
    nothing_more(&mut shim, false).await;
    shim.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))
        .await;
    // Now it hears of what changed since it was told of the session.
    assert_eq!(methods(&[shim.heard().await]), ["notifications/tools/list_changed"]);
    nothing_more(&mut shim, false).await;
    let list = shim.send("tools/list", json!({})).await;
    assert_eq!(shim.heard().await["id"], list);
    nothing_more(&mut shim, false).await;

    // Progress before its result, in its order, and no word after that.
    let params =
        json!({ "name": "progress", "arguments": { "steps": 3, "ms": 10 }, "_meta": { "progressToken": "p" } });
    let call = shim.send("tools/call", params).await;
    for step in 1..=3 {
        let note = shim.heard().await;
        assert_eq!(
            (&note["params"]["progressToken"], &note["params"]["progress"]),
            (&json!("p"), &json!(step))
        );
    }
    assert_eq!(shim.heard().await["id"], call);
    nothing_more(&mut shim, false).await;

    // One change is told once; a restart of the router may have changed the list, and is told once.
    assert!(
        other
            .call("remove_tool", json!({ "name": "new" }))
            .await
            .text()
            .is_some()
    );
    assert_eq!(methods(&[shim.heard().await]), ["notifications/tools/list_changed"]);
    nothing_more(&mut shim, false).await;
    // The server there has no tools yet: that they come is another change.
    switch.off();
    place.kill().await;
    let ping = shim.send("ping", json!({})).await;
    let heard = [shim.heard().await, shim.heard().await];
    assert_eq!(methods(&heard), ["notifications/tools/list_changed", "-"], "{heard:?}");
    assert_eq!(heard[1]["id"], ping);
    nothing_more(&mut shim, false).await;
    switch.on();
    assert_eq!(methods(&[shim.heard().await]), ["notifications/tools/list_changed"]);
    nothing_more(&mut shim, false).await;

    let (rest, status) = shim.close().await;
    assert_eq!((rest.len(), status.code()), (0, Some(0)), "{rest:?}");
}

#[tokio::test]
async fn a_modern_client_hears_nothing_unless_it_listens() {
    let mut place = Place::new(SWITCHED);
    let switch = Switch::new(place.path(), "work", "");
    let mut shim = Shim::open(&place, true, &[]).await;
    let agent = other(&place).await;
    assert!(agent.call("add_tool", json!({ "name": "new" })).await.text().is_some());
    nothing_more(&mut shim, true).await;
    place.kill().await;
    nothing_more(&mut shim, true).await;
    ready(&place).await;

    let listen = shim
        .send(
            "subscriptions/listen",
            json!({ "notifications": { "toolsListChanged": true } }),
        )
        .await;
    let tag = |note: &Value| note["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"].clone();
    let acknowledged = shim.heard().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(tag(&acknowledged), listen);
    let agent = other(&place).await;
    assert!(agent.call("add_tool", json!({ "name": "new" })).await.text().is_some());
    let changed = shim.heard().await;
    assert_eq!(
        (changed["method"].as_str(), tag(&changed)),
        (Some("notifications/tools/list_changed"), json!(listen))
    );
    // It is listened to again without another word of acknowledgement; the list may have changed, and then its tools
    // come.
    switch.off();
    place.kill().await;
    for on in [false, true] {
        if on {
            switch.on();
        }
        let heard = shim.heard().await;
        assert_eq!(
            (heard["method"].as_str(), tag(&heard)),
            (Some("notifications/tools/list_changed"), json!(listen))
        );
        nothing_more(&mut shim, true).await;
    }
    // Taken back, it is silent, and what changes is not told.
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": listen } });
    shim.say(&cancel).await;
    nothing_more(&mut shim, true).await;
    let agent = other(&place).await;
    assert!(
        agent
            .call("add_tool", json!({ "name": "newer" }))
            .await
            .text()
            .is_some()
    );
    nothing_more(&mut shim, true).await;

    // A call that is cancelled is not answered.
    let hang = shim.call("hang", json!({})).await;
    shim.say(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": hang } }))
        .await;
    nothing_more(&mut shim, true).await;
    let call = shim.call("echo", json!({ "text": "x" })).await;
    let heard = shim.heard().await;
    assert_eq!((&heard["id"], text(&heard)), (&json!(call), "x"));
    let (rest, status) = shim.close().await;
    assert_eq!((rest.len(), status.code()), (0, Some(0)), "{rest:?}");
}

#[tokio::test]
async fn calls_that_are_sent_without_waiting_keep_their_order() {
    let mut place = Place::new(CONFIG);
    place.run().await;
    ready(&place).await;
    for modern in [false, true] {
        let mut shim = Shim::open(&place, modern, &[]).await;
        let ids: Vec<String> = (0..100).map(|n| format!("{modern}-{n}")).collect();
        let mut calls = Vec::new();
        for id in &ids {
            calls.push(shim.call("append", json!({ "id": id })).await);
        }
        let mut answered = 0;
        while answered < calls.len() {
            assert!(shim.heard().await["result"].is_object());
            answered += 1;
        }
        let lines: Vec<String> = place
            .lines()
            .into_iter()
            .filter(|l| l.starts_with(&modern.to_string()))
            .collect();
        assert_eq!(lines, ids);
        // A request and its cancellation in one breath: whichever way it ends, no answer comes.
        for _ in 0..20 {
            let hang = shim.call("hang", json!({})).await;
            shim.say(
                &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": hang } }),
            )
            .await;
        }
        nothing_more(&mut shim, modern).await;
        // One that had overtaken its request would have left it there for ever.
        until_async("the cancelled calls to be gone", async || {
            let status = place.status().await;
            (status["backends"][0]["targets"][0]["in_flight"] == 0).then_some(())
        })
        .await;
    }
}
