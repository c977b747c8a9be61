//! Batches, and keys that stand twice: where two readers could take one request for two things.

use serde_json::{Value, json};

use super::requests::{error, router, sound};
use super::support::client::MODERN;
use super::support::router::demo;
use super::support::{Agent, Era, Router};

#[tokio::test]
async fn batches_belong_to_one_version() {
    let router = router().await;
    let call = |id: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"echo\",\"arguments\":{{\"text\":\"t\"}}}}}}"
        )
    };
    let mixed = format!(
        "[{},7,{{}},{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}},{},{{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{{}}}},{{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"ping\"}},{},[{}],{{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"initialize\",\"params\":{{}}}}]",
        call("1"),
        call("\"two\""),
        call("1"),
        call("5")
    );
    for version in ["2025-06-18", "2025-11-25"] {
        let mut agent = Agent::legacy(router.address, "/mcp", version).await;
        assert_eq!(
            error(&agent.raw(&[], mixed.as_bytes()).await),
            (400, -32600),
            "{version}"
        );
    }
    let mut modern = Agent::new(router.address, Era::Modern, "/mcp").await;
    let refused = modern.raw(&[("mcp-protocol-version", MODERN)], mixed.as_bytes()).await;
    assert_eq!(error(&refused), (400, -32600));
    let words = String::from_utf8_lossy(&refused.body);
    assert!(words.contains("2025-03-26 alone"), "{words}");
    let mut agent = Agent::legacy(router.address, "/mcp", "2025-03-26").await;
    let reply = agent.raw(&[], mixed.as_bytes()).await;
    let answers: Vec<Value> = serde_json::from_value(reply.json()).unwrap();
    let codes: Vec<(Value, i64)> = answers
        .iter()
        .map(|a| (a["id"].clone(), a["error"]["code"].as_i64().unwrap_or(0)))
        .collect();
    println!("{codes:?}");
    let none = Value::Null;
    assert_eq!(
        codes,
        [
            (json!(1), 0),
            (none.clone(), -32600),
            (none.clone(), -32600),
            (json!("two"), 0),
            (json!(3), 0),
            (json!(1), -32602),
            (none, -32600),
            (json!(4), -32601),
        ]
    );
    let quiet = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":1,"result":{}}]"#;
    assert_eq!(agent.raw(&[], quiet.as_bytes()).await.status, 202);
    for (body, code) in [
        ("[]".to_owned(), -32600),
        ("[1".to_owned(), -32700),
        (format!("[{}1]", "1,".repeat(1000)), -32600),
    ] {
        assert_eq!(error(&agent.raw(&[], body.as_bytes()).await), (400, code), "{body:.20}");
    }
    let many: Vec<String> = (0..200).map(|n| call(&n.to_string())).collect();
    let answers: Vec<Value> =
        serde_json::from_value(agent.raw(&[], format!("[{}]", many.join(",")).as_bytes()).await.json()).unwrap();
    assert!(
        answers.len() == 200
            && answers
                .iter()
                .enumerate()
                .all(|(n, a)| a["id"] == n && (a["result"].is_object() || a["error"]["code"] == 7002))
    );
    sound(&router).await;
}

/// What an agent says of itself is kept as long as its session.
#[tokio::test]
async fn an_introduction_has_a_limit() {
    let router = router().await;
    let mut agent = Agent::legacy(router.address, "/mcp", "2025-11-25").await;
    for (length, code) in [(60_000, None), (70_000, Some(-32602))] {
        let name = "n".repeat(length);
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": name, "version": "1" } } });
        let reply = agent.raw(&[], body.to_string().as_bytes()).await;
        let reply: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(reply["error"]["code"].as_i64(), code, "{length}: {reply}");
    }
    sound(&router).await;
}

#[tokio::test]
async fn duplicate_keys_matter_where_a_policy_reads_them() {
    let redact =
        "[plugins.redact]\nembedded = \"redact\"\nconfig = { prefixes = [\"hush\"] }\nwall = \"5s\"\ncpu = \"1s\"\n";
    for reads in [false, true] {
        let hooks = if reads {
            "transform-request = [\"redact\"]\ntransform-response = [\"redact\"]\n"
        } else {
            ""
        };
        let plugin = if reads { redact } else { "" };
        let router = Router::start(&format!("{}{plugin}[pipeline]\n{hooks}", demo("one", &[], ""))).await;
        router.ready("one").await;
        for era in [Era::Legacy, Era::Modern] {
            let mut agent = Agent::new(router.address, era, "/mcp").await;
            let call = agent
                .call("1", "echo", r#"{"text":"a hush","other":{"k":1,"k":2}}"#)
                .await;
            println!("reads {reads}, {era:?}: {}", call.response);
            if reads {
                assert_eq!(call.code(), -32602, "{}", call.response);
            } else {
                assert_eq!(call.text(), "a hush");
            }
            let clean = agent.call("2", "echo", r#"{"text":"a hush"}"#).await;
            assert_eq!(clean.text().contains("hush"), !reads, "{}", clean.response);
        }
        sound(&router).await;
    }
}
