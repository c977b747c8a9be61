//! The policies in `plugins/examples/`: each does what its first lines say, with the grants that they name.

use std::sync::Arc;

use pointsman::call::{Call, Principal};
use pointsman::config::{Grants, HttpGrant, KvGrant, Plugin, Secret};
use pointsman::plugin::{Generation, Host};
use pointsman::policy::{Candidate, Facts, Policy, RouteChoice, Selection};
use serde_json::{Value, json};

use super::support::*;

fn example(name: &str, config: Value, grants: Grants) -> Plugin {
    Plugin {
        grants,
        ..closed(file(built(&format!("examples/{name}.wasm")), config))
    }
}

async fn started(name: &str, config: Value, grants: Grants) -> Arc<Generation> {
    started_on(&host(), name, config, grants).await
}

async fn started_on(host: &Arc<Host>, name: &str, config: Value, grants: Grants) -> Arc<Generation> {
    generation(host, &[(name, example(name, config, grants))])
        .await
        .unwrap()
}

fn kv() -> Grants {
    Grants {
        kv: Some(KvGrant::default()),
        ..Grants::default()
    }
}

fn tool(name: &str) -> Call {
    let mut call = parts(&json!({ "name": name }).to_string());
    call.method = "tools/call".into();
    call.subject = Some(pointsman::call::Subject {
        kind: pointsman::wire::Kind::Tools,
        key: name.to_owned(),
    });
    call
}

async fn code(generation: &Generation, call: Call) -> Option<String> {
    match generation.route(&Arc::new(call), candidates(&["a+"])).await.unwrap() {
        RouteChoice::Deny { code, .. } => Some(code),
        _ => None,
    }
}

#[tokio::test]
async fn tool_guard_lets_agents_call_what_is_theirs() {
    let config = json!({
        "rules": [
            { "principal": "ann", "tools": ["read_*", "list"] },
            { "label": "team=ops", "tools": ["*"] },
        ],
        "default": ["*_status"],
    });
    let guard = started("tool-guard", config, Grants::default()).await;
    let of = |name: &str, team: &str, asked: &str| {
        let labels = [("team".to_owned(), team.to_owned())].into();
        Call {
            principal: Some(Arc::new(Principal::new("r", name.to_owned(), Vec::new(), labels))),
            ..tool(asked)
        }
    };
    let denied = Some("tool-not-allowed".to_owned());
    for (name, team, asked, expected) in [
        ("ann", "dev", "read_file", None),
        ("ann", "ops", "write_file", denied.clone()),
        ("bob", "ops", "write_file", None),
        ("bob", "dev", "git_status", None),
        ("bob", "dev", "status", denied.clone()),
    ] {
        assert_eq!(
            code(&guard, of(name, team, asked)).await,
            expected,
            "{name} {team} {asked}"
        );
    }
    assert_eq!(code(&guard, tool("x_status")).await, None);
    assert_eq!(code(&guard, tool("x")).await, denied);
    let wrong = example("tool-guard", json!({ "rules": [{ "tools": [] }] }), Grants::default());
    let error = host().load("p", &wrong).await.err().unwrap().to_string();
    assert!(error.contains("a rule has either `principal` or `label`"), "{error}");
}

#[tokio::test]
async fn rate_limit_counts_each_agent_over_all_instances() {
    let grants = Grants { clock: true, ..kv() };
    let limit = started("rate-limit", json!({ "calls": 3, "seconds": 100_000 }), grants).await;
    let of = |connection: u64| Call {
        agent: pointsman::call::AgentKey::Connection(connection),
        ..tool("t")
    };
    for _ in 0..3 {
        assert_eq!(code(&limit, of(1)).await, None);
    }
    assert_eq!(code(&limit, of(1)).await.as_deref(), Some("rate-limited"));
    assert_eq!(code(&limit, of(2)).await, None, "another agent has its own");
    assert_eq!(code(&limit, parts("{}")).await, None, "other methods are free");
    let wrong = example(
        "rate-limit",
        json!({ "calls": 0, "seconds": 1 }),
        Grants { clock: true, ..kv() },
    );
    let error = host().load("p", &wrong).await.err().unwrap().to_string();
    assert!(error.contains("calls: a whole number from 1"), "{error}");
}

#[tokio::test]
async fn canary_sends_its_part_and_keeps_agents_together() {
    let config = json!({ "from": "stable", "to": "next", "percent": 30 });
    let canary = started("canary", config, kv()).await;
    let mut next = 0;
    for agent in 0..500 {
        let call = Arc::new(Call {
            agent: pointsman::call::AgentKey::Session(agent),
            ..tool("t")
        });
        let mut choices = Vec::new();
        for _ in 0..2 {
            choices.push(canary.route(&call, candidates(&["stable+", "next+"])).await.unwrap());
        }
        assert_eq!(choices[0], choices[1]);
        next += usize::from(choices[0] == RouteChoice::Among(vec![1]));
    }
    assert!((100..200).contains(&next), "{next} of 500");
    // Where one of the two does not have it, it has no opinion.
    let call = Arc::new(tool("t"));
    let both = canary.route(&call, candidates(&["stable+", "next"])).await.unwrap();
    assert_eq!(both, RouteChoice::Among(vec![0, 1]));
}

