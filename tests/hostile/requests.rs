//! Bad requests over HTTP: a typed refusal or a closed connection, and the router serves on.

use std::time::Instant;

use serde_json::json;

use super::support::client::MODERN;
use super::support::router::demo;
use super::support::wire::post;
use super::support::{Agent, Connection, Era, Reply, Router};

pub async fn router() -> Router {
    let toml = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nheader-timeout = \"700ms\"\nbody-timeout = \"700ms\"\n{}",
        demo("one", &[], "")
    );
    let router = Router::start(&toml).await;
    router.ready("one").await;
    router
}

pub async fn sound(router: &Router) {
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
    assert_eq!(agent.call("1", "echo", r#"{"text":"x"}"#).await.text(), "x");
    assert!(router.kilobytes("VmHWM") < 300_000, "{} kB", router.kilobytes("VmHWM"));
    router.is_quiet().await;
    router.is_sound().await;
}

async fn once(router: &Router, request: &[u8]) -> Reply {
    let mut connection = Connection::open(router.address).await;
    connection.send(request).await.unwrap();
    connection.reply().await.unwrap()
}

pub fn error(reply: &Reply) -> (u16, i64) {
    (reply.status, reply.json()["error"]["code"].as_i64().unwrap_or(0))
}

#[tokio::test]
async fn bodies_that_are_too_big_too_slow_or_no_message_are_refused() {
    let router = router().await;
    // Announced, and in chunks that announce nothing.
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\n";
    let announced = format!("{head}content-length: 104857600\r\n\r\n");
    assert_eq!(once(&router, announced.as_bytes()).await.status, 413);
    let mut chunked = Connection::open(router.address).await;
    chunked
        .send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 100 && chunked.send(&chunk).await.is_ok() {
        sent += 1;
    }
    println!("of 100 MB in chunks {sent} MB were taken from the socket");
    assert!(sent < 100 || chunked.reply().await.is_ok_and(|r| r.status == 413));
    // Half a head, half a body, a trickle: closed in their time, not for ever.
    for (text, status) in [
        ("POST /mcp HTTP/1.1\r\nhost: loc".to_owned(), 408),
        (format!("{head}content-length: 10\r\n\r\n{{"), 408),
    ] {
        let begin = Instant::now();
        let mut stalled = Connection::open(router.address).await;
        stalled.send(text.as_bytes()).await.unwrap();
        if let Ok(reply) = stalled.reply().await {
            assert_eq!(reply.status, status, "{text}");
        }
        stalled.closed().await.unwrap();
        println!("a request that stalls was ended after {:?}", begin.elapsed());
    }
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let bodies: [(&[u8], i64); 15] = [
        (b"", -32700),
        (b"\xff\xfe{}", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\xe9\"}", -32700),
        (b"{", -32700),
        (b"{}{}", -32700),
        (b"null", -32600),
        (b"\"x\"", -32600),
        (b"{}", -32600),
        (b"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}",
            -32600,
        ),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}", -32600),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"\\u006dethod\":\"x\"}",
            -32600,
        ),
    ];
    let nested = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"x\":{deep}}}}}");
    for era in [Era::Legacy, Era::Modern] {
        let mut agent = Agent::new(router.address, era, "/mcp").await;
        let version: &[(&str, &str)] = if era == Era::Modern {
            &[("mcp-protocol-version", MODERN)]
        } else {
            &[]
        };
        for (body, code) in bodies {
            let reply = agent.raw(version, body).await;
            assert_eq!(
                error(&reply),
                (400, code),
                "{era:?} {:?}: {}",
                String::from_utf8_lossy(body),
                reply.text()
            );
        }
        for body in [nested.as_bytes(), deep.as_bytes()] {
            let reply = agent.raw(version, body).await;
            assert_eq!(reply.status, 400, "{era:?}: {}", reply.text());
        }
    }
    sound(&router).await;
}

