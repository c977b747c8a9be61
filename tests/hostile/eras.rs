//! Agents of both eras in front of servers of both eras.

use serde_json::json;

use super::support::router::demo;
use super::support::{Agent, Era, Router, until};

const ALL: [(Era, &str); 4] = [
    (Era::Legacy, "legacy"),
    (Era::Legacy, "modern"),
    (Era::Modern, "legacy"),
    (Era::Modern, "modern"),
];

async fn router() -> Router {
    let router = Router::start(&format!(
        "{}{}[endpoints.told]\nbackends = [\"legacy\", \"modern\"]\nerrors = \"result\"\n",
        demo("legacy", &["--era", "legacy"], ""),
        demo("modern", &["--era", "modern"], ""),
    ))
    .await;
    for name in ["legacy", "modern"] {
        router.ready(name).await;
        assert_eq!(router.backend(name).await["targets"][0]["era"], name);
    }
    router
}

#[tokio::test]
async fn lists_calls_and_errors_cross_in_all_four_ways() {
    let router = router().await;
    for (era, backend) in ALL {
        let at = format!("{era:?} agent, {backend} server");
        let modern = era == Era::Modern;
        let mut agent = Agent::new(router.address, era, &format!("/mcp/{backend}")).await;
        let list = agent.ask("1", "tools/list", "", "").await;
        let result = &list.response["result"];
        assert!(result["tools"].as_array().unwrap().len() > 10, "{at}: {result}");
        assert_eq!(
            result["resultType"],
            if modern { json!("complete") } else { json!(null) },
            "{at}"
        );
        assert_eq!(result["ttlMs"].is_number(), modern, "{at}");

        let echo = agent.call("\"e\\u0031\"", "echo", r#"{"text":"a\u00e9\n"}"#).await;
        assert_eq!((echo.status, echo.text()), (200, "aé\n"), "{at}");
        assert_eq!(echo.response["result"]["resultType"].is_string(), modern, "{at}");
        let leaks = ["resultType", "ttlMs", "cacheScope"].map(|k| echo.response["result"][k].is_null());
        assert_eq!(leaks, [!modern, true, true], "{at}: {}", echo.response);

        // The tool's own failure is a result, a tool that is not there an error.
        let failed = agent.call("2", "echo", "{}").await;
        assert_eq!(failed.response["result"]["isError"], true, "{at}: {}", failed.response);
        assert_eq!(failed.response["result"]["resultType"].is_string(), modern, "{at}");
        let unknown = agent.call("3", "no_such", "{}").await;
        assert_eq!(
            (unknown.code(), unknown.status),
            (-32602, 200),
            "{at}: {}",
            unknown.response
        );
        let method = agent.ask("4", "no/such", "", "").await;
        assert_eq!(
            (method.code(), method.status),
            (-32601, if modern { 404 } else { 200 }),
            "{at}"
        );

        let progress = agent
            .call_with("5", "progress", r#"{"steps":4,"ms":5}"#, r#""progressToken":"p\u0030""#)
            .await;
        let seen = progress.progress();
        assert_eq!(seen.len(), 4, "{at}: {:?}", progress.notes);
        assert!(seen.iter().all(|p| p.token == "p0" && p.total == Some(4.0)), "{at}");
        assert!(seen.windows(2).all(|w| w[0].value < w[1].value), "{at}");
        assert!(progress.response["result"].is_object(), "{at}");
    }
    router.is_quiet().await;
    router.is_sound().await;
}

#[tokio::test]
async fn log_levels_are_respected_in_all_four_ways() {
    let router = router().await;
    for (era, backend) in ALL {
        let at = format!("{era:?} agent, {backend} server");
        let path = format!("/mcp/{backend}");
        for (wanted, logged, heard) in [
            ("debug", "debug", true),
            ("warning", "info", false),
            ("warning", "warning", true),
            ("warning", "emergency", true),
        ] {
            let mut agent = Agent::new(router.address, era, &path).await;
            let mut meta = "\"progressToken\":1".to_owned();
            if era == Era::Legacy {
                let set = agent
                    .ask("1", "logging/setLevel", &format!("\"level\":\"{wanted}\""), "")
                    .await;
                assert_eq!(set.response["result"], json!({}), "{at}");
            } else {
                meta += &format!(",\"io.modelcontextprotocol/logLevel\":\"{wanted}\"");
            }
            let arguments = format!("{{\"level\":\"{logged}\",\"text\":\"x\"}}");
            let call = agent.call_with("2", "log", &arguments, &meta).await;
            let seen = call.logged();
            assert_eq!(
                !seen.is_empty(),
                heard,
                "{at}: {wanted}/{logged}: {:?} {}",
                seen,
                call.response
            );
            assert!(seen.iter().all(|l| l["level"] == logged && l["data"] == "x"), "{at}");
        }
        // Who never asked: a modern agent hears nothing.
        let mut silent = Agent::new(router.address, era, &path).await;
        let call = silent
            .call_with("3", "log", r#"{"level":"error","text":"x"}"#, "\"progressToken\":1")
            .await;
        if era == Era::Modern {
            assert!(call.logged().is_empty(), "{at}: {:?}", call.notes);
        }
        let wrong = match era {
            Era::Legacy => silent.ask("4", "logging/setLevel", "\"level\":\"loud\"", "").await,
            Era::Modern => {
                silent
                    .call_with(
                        "4",
                        "echo",
                        r#"{"text":""}"#,
                        "\"io.modelcontextprotocol/logLevel\":\"loud\"",
                    )
                    .await
            }
        };
        assert_eq!(wrong.code(), -32602, "{at}: {}", wrong.response);
    }
}

#[tokio::test]
async fn a_cancelled_call_ends_at_the_server_in_all_four_ways() {
    let router = router().await;
    for (era, backend) in ALL {
        let at = format!("{era:?} agent, {backend} server");
        let mut agent = Agent::new(router.address, era, &format!("/mcp/{backend}")).await;
        let mut call = agent
            .begin("\"h\"", "tools/call", "\"name\":\"hang\",\"arguments\":{}", "")
            .await;
        router
            .until(&format!("{at}: it is in flight"), |s| {
                s["backends"].as_array().unwrap().iter().any(|b| b["in_flight"] == 1)
            })
            .await;
        match era {
            Era::Modern => drop(call),
            Era::Legacy => {
                // The same id in another spelling, then the answer says what became of it.
                agent
                    .notify("notifications/cancelled", "\"requestId\":\"\\u0068\"")
                    .await;
                let reply = call.reply().await.unwrap().json();
                assert_eq!(
                    (&reply["error"]["code"], &reply["id"]),
                    (&json!(7011), &json!("h")),
                    "{at}"
                );
            }
        }
        router.is_quiet().await;
        assert_eq!(
            agent.call("\"h\"", "echo", r#"{"text":"on"}"#).await.text(),
            "on",
            "{at}"
        );
    }
}

#[tokio::test]
async fn changed_lists_are_told_in_all_four_ways() {
    let router = router().await;
    for (era, backend) in ALL {
        let at = format!("{era:?} agent, {backend} server");
        let path = format!("/mcp/{backend}");
        let mut agent = Agent::new(router.address, era, &path).await;
        agent.tools().await;
        let mut stream = agent.listen().await;
        let tag = json!({ "io.modelcontextprotocol/subscriptionId": "sub" });
        if era == Era::Modern {
            let first = stream.next().await.unwrap();
            assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{at}");
            assert_eq!(first["params"]["_meta"], tag, "{at}");
        }
        let name = format!("new_{era:?}");
        let added = agent.call("1", "add_tool", &format!("{{\"name\":\"{name}\"}}")).await;
        assert_eq!(added.text(), format!("added {name}"), "{at}");
        let told = stream.next().await.unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{at}");
        if era == Era::Modern {
            assert_eq!(told["params"]["_meta"], tag, "{at}");
        }
        assert!(agent.tools().await.contains(&name), "{at}");
        assert_eq!(agent.call("2", &name, r#"{"text":"t"}"#).await.text(), "t", "{at}");
        agent
            .call("3", "remove_tool", &format!("{{\"name\":\"{name}\"}}"))
            .await;
        let told = stream.next().await.unwrap();
        assert_eq!(told["method"], "notifications/tools/list_changed", "{at}");
        assert!(!agent.tools().await.contains(&name), "{at}");
    }
}

#[tokio::test]
async fn where_errors_are_results_a_model_reads_them_in_its_era() {
    let router = router().await;
    for (era, backend) in ALL {
        let at = format!("{era:?} agent, {backend} server");
        let mut agent = Agent::new(router.address, era, "/mcp/told").await;
        until("the endpoint has both lists", || async {
            let mut agent = Agent::new(router.address, era, "/mcp/told").await;
            let tools = agent.tools().await;
            (tools.contains(&"legacy__crash".into()) && tools.contains(&"modern__crash".into())).then_some(())
        })
        .await;
        let before = router.backend(backend).await["targets"][0]["incarnation"].clone();
        let call = agent.call("1", &format!("{backend}__crash"), "{}").await;
        let result = &call.response["result"];
        assert_eq!(
            (call.status, &result["isError"]),
            (200, &json!(true)),
            "{at}: {}",
            call.response
        );
        assert!(call.text().contains("may or may not have run"), "{at}: {}", call.text());
        assert_eq!(result["resultType"].is_string(), era == Era::Modern, "{at}");
        // What is no tool call keeps its error.
        assert_eq!(agent.ask("2", "no/such", "", "").await.code(), -32601, "{at}");
        let echo = agent.call("3", &format!("{backend}__echo"), r#"{"text":"back"}"#).await;
        assert_eq!(echo.text(), "back", "{at}: {}", echo.response);
        assert_ne!(
            router.backend(backend).await["targets"][0]["incarnation"],
            before,
            "{at}"
        );
    }
}
