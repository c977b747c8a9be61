//! The bounds that a client can meet, and what the command line can say.

use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::place::{CONFIG, Place};
use crate::shim::{Shim, text};

#[tokio::test]
async fn without_a_router_that_may_be_started_requests_are_held_for_so_long() {
    let place = Place::new(CONFIG);
    let mut shim = Shim::start(&place, true, &["--no-start", "--wait", "1"]);
    let answer = shim.ask("tools/list", json!({})).await;
    assert_eq!(answer["error"]["code"], 7003, "{answer}");
    assert!(
        answer["error"]["data"]["waited_ms"].as_u64().unwrap() >= 1000,
        "{answer}"
    );
    assert!(place.routers().is_empty(), "none was started");
    let (rest, status) = shim.close().await;
    assert!(rest.is_empty() && status.success());
}

#[tokio::test]
async fn a_router_that_hangs_is_given_nothing_and_goes_on_later() {
    let place = Place::new(CONFIG);
    for modern in [false, true] {
        let mut shim = Shim::open(&place, modern, &["--wait", "1"]).await;
        let router = place.routers()[0];
        kill_process(router, Signal::STOP).unwrap();
        let answer = shim.ask_tool("append", json!({ "id": "held" })).await;
        assert_eq!(answer["error"]["code"], 7003, "{answer}");
        assert_eq!(answer["error"]["data"]["delivery"], "not_sent");
        kill_process(router, Signal::CONT).unwrap();
        let answer = shim.ask_tool("append", json!({ "id": "sent" })).await;
        assert_eq!(text(&answer), "appended sent");
        assert!(shim.close().await.1.success());
    }
    assert_eq!(place.lines(), ["sent", "sent"], "what was not sent is not done");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_answered_and_the_next_one_served() {
    let place = Place::new(&format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nmax-body = \"64KiB\"\n{CONFIG}"
    ));
    let mut shim = Shim::open(&place, false, &[]).await;
    for size in [100_000, 2_000_000] {
        let id = shim.call("echo", json!({ "text": "x".repeat(size) })).await;
        let refused = shim.response().await;
        assert_eq!(refused["error"]["code"], -32600, "{refused}");
        // Of one that is out of all proportion not even the id is kept.
        let expected = if size < 1_000_000 { json!(id) } else { json!(null) };
        assert_eq!(refused["id"], expected);
        assert!(
            refused["error"]["message"].as_str().unwrap().contains("max-body"),
            "{refused}"
        );
    }
    let long = "y".repeat(50_000);
    assert_eq!(text(&shim.ask_tool("echo", json!({ "text": long })).await), long);
    for (line, code) in [("{", -32700), ("7", -32600), ("[]", -32600)] {
        shim.line(line).await;
        assert_eq!(shim.response().await["error"]["code"], code, "{line}");
    }
}

#[tokio::test]
async fn an_endpoint_and_headers_can_be_named() {
    let config = format!(
        "{CONFIG}{}",
        CONFIG
            .replace("backends.work", "backends.other")
            .replace("@dir/file", "@dir/file2")
    );
    let place = Place::new(&config);
    let mut both = Shim::open(&place, false, &[]).await;
    let ambiguous = both.ask_tool("echo", json!({ "text": "x" })).await;
    assert_eq!(ambiguous["error"]["code"], -32602, "{ambiguous}");
    assert_eq!(text(&both.ask_tool("work__echo", json!({ "text": "x" })).await), "x");
    let mut one = Shim::open(&place, true, &["--endpoint", "other"]).await;
    one.ask_tool("append", json!({ "id": "there" })).await;
    let there = std::fs::read_to_string(place.path().join("file2")).unwrap();
    assert_eq!(there, "there\n");
    let mut none = Shim::start(&place, true, &["--endpoint", "gone"]);
    let refused = none.ask("tools/list", json!({})).await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no endpoint /mcp/gone"),
        "{refused}"
    );
}

#[tokio::test]
async fn arguments_that_a_schema_wants_in_headers_need_none_here() {
    let place = Place::new(CONFIG);
    // Names that no header can hold pass as well.
    let mut shim = Shim::open(&place, true, &[]).await;
    let answer = shim.ask_tool("smörgås\n", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("nknown tool"),
        "{answer}"
    );
}