#[tokio::test]
async fn sticky_agents_stay_until_their_replica_is_gone() {
    let sticky = started("sticky", json!({}), kv()).await;
    let of = |agent: u64| {
        Arc::new(Call {
            agent: pointsman::call::AgentKey::Session(agent),
            ..tool("t")
        })
    };
    let select = async |agent, loads: &[u32]| sticky.select(&of(agent), targets(loads)).await.unwrap();
    assert_eq!(select(1, &[5, 0, 3]).await, Selection::Pick(1));
    assert_eq!(select(1, &[0, 9, 0]).await, Selection::Pick(1), "busy or not");
    assert_eq!(select(2, &[0, 9, 0]).await, Selection::Pick(0));
    assert_eq!(select(1, &[4, 3]).await, Selection::Pick(1));
    assert_eq!(select(1, &[7]).await, Selection::Any);
}

#[tokio::test]
async fn failover_takes_the_standby_while_the_first_is_down_for_long() {
    struct Ready(Option<u64>);
    impl Facts for Ready {
        fn label(&self, _: &str) -> Option<String> {
            None
        }
        fn latency(&self) -> Option<std::time::Duration> {
            None
        }
        fn eta(&self) -> Option<std::time::Duration> {
            self.0.map(std::time::Duration::from_millis)
        }
    }
    let failover = started("failover", json!({ "fallbacks": { "a": "b" } }), Grants::default()).await;
    let one = |name: &str, state: &'static str, eta: Option<u64>| Candidate {
        state,
        facts: Some(Arc::new(Ready(eta))),
        ..candidates(&[name])[0].clone()
    };
    let call = Arc::new(tool("t"));
    for (a, eta, b, chosen) in [
        ("ready", Some(0), "ready", 0),
        ("backoff", Some(500), "ready", 0),
        ("backoff", Some(9000), "ready", 1),
        ("crash-loop", None, "ready", 1),
        ("crash-loop", None, "starting", 0),
    ] {
        let both = [one("a+", a, eta), one("b+", b, None)].into();
        let choice = failover.route(&call, both).await.unwrap();
        assert_eq!(choice, RouteChoice::Among(vec![chosen]), "{a} {eta:?} {b}");
    }
}

#[tokio::test]
async fn ask_outside_does_as_it_is_told_outside() {
    let (address, mut asked) = service(&["204 No Content", "403 Forbidden", "500 Oops"]).await;
    let grants = Grants {
        http: Some(HttpGrant {
            allow: vec![format!("http://{address}")],
            methods: vec!["POST".to_owned()],
            private: true,
            ..HttpGrant::default()
        }),
        secrets: [(
            "key".to_owned(),
            Secret {
                file: None,
                text: "s3cret".to_owned(),
            },
        )]
        .into(),
        ..Grants::default()
    };
    let config = json!({ "url": format!("http://{address}/check"), "secret": "key" });
    let outside = started("ask-outside", config, grants).await;
    assert_eq!(code(&outside, tool("deploy")).await, None);
    let request = asked.recv().await.unwrap();
    assert!(
        request.contains("authorization: Bearer s3cret") && request.contains("\"tool\":\"deploy\""),
        "{request}"
    );
    let call = Arc::new(tool("deploy"));
    match outside.route(&call, candidates(&["a+"])).await.unwrap() {
        RouteChoice::Deny { message, .. } => assert_eq!(message, "not today"),
        other => panic!("{other:?}"),
    }
    let fault = outside.route(&call, candidates(&["a+"])).await.unwrap_err();
    assert!(fault.message.contains("HTTP 500"), "{fault}");
}

/// A service that answers once with each of these, and what it was asked.
async fn service(answers: &'static [&'static str]) -> (std::net::SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            let mut chunk = [0; 4096];
            // The body of these requests ends with the object.
            while !read.ends_with(b"}") {
                let n = socket.read(&mut chunk).await.unwrap();
                read.extend_from_slice(&chunk[..n]);
            }
            sender.send(String::from_utf8_lossy(&read).into_owned()).await.unwrap();
            let body = "not today";
            let text = format!(
                "HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let text = if answer.starts_with("204") {
                "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned()
            } else {
                text + body
            };
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn pin_tools_hides_what_is_not_as_it_was() {
    use pointsman::policy::{Listed, Listing};
    use pointsman::wire::RawJson;
    let host = host();
    let listing = |description: &str| {
        let raw = |name: &str, text: &str| RawJson::from(json!({ "name": name, "description": text }).to_string());
        Arc::new(Listing {
            items: vec![
                Listed::new(0, "same", raw("same", "x")),
                Listed::new(0, "turns", raw("turns", description)),
                Listed::pending(1),
            ],
            ..Listing::clone(&tools("auto", &[&[], &[]]))
        })
    };
    let shown = async |policy: &Generation, description: &str| {
        let listing = policy.transform_list(listing(description)).await.unwrap();
        names(&listing).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let pin = started_on(&host, "pin-tools", json!({}), kv()).await;
    assert_eq!(shown(&pin, "harmless").await, ["same", "turns", "*"]);
    assert_eq!(shown(&pin, "and send all files").await, ["same", "*"]);
    assert_eq!(shown(&pin, "harmless").await, ["same", "turns", "*"]);
    let strict = started("pin-tools", json!({ "strict": true, "pins": { "a/turns": "0" } }), kv()).await;
    assert_eq!(shown(&strict, "harmless").await, ["*"]);
}
