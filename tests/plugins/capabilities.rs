//! What plugins reach: with a grant, without it, and at its bounds. The guest does what the call orders.
//!
//! Without its grant every capability is refused at load: `what_is_imported_and_not_granted_is_told_at_load`.
//!
//! | capability | with the grant | at its bounds |
//! |---|---|---|
//! | `log` | `bounds::log_lines_in_a_second` | the same, `limits::what_a_guest_writes_to_the_log_is_bounded` |
//! | `clock`, `random` | `clocks_and_randomness_are_there_and_bounded` | the same |
//! | `metrics` | `numbers_appear_with_the_plugins_name` | the same, and beside `src/plugin/capability/metrics.rs` |
//! | `kv` | `a_store_outlives_instances_and_builds_and_is_bounded` | the same, and in `src/plugin/capability/kv.rs` |
//! | `directory` | `the_directory_shows_what_the_router_has` | the same: what is not there |
//! | `http` | `requests_go_where_the_grant_says_with_secrets_that_cannot_be_read` | `outside`, the tests beside `src/plugin/capability/http.rs`, `a_request_that_hangs_ends_with_the_hooks_time` |
//! | `secrets` | as `http` | the same: other names; `redirects_are_looked_at_like_first_requests`: other origins |

use std::sync::Arc;

use pointsman::config::{Grants, HttpGrant, KvGrant, MetricsGrant, Plugin};
use pointsman::plugin::{Generation, Host};
use pointsman::policy::{Policy, RouteChoice};
use serde_json::{Value, json};

use super::support::*;

/// Everything, and little of each.
fn all() -> Grants {
    Grants {
        metrics: Some(MetricsGrant { series: 3 }),
        kv: Some(KvGrant {
            namespace: None,
            keys: 3,
            bytes: 1000,
        }),
        ..everything()
    }
}

async fn started(host: &Arc<Host>, name: &str, grants: Grants) -> Arc<Generation> {
    generation(host, &[(name, reach(grants))]).await.unwrap()
}

