//! A child that breaks the protocol: its callers get an answer or a typed error, and the router goes on.

use serde_json::{Value, json};

use super::support::router::{demo, script};
use super::support::{Agent, Called, Era, Router};

const TOOLS: &str = "junk,twice,strangers,bad_utf8,deep,both,neither,duplicate,no_version,no_object,odd_error,huge,mid_line,closed,asks,floods";

async fn router() -> Router {
    let fast = "backoff = { min = \"1ms\", base = \"1ms\", max = \"1ms\" }\ncrash-loop = { deaths = 100 }\nera = \"legacy\"\nstop = { drain = \"0s\", eof = \"0s\", term = \"0s\" }";
    let router = Router::start(&format!(
        "{}{}",
        script("liar", "liar.py", &[TOOLS], fast),
        demo("honest", &[], "")
    ))
    .await;
    router.ready("liar").await;
    router.ready("honest").await;
    router
}

/// Calls a tool of the liar in both eras, and an honest server after each.
async fn both(router: &Router, tool: &str, check: impl Fn(&Called)) {
    for era in [Era::Legacy, Era::Modern] {
        let mut agent = Agent::new(router.address, era, "/mcp/liar").await;
        let call = agent.call_with("1", tool, "{}", "\"progressToken\":1").await;
        println!("{tool}, {era:?}: {:.160}", call.response.to_string());
        assert_eq!((call.status, &call.response["id"]), (200, &json!(1)), "{tool}");
        check(&call);
        let mut other = Agent::new(router.address, era, "/mcp/honest").await;
        assert_eq!(other.call("1", "echo", r#"{"text":"x"}"#).await.text(), "x");
    }
}

#[tokio::test]
async fn noise_around_an_answer_does_not_touch_it() {
    let router = router().await;
    let pid = router.ready("liar").await;
    for tool in ["junk", "twice", "strangers", "floods"] {
        both(&router, tool, |call| {
            assert_eq!(call.text(), tool);
            assert!(call.progress().is_empty(), "{:?}", call.notes);
        })
        .await;
    }
    assert_eq!(router.ready("liar").await, pid, "noise is no reason to restart it");
    assert!(router.backend("liar").await["targets"][0]["junk"].as_u64() > Some(4));
    both(&router, "asks", |call| {
        let said: Vec<Value> = serde_json::from_str(call.text()).unwrap();
        assert_eq!(said[0], json!(["p", {}, null]));
        assert_eq!((&said[1][2], &said[2][2]), (&json!(-32601), &json!(-32601)));
    })
    .await;
    router.is_quiet().await;
    router.is_sound().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_fails_its_call_and_no_other() {
    let router = router().await;
    let pid = router.ready("liar").await;
    for tool in [
        "bad_utf8",
        "deep",
        "both",
        "neither",
        "duplicate",
        "no_version",
        "no_object",
        "odd_error",
    ] {
        both(&router, tool, |call| {
            assert_eq!(call.code(), 7004, "{tool}: {}", call.response);
            assert_eq!(call.response["error"]["data"]["delivery"], "unknown");
        })
        .await;
    }
    assert_eq!(router.ready("liar").await, pid);
    router.is_quiet().await;
    router.is_sound().await;
}

#[tokio::test]
async fn a_line_without_end_a_half_one_and_a_closed_output_are_a_death() {
    let router = router().await;
    for tool in ["huge", "mid_line", "closed"] {
        both(&router, tool, |call| {
            assert_eq!(call.code(), 7004, "{tool}: {}", call.response);
        })
        .await;
    }
    both(&router, "twice", |call| assert_eq!(call.text(), "twice")).await;
    println!("peak {} kB", router.kilobytes("VmHWM"));
    assert!(router.kilobytes("VmHWM") < 300_000);
    router.is_quiet().await;
    router.is_sound().await;
}
