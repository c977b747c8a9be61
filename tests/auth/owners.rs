//! What belongs to one principal is nobody else's: sessions, cursors, request states; and tokens stay at the front.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::asking::{ask, call, modern, request};
use crate::server::{self, Server};
use crate::support::{Router, fixture};

const ANN: &str = "Bearer ann-0123456789abcdef";
const BOB: &str = "Bearer bob-0123456789abcdef";
const TOKENS: &str =
    "[auth.ci.tokens]\nann = { token = \"ann-0123456789abcdef\" }\nbob = { token = \"bob-0123456789abcdef\" }\n";

fn demo(more: &str) -> String {
    format!(
        "[listen]\nauth = \"ci\"\n{TOKENS}{more}\n[backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
    )
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_its_principals_alone() {
    let router = Router::start(&demo("")).await;
    router.ready("demo").await;
    let opened = ask(&router, "POST", "/mcp", &[ACCEPT, ("authorization", ANN)], INITIALIZE).await;
    let session = opened.session.expect("a session");
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let batch = format!("[{ping}]");
    let with = |bearer: &'static str| [ACCEPT, ("authorization", bearer), ("mcp-session-id", session.as_str())];
    for (method, body) in [("POST", ping), ("POST", batch.as_str()), ("GET", ""), ("DELETE", "")] {
        let reply = ask(&router, method, "/mcp", &with(BOB), body).await;
        assert_eq!(reply.status, 404, "{method} {body}: {reply:?}");
    }
    assert_eq!(
        ask(&router, "POST", "/mcp", &with(ANN), ping).await.body["result"],
        json!({})
    );
    let nobody = [ACCEPT, ("mcp-session-id", session.as_str())];
    assert_eq!(ask(&router, "POST", "/mcp", &nobody, ping).await.status, 401);
    assert_eq!(ask(&router, "DELETE", "/mcp", &with(ANN), "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_its_principals_alone() {
    let router = Router::start(&demo("[endpoints.default]\npage-size = 2")).await;
    router.ready("demo").await;
    let list = async |bearer: &str, params: Value| {
        let headers = modern("tools/list", "", &[("authorization", bearer)]);
        let reply = ask(&router, "POST", "/mcp", &headers, &request("tools/list", params)).await;
        reply.body
    };
    let first = list(ANN, json!({})).await;
    let cursor = &first["result"]["nextCursor"];
    assert!(cursor.is_string(), "{first}");
    let stolen = list(BOB, json!({ "cursor": cursor })).await;
    assert_eq!(stolen["error"]["code"], -32602, "{stolen}");
    let second = list(ANN, json!({ "cursor": cursor })).await;
    assert!(second["result"]["tools"].is_array(), "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_state_is_its_principals_alone() {
    let config = format!(
        "[listen]\nauth = \"ci\"\n{TOKENS}[backends.asks]\ncommand = {}\nargs = [{}, \"--stdio\", \"--era\", \"modern\"]\n",
        json!(fixture::node()),
        json!(fixture::program())
    );
    let router = Router::start(&config).await;
    router.ready("asks").await;
    let ask_form = async |bearer: &str, more: Value| {
        let mut params = json!({ "name": "ask_form", "arguments": { "message": "hello" } });
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({ "elicitation": {} });
        params
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let headers = modern("tools/call", "ask_form", &[("authorization", bearer)]);
        ask(&router, "POST", "/mcp", &headers, &request("tools/call", params))
            .await
            .body
    };
    let asked = ask_form(ANN, json!({})).await;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let key = result["inputRequests"].as_object().unwrap().keys().next().unwrap();
    let mut back = json!({ "requestState": result["requestState"], "inputResponses": {} });
    back["inputResponses"][key] = json!({ "action": "accept", "content": { "word": "yes" } });
    let stolen = ask_form(BOB, back.clone()).await;
    assert_eq!(stolen["error"]["code"], -32602, "{stolen}");
    let done = ask_form(ANN, back).await;
    assert_eq!(done["result"]["content"][0]["text"], "user: accept yes", "{done}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_token_never_reaches_a_backend() {
    let backend = Server::start(|asked| (200, server::modern(asked))).await;
    let config = format!(
        "[listen]\nauth = \"ci\"\n{TOKENS}[backends.fake]\nurl = \"{}\"\n",
        backend.url("/mcp")
    );
    let router = Router::start(&config).await;
    router.ready("fake").await;
    let reply = call(&router, "/mcp", Some("ann-0123456789abcdef"), "tool", json!({})).await;
    assert_eq!(reply.text(), "fine");
    let asked = backend.asked("/mcp");
    assert!(asked.len() >= 3);
    for one in asked {
        assert!(one.header("authorization").is_none(), "{one:?}");
        assert!(!format!("{one:?}").contains("0123456789abcdef"), "{one:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_sockets_ask_for_no_token() {
    let router = Router::start(&demo("[router]\nmcp-socket = \"@dir/mcp.sock\"")).await;
    router.ready("demo").await;
    let path = router.path().join("mcp.sock");
    let mut stream =
        crate::support::until_async("the socket", async || tokio::net::UnixStream::connect(&path).await.ok()).await;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{INITIALIZE}",
        INITIALIZE.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.contains("mcp-session-id"),
        "{reply}"
    );
}

/// Two servers with the same tools, and a policy that reads the header of tokens, which it must never see.
fn curious(more: &str) -> String {
    let server = |name: &str| format!("[backends.{name}]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n");
    format!(
        "[router]\nmcp-socket = \"@dir/mcp.sock\"\n[plugins.default-route]\nembedded = \"default-route\"\n\
         config = {{ header = \"Authorization\" }}\n[endpoints.default]\nnames = \"plain\"\n{more}{}{}",
        server("one"),
        server("two")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nobody_asked_for_is_no_policys_matter_either() {
    let router = Router::start(&curious("")).await;
    router.ready("one").await;
    router.ready("two").await;
    let told = ("authorization", "one");
    let body = request("tools/call", json!({ "name": "echo", "arguments": { "text": "x" } }));
    let reply = ask(&router, "POST", "/mcp", &modern("tools/call", "echo", &[told]), &body).await;
    assert_eq!(reply.body["error"]["code"], 7009, "{reply:?}");

    // Nor is one that came with the session.
    let opened = ask(&router, "POST", "/mcp", &[ACCEPT, told], INITIALIZE).await;
    let session = opened.session.expect("a session");
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"x"}}}"#;
    for more in [
        &[ACCEPT, ("mcp-session-id", session.as_str())][..],
        &[ACCEPT, ("mcp-session-id", session.as_str()), told],
    ] {
        let reply = ask(&router, "POST", "/mcp", more, call).await;
        assert_eq!(reply.body["error"]["code"], 7009, "{reply:?}");
    }

    let path = router.path().join("mcp.sock");
    let mut stream =
        crate::support::until_async("the socket", async || tokio::net::UnixStream::connect(&path).await.ok()).await;
    let asked = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: one\r\nmcp-protocol-version: 2026-07-28\r\n\
         accept: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(asked.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.contains("7009"), "{reply}");
}