#[tokio::test]
async fn ids_are_echoed_byte_for_byte() {
    let router = router().await;
    let huge = format!("\"{}\"", "y".repeat(100_000));
    for era in [Era::Legacy, Era::Modern] {
        let mut agent = Agent::new(router.address, era, "/mcp").await;
        for id in [
            "0",
            "-0",
            "1.50",
            "1E400",
            "123456789012345678901234567890",
            r#""""#,
            r#""\u00e9\/\ud83d\ude00""#,
            "\"é\\n\"",
            huge.as_str(),
        ] {
            for (method, params) in [
                ("tools/call", r#""name":"echo","arguments":{"text":"x"}"#),
                ("tools/list", ""),
                ("no", ""),
            ] {
                let (headers, body) = agent.envelope(id, method, params, "");
                let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
                let reply = agent.raw(&headers, body.as_bytes()).await;
                assert!(
                    reply.text().contains(&format!("\"id\":{id},")),
                    "{era:?} {method} {id:.50}: {:.300}",
                    reply.text()
                );
            }
        }
    }
    // In flight the same id is refused, however it is written; another one is not.
    let mut agent = Agent::new(router.address, Era::Legacy, "/mcp").await;
    let mut slow = agent
        .begin(
            "\"a\"",
            "tools/call",
            "\"name\":\"slow\",\"arguments\":{\"ms\":60000}",
            "",
        )
        .await;
    router
        .until("it is in flight", |s| s["backends"][0]["in_flight"] == 1)
        .await;
    assert_eq!(
        agent.call("\"\\u0061\"", "echo", r#"{"text":"x"}"#).await.code(),
        -32602
    );
    assert_eq!(agent.call("\"b\"", "echo", r#"{"text":"x"}"#).await.text(), "x");
    agent.notify("notifications/cancelled", "\"requestId\":\"a\"").await;
    assert_eq!(slow.reply().await.unwrap().json()["error"]["code"], 7011);
    sound(&router).await;
}

#[tokio::test]
async fn hosts_origins_methods_and_sessions_are_checked() {
    let router = router().await;
    let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let foreign = String::from_utf8(post("/mcp", &[], ping)).unwrap();
    for host in ["evil.example", "localhost:1", "127.0.0.1.evil.example"] {
        let reply = once(&router, foreign.replace("localhost", host).as_bytes()).await;
        assert_eq!(reply.status, 403, "{host}");
    }
    for origin in ["http://evil.example", "null", "http://localhost.evil.example"] {
        assert_eq!(
            once(&router, &post("/mcp", &[("origin", origin)], ping)).await.status,
            403,
            "{origin}"
        );
    }
    let session = Agent::new(router.address, Era::Legacy, "/mcp").await.session.unwrap();
    let with = |id: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("mcp-session-id", id)];
        headers.extend(more);
        post("/mcp", &headers, ping)
    };
    assert_eq!(once(&router, &post("/mcp", &[], ping)).await.status, 400, "no session");
    assert_eq!(
        once(&router, &with("0123456789abcdef0123456789abcdef", &[]))
            .await
            .status,
        404
    );
    assert_eq!(once(&router, &with("\x01", &[])).await.status, 400);
    assert_eq!(
        once(&router, &with(&session, &[("mcp-protocol-version", "1999-01-01")]))
            .await
            .status,
        400
    );
    assert_eq!(
        once(&router, &with(&session, &[("mcp-protocol-version", "2025-06-18")]))
            .await
            .status,
        200
    );
    let elsewhere = String::from_utf8(with(&session, &[]))
        .unwrap()
        .replace("/mcp ", "/mcp/one ");
    assert_eq!(
        once(&router, elsewhere.as_bytes()).await.status,
        404,
        "a session belongs to its endpoint"
    );
    for method in ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"] {
        let text = format!("{method} /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-protocol-version: {MODERN}\r\n\r\n");
        let reply = once(&router, text.as_bytes()).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
    }
    let delete = format!("DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: {session}\r\n\r\n");
    assert_eq!(once(&router, delete.as_bytes()).await.status, 200);
    assert_eq!(once(&router, delete.as_bytes()).await.status, 404);
    assert_eq!(once(&router, &with(&session, &[])).await.status, 404);
    assert_eq!(router.status().await["sessions"], 0);
    sound(&router).await;
}

#[tokio::test]
async fn the_modern_envelope_is_checked() {
    let router = router().await;
    let mut agent = Agent::new(router.address, Era::Modern, "/mcp").await;
    let (headers, body) = agent.envelope("1", "tools/call", r#""name":"echo","arguments":{"text":"x"}"#, "");
    let set = |name: &str, value: Option<&str>| -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        all.retain(|(n, _)| n != name);
        all.extend(value.map(|v| (name.to_owned(), v.to_owned())));
        all
    };
    let cases: Vec<(&str, Option<&str>, String, i64)> = vec![
        ("mcp-method", None, body.clone(), -32020),
        ("mcp-method", Some("tools/list"), body.clone(), -32020),
        ("mcp-name", None, body.clone(), -32020),
        ("mcp-name", Some("crash"), body.clone(), -32020),
        ("mcp-name", Some("=?base64?%%%?="), body.clone(), -32020),
        ("mcp-protocol-version", None, body.clone(), -32020),
        ("mcp-protocol-version", Some("2027-01-01"), body.clone(), -32020),
        (
            "mcp-protocol-version",
            Some("2027-01-01"),
            body.replace(MODERN, "2027-01-01"),
            -32022,
        ),
        ("x", None, body.replace("_meta", "_mete"), -32602),
        (
            "x",
            None,
            body.replace("clientCapabilities\":{}", "clientCapabilities\":7"),
            -32602,
        ),
        (
            "x",
            None,
            body.replace("\"_meta\":{", "\"_meta\":{\"k\":1,\"k\":2,"),
            -32602,
        ),
        ("x", None, body.replace("\"_meta\":", "\"_meta\":{},\"_meta\":"), -32602),
        (
            "x",
            None,
            body.replace("\"name\":\"echo\",", "\"name\":\"echo\",\"name\":\"crash\","),
            -32602,
        ),
        ("x", None, body.replace("\"_meta\":{", "\"_meta\":[],\"x\":{"), -32602),
    ];
    for (name, value, body, code) in cases {
        let all = set(name, value);
        let all: Vec<(&str, &str)> = all.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let reply = agent.raw(&all, body.as_bytes()).await;
        assert_eq!(error(&reply), (400, code), "{name} {value:?} {body}: {}", reply.text());
        if code == -32022 {
            assert_eq!(reply.json()["error"]["data"]["supported"], json!([MODERN]));
        }
    }
    let encoded = set("mcp-name", Some("=?base64?ZWNobw==?="));
    let encoded: Vec<(&str, &str)> = encoded.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(
        agent.raw(&encoded, body.as_bytes()).await.json()["result"]["content"][0]["text"],
        "x"
    );
    for era in [Era::Legacy, Era::Modern] {
        let mut agent = Agent::new(router.address, era, "/mcp").await;
        assert_eq!(
            agent.ask("1", "tools/list", "\"cursor\":\"more\"", "").await.code(),
            -32602
        );
        assert_eq!(agent.ask("2", "tools/call", "\"name\":7", "").await.code(), -32602);
    }
    sound(&router).await;
}
