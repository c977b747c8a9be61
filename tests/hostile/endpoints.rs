//! Endpoints that come, change and go under the agents that use them.

use super::support::router::demo;
use super::support::{Agent, Era, Router, until};

fn backends() -> String {
    format!("{}{}", demo("a", &["--extra-tool", "only_a"], ""), demo("b", &[], ""))
}

async fn lists(router: &Router, path: &str, wanted: &str) -> Vec<String> {
    until(&format!("{path} lists {wanted}"), || async {
        let mut agent = Agent::new(router.address, Era::Modern, path).await;
        let tools = agent.tools().await;
        tools.contains(&wanted.to_owned()).then_some(tools)
    })
    .await
}

#[tokio::test]
async fn names_are_plain_or_prefixed_as_the_endpoint_says() {
    let router = Router::start(&format!(
        "{}[endpoints.plain]\nbackends = [\"a\", \"b\"]\nnames = \"plain\"\n[endpoints.group]\nbackends = [\"a\", \"b\"]\n[endpoints.single]\nbackends = [\"a\"]\n",
        backends()
    ))
    .await;
    router.ready("a").await;
    router.ready("b").await;
    for (path, here, elsewhere) in [
        ("/mcp", "a__only_a", "only_a"),
        ("/mcp/group", "a__only_a", "only_a"),
        ("/mcp/plain", "only_a", "a__only_a"),
        ("/mcp/single", "only_a", "a__only_a"),
        ("/mcp/a", "only_a", "a__only_a"),
    ] {
        let tools = lists(&router, path, here).await;
        assert!(!tools.contains(&elsewhere.to_owned()), "{path}: {tools:?}");
        for era in [Era::Legacy, Era::Modern] {
            let mut agent = Agent::new(router.address, era, path).await;
            assert_eq!(agent.call("1", here, r#"{"text":"x"}"#).await.text(), "x", "{path}");
            let wrong = agent.call("2", elsewhere, r#"{"text":"x"}"#).await;
            assert_eq!(wrong.code(), -32602, "{path}: {}", wrong.response);
        }
    }
    // Two offer it, nobody chose: the same name under both.
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp/plain").await;
    let call = agent.call("3", "echo", r#"{"text":"x"}"#).await;
    assert_eq!(call.code(), 7009, "{}", call.response);
    agent.headers.push(("x-pointsman-backend".into(), "b".into()));
    assert_eq!(agent.call("4", "echo", r#"{"text":"x"}"#).await.text(), "x");
    let mut lost = Agent::new(router.address, Era::Modern, "/mcp/nowhere").await;
    let call = lost.call("1", "echo", "{}").await;
    assert_eq!((call.status, call.code()), (404, -32600), "{}", call.response);
    router.is_sound().await;
}

#[tokio::test]
async fn a_removed_endpoint_ends_its_streams_and_its_sessions_go_on_when_it_is_back() {
    let with = format!("{}[endpoints.e]\nbackends = [\"a\"]\n", backends());
    let router = Router::start(&with).await;
    router.ready("a").await;
    router.ready("b").await;
    for round in 0..2 {
        let mut agents = Vec::new();
        for (era, path) in [
            (Era::Legacy, "/mcp/e"),
            (Era::Modern, "/mcp/e"),
            (Era::Legacy, "/mcp/b"),
            (Era::Modern, "/mcp/b"),
        ] {
            let mut agent = Agent::new(router.address, era, path).await;
            agent.tools().await;
            let mut stream = agent.listen().await;
            if era == Era::Modern {
                assert!(stream.next().await.is_some());
            }
            agents.push((agent, stream));
        }
        let mut all = Agent::new(router.address, Era::Legacy, "/mcp").await;
        let mut still = all.listen().await;
        // Both the group and a backend's own path go.
        router.apply(&demo("a", &["--extra-tool", "only_a"], "")).await;
        for (agent, stream) in &mut agents {
            let at = format!("round {round}: {:?} at {}", agent.era, agent.path);
            while let Some(last) = stream.next().await {
                let id = &last["id"];
                assert!(id.is_null() || id == "sub", "{at}: {last}");
            }
            let call = agent.call("1", "echo", r#"{"text":"x"}"#).await;
            assert_eq!(call.status, 404, "{at}: {}", call.response);
        }
        // The endpoint that stays says that its list changed, and goes on.
        let told = still.next().await.unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "round {round}");
        assert_eq!(
            all.call("2", "echo", r#"{"text":"x"}"#).await.text(),
            "x",
            "round {round}"
        );
        router.apply(&with).await;
        router.ready("b").await;
        for (agent, _) in &mut agents {
            let at = format!("round {round}: {:?} at {}", agent.era, agent.path);
            let call = agent.call("3", "echo", r#"{"text":"back"}"#).await;
            assert_eq!(call.text(), "back", "{at}: {}", call.response);
            if agent.era == Era::Legacy {
                // Whoever was away is told to look again, and hears of later changes.
                let mut stream = agent.listen().await;
                let told = stream.next().await.unwrap();
                assert_eq!(told["method"], "notifications/tools/list_changed", "{at}");
                agent.tools().await;
                agent.call("4", "add_tool", &format!("{{\"name\":\"n{round}\"}}")).await;
                let told = stream.next().await.unwrap();
                assert_eq!(told["method"], "notifications/tools/list_changed", "{at}");
            }
        }
    }
    router.is_quiet().await;
    router.is_sound().await;
}
