//! What single endpoints have and which policies they ask: `allow`, `deny` and `pipeline` of `[endpoints.NAME]`.

use serde_json::{Value, json};

use crate::fake::{ERAS, config};
use crate::support::{Agent, Router, until};

const RULES: &str = "
[endpoints.few]
backends = [\"one\", \"two\"]
[endpoints.few.allow]
tools = [\"one__*\", \"say\"]
resources = [\"test://r?\", \"made://yes*\"]
[endpoints.few.deny]
tools = [\"*w*\", \"one__touch\"]
prompts = [\"two__*\"]
resources = [\"test://r3\"]
";

const SAID: &str = r#"{"content":[{"type":"text","text":"the key sk-123456"}],"resultType":"complete"}"#;

async fn at(router: &Router, era: &str, path: &str) -> Agent {
    match era {
        "legacy" => Agent::legacy_at(&router.address, path).await,
        _ => Agent::modern_at(&router.address, path),
    }
}

/// The members named `key` of all items of a list, in order.
async fn listed(agent: &Agent, method: &str, list: &str, key: &str) -> Vec<String> {
    let page = agent.request(method, json!({})).await.body.expect("a page");
    let items = page[list].as_array().expect("a list");
    let mut all: Vec<String> = items
        .iter()
        .map(|i| i[key].as_str().expect("text").to_owned())
        .collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn an_endpoint_has_what_is_allowed_and_not_denied() {
    for era in ERAS {
        let servers = config(&[("one", era, ""), ("two", era, "")]) + RULES;
        let router = Router::start(&servers).await;
        router.ready("one").await;
        router.ready("two").await;
        for agent in ERAS {
            let agent = at(&router, agent, "/mcp/few").await;
            let tools = listed(&agent, "tools/list", "tools", "name").await;
            assert_eq!(tools, ["one__ask", "one__gate", "one__say", "one__tell", "two__say"]);
            assert_eq!(listed(&agent, "prompts/list", "prompts", "name").await, ["one__greet"]);
            let resources = listed(&agent, "resources/list", "resources", "uri").await;
            assert_eq!(resources.first().map(String::as_str), Some("test://r0"));
            assert!(!resources.contains(&"test://r3".to_owned()), "{resources:?}");

            let code = |method: &'static str, params: Value| {
                let agent = &agent;
                async move { agent.request(method, params).await.code() }
            };
            let tool = |name: &str| json!({ "name": name, "arguments": { "raw": SAID } });
            assert_eq!(code("tools/call", tool("two__say")).await, 0);
            // Denied; not allowed; in no list, and neither allowed.
            for name in ["one__touch", "one__wait", "two__ask", "two__secret", "ask"] {
                assert_eq!(code("tools/call", tool(name)).await, -32602, "{name}");
            }
            assert_eq!(code("prompts/get", json!({ "name": "one__greet" })).await, 0);
            assert_eq!(code("prompts/get", json!({ "name": "two__greet" })).await, -32602);
            let complete = |name: &str| json!({ "ref": { "type": "ref/prompt", "name": name }, "argument": { "name": "a", "value": "" } });
            assert_eq!(code("completion/complete", complete("one__greet")).await, 0);
            assert_eq!(code("completion/complete", complete("two__greet")).await, -32602);
        }
        // A template is shown, and what is made by it is asked for by its own URI.
        let legacy = at(&router, "legacy", "/mcp/few").await;
        for (uri, there) in [("made://yes1", true), ("made://no", false), ("test://r3", false)] {
            for method in ["resources/read", "resources/subscribe"] {
                let outcome = legacy.request(method, json!({ "uri": uri })).await;
                // Two servers have each of them: which is meant is the policy's matter.
                let expected = if there { 7009 } else { -32602 };
                assert_eq!(outcome.code(), expected, "{method} {uri}: {outcome:?}");
            }
        }
        let whole = at(&router, "modern", "/mcp").await;
        assert_eq!(
            listed(&whole, "tools/list", "tools", "name").await.len(),
            14,
            "elsewhere no rule is in force"
        );
    }
}

const OWN_POLICIES: &str = "
[plugins.mask]
file = \"@dir/mask.wasm\"
config = { prefixes = [\"sk-\"] }
on-load-failure = \"refuse-start\"
[endpoints.masked]
backends = [\"one\"]
[endpoints.masked.pipeline]
transform-response = [\"mask\"]
";

async fn said(agent: &Agent) -> (i64, String) {
    let tools = agent.tools().await;
    let say = tools
        .into_iter()
        .find(|t| t.ends_with("say"))
        .unwrap_or_else(|| "say".to_owned());
    let outcome = agent.call(&say, json!({ "raw": SAID })).await;
    (outcome.code(), outcome.text().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn an_endpoint_asks_policies_of_its_own_and_is_closed_until_they_are_there() {
    let servers = config(&[("one", "modern", "")]);
    let router = Router::start(&servers).await;
    router.ready("one").await;
    let plain = at(&router, "modern", "/mcp").await;
    let secret = "the key sk-123456".to_owned();
    assert_eq!(said(&plain).await, (0, secret.clone()));

    // What the endpoint is to ask does not load: it is there, and nobody is served without.
    let mask = router.path().join("mask.wasm");
    std::fs::write(&mask, "nothing").unwrap();
    router.configure(&(servers.clone() + OWN_POLICIES));
    until("the refusal", || {
        router.status()["rejected"]["mask"].is_string().then_some(())
    })
    .await;
    for era in ERAS {
        let masked = at(&router, era, "/mcp/masked").await;
        let list = masked.request("tools/list", json!({})).await;
        assert_eq!(list.code(), 7010, "{list:?}");
        let call = masked.call("say", json!({ "raw": SAID })).await;
        assert_eq!(call.code(), 7010, "{call:?}");
        assert_eq!(masked.request("x/unheard-of", json!({})).await.code(), 7010);
    }
    assert_eq!(said(&plain).await, (0, secret.clone()), "the others go on");

    let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist/redact.wasm");
    std::fs::copy(built, router.path().join("next.wasm")).unwrap();
    std::fs::rename(router.path().join("next.wasm"), &mask).unwrap();
    until("the policies", || {
        (router.status()["rejected"] == json!({})).then_some(())
    })
    .await;
    for era in ERAS {
        let masked = at(&router, era, "/mcp/masked").await;
        let (code, text) = said(&masked).await;
        assert!(code == 0 && !text.contains("sk-123456"), "{code} {text}");
        // A backend's own path goes by what /mcp goes by.
        assert_eq!(said(&at(&router, era, "/mcp/one").await).await, (0, secret.clone()));
    }
    assert_eq!(said(&plain).await, (0, secret));
}
