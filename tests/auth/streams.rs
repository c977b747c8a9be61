//! Long streams end with the token that they were opened with: by its date, or by a reload that no longer knows it.

use std::time::Instant;

use serde_json::json;

use crate::asking::{ask, modern, request};
use crate::issuer::{Signer, from_now};
use crate::server::Server;
use crate::support::http::{Event, Http};
use crate::support::{Router, in_time};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const EVENTS: (&str, &str) = ("accept", "application/json, text/event-stream");

/// `subscriptions/listen`, as a header may have it too.
const WRAPPED: &str = "=?base64?c3Vic2NyaXB0aW9ucy9saXN0ZW4=?=";

/// The stream of a legacy session, and those of modern clients, all open.
async fn streams(router: &Router, token: &str) -> [Http; 3] {
    let bearer = format!("Bearer {token}");
    let authorization = ("authorization", bearer.as_str());
    let opened = ask(router, "POST", "/mcp", &[EVENTS, authorization], INITIALIZE).await;
    let session = opened.session.unwrap_or_else(|| panic!("{:?}", opened.body));
    let mut legacy = Http::connect(&router.address).await;
    let headers = [EVENTS, authorization, ("mcp-session-id", session.as_str())];
    legacy.send("GET", "/mcp", &headers, "").await;
    let mut all = [
        legacy,
        Http::connect(&router.address).await,
        Http::connect(&router.address).await,
    ];
    let body = request(
        "subscriptions/listen",
        json!({ "notifications": { "toolsListChanged": true } }),
    );
    for (http, method) in all[1..].iter_mut().zip(["subscriptions/listen", WRAPPED]) {
        let headers = modern(method, "", &[authorization]);
        http.send("POST", "/mcp", &headers, &body).await;
    }
    for http in &mut all {
        in_time("a stream", http.head()).await.unwrap();
        assert_eq!(http.status, 200);
        in_time("the first event", http.event()).await.unwrap().unwrap();
    }
    all
}

/// The end of a stream, whatever comes before.
async fn end(http: &mut Http) {
    let end = async { while http.event().await.unwrap().is_some() {} };
    in_time("the end of the stream", end).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_a_token_that_is_withdrawn_end_and_others_go_on() {
    let config = |tokens: &str, backends: &[&str]| -> String {
        let one = |name: &&str| format!("[backends.{name}]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n");
        format!("[listen]\nauth = \"ci\"\nkeep-alive = \"200ms\"\n[auth.ci.tokens]\n{tokens}")
            + &backends.iter().map(one).collect::<String>()
    };
    let ann = "ann = { token = \"ann-0123456789abcdef\" }\n";
    let bob = "bob = { token = \"bob-0123456789abcdef\" }\n";
    let router = Router::start(&config(&format!("{ann}{bob}"), &["demo"])).await;
    router.ready("demo").await;
    let mut anns = streams(&router, "ann-0123456789abcdef").await;
    let mut bobs = streams(&router, "bob-0123456789abcdef").await;
    router.configure(&config(bob, &["demo", "more"]));
    for http in &mut anns {
        end(http).await;
    }
    for http in &mut bobs {
        let told = async {
            loop {
                if let Event::Message(message) = http.event().await.unwrap().expect("it goes on") {
                    return message;
                }
            }
        };
        assert_eq!(
            in_time("news", told).await["method"],
            "notifications/tools/list_changed"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_their_token_does() {
    let signer = Signer::new("k1");
    let key = signer.public();
    let server = Server::start(move |_| (200, json!({ "keys": [key] }))).await;
    let name = server.url("");
    let config = format!(
        "[listen]\nauth = \"people\"\n[auth.people]\nissuer = \"{name}\"\njwks = \"{name}/keys\"\naudience = [\"api\"]\n\
         leeway = \"0s\"\n[backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
    );
    let router = Router::start(&config).await;
    router.ready("demo").await;
    let token = signer.token(&json!({ "iss": name, "aud": "api", "sub": "ann", "exp": from_now(4) }));
    let opened = Instant::now();
    for mut http in streams(&router, &token).await {
        end(&mut http).await;
        let lived = opened.elapsed();
        assert!((2..30).contains(&lived.as_secs()), "{lived:?}");
    }
}
