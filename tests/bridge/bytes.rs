//! What the router has no business with keeps its bytes, in both directions and through both eras.

use serde_json::{Value, json};

use crate::fake::{ERAS, agent, router};
use crate::support::http::Http;
use crate::support::{Agent, in_time};

/// Numbers, spaces, escapes, keys and depths that a parser might write otherwise.
const ODD: &str = r#"{"n":[1.0,1e3,-0,18446744073709551616,0.1000],"s":"\u00e9\/é\ud83d\ude82","k": { "b":1, "a" : [ ] },"":null,"deep":[[[[{"x":{}}]]]]}"#;

/// Posts text as it is and returns the text of the answer.
async fn posted(address: &str, session: Option<&str>, name: &str, body: &str) -> String {
    let mut http = Http::connect(address).await;
    let mut headers = vec![("accept", "application/json")];
    match session {
        Some(session) => headers.push(("mcp-session-id", session)),
        None => headers.extend([
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", name),
        ]),
    }
    http.send("POST", "/mcp", &headers, body).await;
    in_time("an answer", http.head()).await.expect("a head");
    http.body().await.expect("a body")
}

#[tokio::test]
async fn arguments_results_and_unknown_fields_pass_as_they_were_written() {
    for server in ERAS {
        let router = router(server, "").await;
        let legacy = Agent::legacy(&router.address).await;
        for era in ERAS {
            let result = format!(
                r#"{{"resultType":"complete","content":[{{"type":"text","text":"t","odd":{ODD}}}],"structuredContent":{ODD},"vendor":{ODD},"_meta":{{"v/k":{ODD}}}}}"#
            );
            let meta = match era {
                "modern" => {
                    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"#
                }
                _ => "",
            };
            let raw = Value::from(result.as_str());
            let arguments = format!(r#"{{"raw":{raw},"odd":{ODD}}}"#);
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":"i\u0064","method":"tools/call","params":{{"name":"say","arguments":{arguments},"vendor":{ODD},"_meta":{{{meta}"traceparent":"00-1","v/k":{ODD}}}}}}}"#
            );
            let session = (era == "legacy").then(|| legacy.session().to_owned());
            let answer = posted(&router.address, session.as_deref(), "say", &body).await;
            let at = format!("{era} agent, {server} server");
            assert!(
                answer.starts_with(r#"{"jsonrpc":"2.0","id":"i\u0064","result":"#),
                "{at}: {answer}"
            );
            for kept in [
                format!(r#""content":[{{"type":"text","text":"t","odd":{ODD}}}]"#),
                format!(r#""structuredContent":{ODD}"#),
                format!(r#""vendor":{ODD}"#),
                format!(r#""v/k":{ODD}"#),
            ] {
                assert!(answer.contains(&kept), "{at}: {kept} is not in {answer}");
            }
            let lines = router.lines("fake.lines");
            let line = lines.iter().rfind(|l| l.contains("\"say\"")).expect("the call");
            for kept in [
                format!(r#""arguments":{arguments}"#),
                format!(r#""vendor":{ODD}"#),
                format!(r#""traceparent":"00-1","v/k":{ODD}"#),
            ] {
                assert!(line.contains(&kept), "{at}: {kept} is not in {line}");
            }
        }
    }
}

#[tokio::test]
async fn a_method_that_the_router_does_not_know_passes_whole() {
    for server in ERAS {
        let router = router(server, "").await;
        for era in ERAS {
            let agent = agent(&router, era).await;
            let outcome = agent
                .request("vendor/thing", json!({ "a": [1.5, "x"], "b": { "c": null } }))
                .await;
            let said = outcome.body.expect("a result");
            assert_eq!(said["params"]["a"], json!([1.5, "x"]), "{era} {server}");
            let refused = agent.request("vendor/other", json!({})).await;
            assert_eq!(refused.code(), -32601, "{era} {server}");
            assert_eq!(refused.status, if era == "modern" { 404 } else { 200 });
        }
    }
}
