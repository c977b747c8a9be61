//! A component that traps whenever it is asked: what that does to a call is its `on-fault`, or what its hook is for,
//! before its breaker opens and after. And a component that was switched off comes back by itself.

use serde_json::Value;

use super::support::router::demo;
use super::support::{Agent, Called, Era, Router, guest, until};

const THROUGH: &str = r#"{"text":"through"}"#;

/// The guest on one hook alone, with these orders for whatever it is asked.
fn toml(hook: &str, orders: &str, on_fault: Option<&str>) -> String {
    let on_fault = on_fault
        .map(|word| format!("on-fault = \"{word}\"\n"))
        .unwrap_or_default();
    format!(
        "{}[plugins.p]\nfile = {:?}\nconfig = {{ do = \"{orders}\" }}\nwall = \"5s\"\ncpu = \"200ms\"\n{on_fault}\
         [pipeline]\n{hook} = [\"p\"]\n[policies]\nbreaker = 2\ncache = {:?}\n",
        demo("one", &[], "stable-after = \"0s\""),
        guest("guest-a.wasm"),
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache"),
    )
}

fn plugin(status: &Value) -> &Value {
    let plugins = status["plugins"].as_array().unwrap();
    plugins.iter().find(|p| p["name"] == "p").unwrap()
}

/// Asks so often that the breaker opens in between; every answer must be like the first.
async fn always(router: &Router, agent: &mut Agent, check: impl AsyncFn(&mut Agent)) {
    for _ in 0..6 {
        check(agent).await;
    }
    let status = router.status().await;
    assert!(plugin(&status)["faults"].as_u64() >= Some(2), "{status}");
    assert_ne!(plugin(&status)["breaker"], "closed", "{status}");
}

fn goes_through(call: &Called) {
    assert_eq!(call.text(), "through", "{}", call.response);
}

fn fails(call: &Called, delivery: &str) {
    assert_eq!(call.code(), 7010, "{}", call.response);
    assert_eq!(
        call.response["error"]["data"]["delivery"], delivery,
        "{}",
        call.response
    );
}

/// `None` stands for no word about it in the configuration.
const WORDS: [Option<&str>; 3] = [None, Some("closed"), Some("open")];

#[tokio::test]
async fn a_trap_in_every_call_ends_as_on_fault_says_for_hooks_on_a_calls_way() {
    for (hook, by_default, delivery) in [
        ("route", "closed", "not_sent"),
        ("select", "open", "not_sent"),
        ("transform-request", "closed", "not_sent"),
        ("transform-response", "closed", "unknown"),
    ] {
        for word in WORDS {
            let router = Router::start(&toml(hook, "panic", word)).await;
            router.ready("one").await;
            let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
            let closed = word.unwrap_or(by_default) == "closed";
            always(&router, &mut agent, async |agent| {
                let call = agent.call("1", "echo", THROUGH).await;
                match closed {
                    true => fails(&call, delivery),
                    false => goes_through(&call),
                }
            })
            .await;
            println!(
                "{hook}, on-fault {}: {}",
                word.unwrap_or("not set"),
                if closed { "7010" } else { "passed by" }
            );
            router.is_quiet().await;
            router.is_sound().await;
        }
    }
}

#[tokio::test]
async fn a_trap_over_every_list_ends_as_on_fault_says() {
    for word in WORDS {
        let router = Router::start(&toml("transform-list", "panic", word)).await;
        router.ready("one").await;
        let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
        let list = agent.ask("1", "tools/list", "", "").await;
        match word {
            Some("open") => {
                let tools = list.response["result"]["tools"].as_array().unwrap();
                assert!(tools.iter().any(|tool| tool["name"] == "echo"), "{}", list.response);
                goes_through(&agent.call("2", "echo", THROUGH).await);
            }
            // There is no list before this one to go on with.
            _ => assert_eq!(list.code(), 7010, "{}", list.response),
        }
        assert!(plugin(&router.status().await)["faults"].as_u64() >= Some(1));
        router.is_sound().await;
    }
}

#[tokio::test]
async fn a_trap_over_every_call_in_trouble_ends_as_on_fault_says() {
    for word in WORDS {
        let router = Router::start(&toml("settle", "panic", word)).await;
        router.ready("one").await;
        let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
        always(&router, &mut agent, async |agent| {
            let before = router.ready("one").await;
            let call = agent.call("1", "crash", "{}").await;
            match word {
                Some("closed") => fails(&call, "unknown"),
                // As without any policy: nobody knows whether it ran.
                _ => assert_eq!(call.code(), 7004, "{}", call.response),
            }
            // A call before that would be held, which is trouble of another kind.
            until("there is another process", || async {
                (router.ready("one").await != before).then_some(())
            })
            .await;
        })
        .await;
        goes_through(&agent.call("2", "echo", THROUGH).await);
        router.is_sound().await;
    }
}

#[tokio::test]
async fn a_trap_over_all_events_harms_no_call() {
    for word in WORDS {
        let router = Router::start(&toml("observe", "panic", word)).await;
        router.ready("one").await;
        let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
        // It hears of calls a moment later, some at a time.
        until("it is switched off", || async {
            let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
            goes_through(&agent.call("1", "echo", THROUGH).await);
            let status = router.status().await;
            (plugin(&status)["breaker"] != "closed").then_some(())
        })
        .await;
        goes_through(&agent.call("2", "echo", THROUGH).await);
        router.is_sound().await;
    }
}

/// Two calls order a trap; then the plugin is off, and nothing that anybody does brings it back but time.
#[tokio::test]
async fn a_plugin_that_was_switched_off_comes_back_by_itself() {
    for hook in ["route", "select", "transform-request", "transform-response"] {
        let router = Router::start(&toml(hook, "next", Some("closed"))).await;
        router.ready("one").await;
        let generation = router.status().await["generation"].clone();
        let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
        goes_through(&agent.call("1", "echo", THROUGH).await);
        for _ in 0..2 {
            let call = agent.call_with("2", "echo", THROUGH, r#""test":{"do":"panic"}"#).await;
            assert_eq!(call.code(), 7010, "{}", call.response);
        }
        let call = agent.call("3", "echo", THROUGH).await;
        assert_eq!(call.code(), 7010, "{}", call.response);
        let words = call.response["error"]["message"].as_str().unwrap();
        assert!(words.contains("switched off for another"), "{words}");
        assert_eq!(plugin(&router.status().await)["breaker"], "off");
        until("it answers again", || async {
            let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
            (agent.call("4", "echo", THROUGH).await.text() == "through").then_some(())
        })
        .await;
        let status = router.status().await;
        assert_eq!(plugin(&status)["breaker"], "closed", "{status}");
        assert_eq!(plugin(&status)["faults"], 2, "{status}");
        assert_eq!(status["generation"], generation, "nobody reloaded anything");
        router.is_sound().await;
    }
}