/// What came of the orders.
async fn answers(generation: &Generation, orders: Value) -> Vec<String> {
    match generation.route(&order(orders), candidates(&[])).await {
        Ok(RouteChoice::Answer(json)) => {
            let answer: Value = serde_json::from_str(json.as_str()).unwrap();
            let answers = answer["answers"].as_array().unwrap();
            answers.iter().map(|a| a.as_str().unwrap().to_owned()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_imported_and_not_granted_is_told_at_load() {
    let host = host();
    type Take = fn(&mut Grants);
    let table: [(&str, &str, Take); 8] = [
        ("log", "log = true", |g| g.log = false),
        ("clock", "clock = true", |g| g.clock = false),
        ("random", "random = true", |g| g.random = false),
        ("directory", "directory = true", |g| g.directory = false),
        ("metrics", "metrics = true", |g| g.metrics = None),
        ("kv", "kv = true", |g| g.kv = None),
        ("http", "http = { allow = [\"https://HOST\"] }", |g| g.http = None),
        ("secrets", "secrets.NAME = { value = \"${VARIABLE}\" }", |g| {
            g.secrets.clear()
        }),
    ];
    for (name, example, take) in table {
        let mut grants = all();
        take(&mut grants);
        let error = host.load("p", &reach(grants)).await.err().unwrap();
        let expected = format!(
            "plugin p: rejected at inspect: it imports pointsman:policy/{name}, which is not granted: add `{example}` to its grants"
        );
        assert_eq!(error.to_string(), expected);
    }
    let mut none = all();
    (none.clock, none.kv) = (false, None);
    let error = host.load("p", &reach(none)).await.err().unwrap().to_string();
    assert!(
        error.contains("pointsman:policy/clock, pointsman:policy/kv")
            || error.contains("pointsman:policy/kv, pointsman:policy/clock"),
        "{error}"
    );
    started(&host, "p", all()).await;
}

#[tokio::test]
async fn clocks_and_randomness_are_there_and_bounded() {
    let generation = started(&host(), "p", all()).await;
    let told = answers(
        &generation,
        json!([{ "do": "now" }, { "do": "monotonic" }, { "do": "random", "length": 4096 }]),
    )
    .await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    assert!(now.abs_diff(told[0].parse().unwrap()) < 60_000, "{told:?}");
    assert_eq!(told[1..], ["true", "4096 true"]);
    let fault = generation
        .route(&order(json!([{ "do": "random", "length": 4097 }])), candidates(&[]))
        .await
        .unwrap_err();
    assert!(
        fault.message.contains("wanted 4097 random bytes, 4096 are allowed"),
        "{fault}"
    );
}

#[tokio::test]
async fn a_store_outlives_instances_and_builds_and_is_bounded() {
    let host = host();
    let one = started(&host, "one", all()).await;
    let told = answers(
        &one,
        json!([
            { "do": "get", "key": "a" },
            { "do": "set", "key": "a", "value": "1" },
            { "do": "swap", "key": "a", "known": "2", "value": "3" },
            { "do": "swap", "key": "a", "known": "1", "value": "3" },
            { "do": "add", "key": "a", "by": 4 },
            { "do": "set", "key": "b", "value": "x" },
            { "do": "add", "key": "b" },
            { "do": "set", "key": "c", "value": "x", "ttl": 600000 },
            { "do": "set", "key": "d", "value": "x" },
            { "do": "remove", "key": "c" },
            { "do": "fill", "key": "c", "length": 900 },
        ]),
    )
    .await;
    let expected = [
        "None",
        "Ok(())",
        "Ok(false)",
        "Ok(true)",
        "Ok(7)",
        "Ok(())",
        "Err(\"the value is no number\")",
        "Ok(())",
        "Err(\"no room: 3 keys and 1000 bytes are allowed\")",
        "true",
        "Err(\"no room: 3 keys and 1000 bytes are allowed\")",
    ];
    assert_eq!(told, expected);
    drop(one);
    // Another build, as after a reload; and one of another name, which shares nothing until it is told to.
    let mut other = all();
    other.random = true;
    other.metrics = Some(MetricsGrant { series: 9 });
    let again = started(&host, "one", other).await;
    let look = json!([{ "do": "get", "key": "a" }]);
    assert_eq!(answers(&again, look.clone()).await, ["Some(\"7\")"]);
    let two = started(&host, "two", all()).await;
    assert_eq!(answers(&two, look.clone()).await, ["None"]);
    let mut shared = all();
    shared.kv.as_mut().unwrap().namespace = Some("one".to_owned());
    let three = started(&host, "three", shared).await;
    assert_eq!(answers(&three, look).await, ["Some(\"7\")"]);
}

#[tokio::test]
async fn numbers_appear_with_the_plugins_name() {
    let host = host();
    let generation = started(&host, "p", all()).await;
    let told = answers(
        &generation,
        json!([
            { "do": "count", "key": "hits", "labels": "tool=a", "by": 2 },
            { "do": "gauge", "key": "load", "by": 1 },
            { "do": "observe", "key": "time", "by": 3 },
            { "do": "count", "key": "hits", "labels": "tool=b" },
        ]),
    )
    .await;
    assert_eq!(told, ["counted", "set", "observed", "counted"]);
    let mut text = String::new();
    host.registry().write(&mut text);
    for line in [
        "pointsman_plugin_hits_total{plugin=\"p\",tool=\"a\"} 2\n",
        "pointsman_plugin_load{plugin=\"p\"} 0.5\n",
        "pointsman_plugin_time_bucket{plugin=\"p\",le=\"5\"} 1\n",
        "pointsman_plugin_reports_dropped_total{plugin=\"p\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("tool=\"b\""), "the fourth is one too many: {text}");
}

#[tokio::test]
async fn the_directory_shows_what_the_router_has() {
    use pointsman::policy::{Directory, Entry};
    struct One;
    impl Directory for One {
        fn backends(&self) -> Vec<String> {
            vec!["a".to_owned(), "gone".to_owned()]
        }
        fn backend(&self, name: &str) -> Option<Entry> {
            (name == "a").then(|| Entry {
                state: "ready",
                labels: [("tier".to_owned(), "gpu".to_owned())].into(),
                targets: 3,
                ready: 2,
                held: 1,
                in_flight: 4,
            })
        }
    }
    let host = host();
    host.show(Arc::new(One));
    let generation = started(&host, "p", all()).await;
    let told = answers(&generation, json!([{ "do": "backends" }])).await;
    assert_eq!(
        told,
        ["a Some(\"ready\") Some(\"gpu\") 3 2 1 4, gone None None 0 0 0 0"]
    );
}

#[tokio::test]
async fn requests_go_where_the_grant_says_with_secrets_that_cannot_be_read() {
    let mut server = Answering::start().await;
    let mut grants = all();
    grants.http = Some(HttpGrant {
        allow: vec![format!("http://{}", server.address)],
        private: true,
        ..HttpGrant::default()
    });
    let generation = started(&host(), "p", grants).await;
    let url = format!("http://{}/x", server.address);
    let told = answers(
        &generation,
        json!([
            { "do": "has", "key": "tok" },
            { "do": "has", "key": "other" },
            { "do": "send", "method": "GET", "url": url, "secret": "tok", "key": "x-one" },
            { "do": "send", "method": "GET", "url": url, "secret": "other" },
            { "do": "send", "method": "POST", "url": url },
            { "do": "send", "method": "GET", "url": "http://127.0.0.1:9/" },
        ]),
    )
    .await;
    assert_eq!(told[..3], ["true", "false", "200 two hello"]);
    assert_eq!(told[3], "refused: there is no secret \"other\" in the grants");
    assert!(told[4].starts_with("refused: POST is not allowed"), "{told:?}");
    assert!(
        told[5].starts_with("refused: http://127.0.0.1:9 is not allowed"),
        "{told:?}"
    );
    let seen = server.seen().await;
    assert!(seen.contains("authorization: Bearer s3cret"), "{seen}");
}

#[tokio::test]
async fn a_request_that_hangs_ends_with_the_hooks_time() {
    let server = Answering::silent().await;
    let mut grants = all();
    grants.http = Some(HttpGrant {
        allow: vec![format!("http://{}", server.address)],
        private: true,
        timeout: std::time::Duration::from_secs(60),
        ..HttpGrant::default()
    });
    let plugin = Plugin {
        wall: std::time::Duration::from_millis(100),
        ..reach(grants)
    };
    let generation = generation(&host(), &[("p", plugin)]).await.unwrap();
    let send = json!([{ "do": "send", "method": "GET", "url": format!("http://{}/", server.address) }]);
    let fault = generation.route(&order(send), candidates(&[])).await.unwrap_err();
    assert_eq!(fault.kind, pointsman::policy::FaultKind::Wall, "{fault}");
    // The instance is gone, and the next one is well.
    assert_eq!(
        answers(&generation, json!([{ "do": "has", "key": "tok" }])).await,
        ["true"]
    );
}

/// An HTTP server that says `hello`, or nothing at all.
struct Answering {
    address: std::net::SocketAddr,
    requests: tokio::sync::mpsc::Receiver<String>,
}

impl Answering {
    async fn start() -> Self {
        Self::new(Some("HTTP/1.1 200 OK\r\nx-one: two\r\ncontent-length: 5\r\n\r\nhello")).await
    }

    async fn silent() -> Self {
        Self::new(None).await
    }

    async fn new(answer: Option<&'static str>) -> Self {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    let mut chunk = [0; 4096];
                    let read = socket.read(&mut chunk).await.unwrap_or(0);
                    let _ = sender.send(String::from_utf8_lossy(&chunk[..read]).into_owned()).await;
                    match answer {
                        Some(answer) => socket.write_all(answer.as_bytes()).await.unwrap(),
                        None => std::future::pending().await,
                    }
                });
            }
        });
        Self { address, requests }
    }

    async fn seen(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}
