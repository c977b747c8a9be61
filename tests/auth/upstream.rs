//! Tokens of the router's own: got, renewed, refused, and never confused with those of agents.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::asking::call;
use crate::server::{Server, modern};
use crate::support::{Agent, Router, until_async};

/// An authorization server, and a backend that takes its newest token alone.
struct World {
    tokens: Server,
    backend: Server,
    /// The number of the token that is taken.
    good: Arc<AtomicUsize>,
    /// The status of the token endpoint.
    status: Arc<AtomicU16>,
}

impl World {
    /// `life`: how long tokens live, in seconds.
    async fn new(life: Arc<AtomicU64>, refresh: bool) -> World {
        let (given, good) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(1)));
        let status = Arc::new(AtomicU16::new(200));
        let (number, answers) = (Arc::clone(&given), Arc::clone(&status));
        let tokens = Server::start(move |asked| {
            if asked.line.starts_with("GET /.well-known/oauth-authorization-server") {
                let host = asked.header("host").unwrap();
                return (200, json!({ "issuer": format!("http://{host}"), "token_endpoint": format!("http://{host}/token") }));
            }
            match answers.load(SeqCst) {
                200 => {}
                status => return (status, json!({ "error": "invalid_client" })),
            }
            let n = number.fetch_add(1, SeqCst) + 1;
            let mut answer =
                json!({ "access_token": format!("token-{n}"), "token_type": "Bearer", "expires_in": life.load(SeqCst) });
            if refresh {
                answer["refresh_token"] = format!("refresh-{n}").into();
            }
            (200, answer)
        })
        .await;
        let least = Arc::clone(&good);
        let backend = Server::start(move |asked| {
            let number = asked
                .header("authorization")
                .and_then(|v| v.strip_prefix("Bearer token-")?.parse().ok());
            match number.is_some_and(|n: usize| n >= least.load(SeqCst)) {
                true => (200, modern(asked)),
                false => (401, json!({})),
            }
        })
        .await;
        World {
            tokens,
            backend,
            good,
            status,
        }
    }

    fn config(&self, more: &str) -> String {
        format!(
            "[listen]\nauth = \"ci\"\n[auth.ci.tokens.a]\ntoken = \"agents-0123456789\"\n[backends.fake]\nurl = \"{}\"\n\
             gate = {{ wait = \"5s\" }}\n[backends.fake.oauth]\nclient-id = \"me\"\nclient-secret = \"s3cret:%\"\n{more}\n",
            self.backend.url("/mcp")
        )
    }

    fn asked(&self) -> Vec<String> {
        self.tokens
            .asked("/token")
            .into_iter()
            .map(|asked| asked.body)
            .collect()
    }
}

async fn fine(router: &Router) {
    let reply = call(router, "/mcp", Some("agents-0123456789"), "tool", json!({})).await;
    assert_eq!(reply.text(), "fine");
}

fn hour() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(3600))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_got_once_and_sent_with_everything() {
    let world = World::new(hour(), false).await;
    let more = format!(
        "issuer = \"{}\"\nscopes = [\"a\", \"b\"]\nresource = \"https://tools.example/mcp?x\"\n",
        world.tokens.url("")
    );
    let router = Router::start(&world.config(&more)).await;
    router.ready("fake").await;
    for _ in 0..3 {
        fine(&router).await;
    }
    let form = "grant_type=client_credentials&scope=a%20b&resource=https%3A%2F%2Ftools.example%2Fmcp%3Fx";
    assert_eq!(world.asked(), [form]);
    let asked = world.tokens.asked("/token").remove(0);
    let basic = format!("Basic {}", STANDARD.encode("me:s3cret%3A%25"));
    assert_eq!(asked.header("authorization"), Some(basic));
    for asked in world.backend.asked("/mcp") {
        assert_eq!(asked.header("authorization").as_deref(), Some("Bearer token-1"));
    }
    let shown = router.log() + &router.status().to_string();
    assert!(!shown.contains("token-1") && !shown.contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_token_is_renewed_once_for_all_calls_and_they_are_sent_again() {
    let world = World::new(hour(), true).await;
    let more = format!(
        "token-url = \"{}\"\nclient-auth = \"post\"\n",
        world.tokens.url("/token")
    );
    let router = Router::start(&world.config(&more)).await;
    router.ready("fake").await;
    fine(&router).await;
    // The server forgets the token.
    world.good.store(2, SeqCst);
    let (a, b, c, d) = (fine(&router), fine(&router), fine(&router), fine(&router));
    tokio::join!(a, b, c, d);
    let post = "&client_id=me&client_secret=s3cret%3A%25";
    assert_eq!(
        world.asked(),
        [
            format!("grant_type=client_credentials{post}"),
            format!("grant_type=refresh_token&refresh_token=refresh-1{post}")
        ]
    );
    // It will have none at all: one more try, a definite error that names the backend, and no 401 for the agent.
    world.good.store(99, SeqCst);
    for _ in 0..5 {
        let reply = call(&router, "/mcp", Some("agents-0123456789"), "tool", json!({})).await;
        assert_eq!(
            (reply.status, &reply.body["error"]["code"]),
            (200, &json!(7001)),
            "{reply:?}"
        );
        let message = reply.body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("fake") && message.contains("does not accept the router's credentials"),
            "{message}"
        );
        assert_eq!(reply.body["error"]["data"]["delivery"], "rejected");
    }
    assert_eq!(world.asked().len(), 3, "not a token for every refusal");
    assert_eq!(router.backend("fake")["state"], "ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_renewed_before_it_ends() {
    let life = Arc::new(AtomicU64::new(5));
    let world = World::new(Arc::clone(&life), false).await;
    let more = format!("token-url = \"{}\"\n", world.tokens.url("/token"));
    let router = Router::start(&world.config(&more)).await;
    router.ready("fake").await;
    life.store(3600, SeqCst);
    // After four fifths of its life, and no call ever meets a token that is over.
    until_async("the second token", async || {
        fine(&router).await;
        (world.asked().len() == 2).then_some(())
    })
    .await;
    until_async("its use", async || {
        fine(&router).await;
        let last = world.backend.asked("/mcp").pop().unwrap();
        (last.header("authorization").as_deref() == Some("Bearer token-2")).then_some(())
    })
    .await;
    assert_eq!(world.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_the_backend_is_named_and_the_agent_is_not_asked() {
    let world = World::new(hour(), false).await;
    world.status.store(401, SeqCst);
    let more = format!("token-url = \"{}\"\n", world.tokens.url("/token"));
    let config = world.config(&more).replace(
        "gate =",
        "crash-loop = { deaths = 1 }\nbackoff = { min = \"1ms\", base = \"1ms\", max = \"5ms\" }\ngate =",
    );
    let router = Router::start(&config).await;
    let given_up = |b: &Value| b["state"] == "crash-loop";
    let backend = router.backend_until("fake", "to be given up", given_up).await;
    let why = backend["targets"][0]["why"].as_str().unwrap();
    assert!(
        why.contains("the authorization server answered with HTTP 401") && why.contains("invalid_client"),
        "{why}"
    );
    let reply = call(&router, "/mcp/fake", Some("agents-0123456789"), "tool", json!({})).await;
    assert_eq!((reply.status, reply.challenge.as_deref()), (200, None), "{reply:?}");
    assert!(
        reply.body["error"]["message"].as_str().unwrap().contains("fake"),
        "{reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_authorization_server_is_down_calls_are_held() {
    let world = World::new(hour(), false).await;
    world.status.store(503, SeqCst);
    let more = format!("token-url = \"{}\"\n", world.tokens.url("/token"));
    let router = Router::start(
        &world
            .config(&more)
            .replace("auth = \"ci\"\n", "")
            .replace("wait = \"5s\"", "wait = \"30s\""),
    )
    .await;
    let agent = Agent::modern_at(&router.address, "/mcp/fake");
    let held = tokio::spawn(async move { agent.call("tool", json!({})).await });
    router.held("fake", 1).await;
    world.status.store(200, SeqCst);
    assert_eq!(held.await.unwrap().text(), Some("fine"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_token_ends_and_none_follows_calls_wait_and_the_backend_is_well() {
    let world = World::new(Arc::new(AtomicU64::new(1)), false).await;
    let more = format!("token-url = \"{}\"\n", world.tokens.url("/token"));
    let config = world.config(&more).replace("auth = \"ci\"\n", "");
    let router = Router::start(&config.replace("wait = \"5s\"", "wait = \"30s\"")).await;
    router.ready("fake").await;
    world.status.store(503, SeqCst);
    let agent = Agent::modern_at(&router.address, "/mcp/fake");
    let enough = Arc::new(AtomicUsize::new(0));
    let stop = Arc::clone(&enough);
    let caller = tokio::spawn(async move {
        while stop.load(SeqCst) == 0 {
            let outcome = agent.call("tool", json!({})).await;
            assert_eq!(outcome.text(), Some("fine"), "{outcome:?}");
        }
    });
    // The token is over: it is not sent any more, and another one is waited for.
    router.held("fake", 1).await;
    enough.store(1, SeqCst);
    world.status.store(200, SeqCst);
    caller.await.unwrap();
    let backend = router.backend("fake");
    assert_eq!(
        (&backend["state"], &backend["targets"][0]["incarnation"]),
        (&json!("ready"), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_for_too_long_a_call_was_not_sent() {
    let world = World::new(Arc::new(AtomicU64::new(1)), false).await;
    let more = format!("token-url = \"{}\"\n", world.tokens.url("/token"));
    let config = world.config(&more).replace("auth = \"ci\"\n", "");
    let router = Router::start(&config.replace("wait = \"5s\"", "wait = \"500ms\"")).await;
    router.ready("fake").await;
    world.status.store(503, SeqCst);
    let agent = Agent::modern_at(&router.address, "/mcp/fake");
    let refused = until_async("a call without a token", async || {
        let outcome = agent.call("tool", json!({})).await;
        (outcome.code() != 0).then_some(outcome)
    })
    .await;
    assert_eq!(
        (refused.code(), refused.data("delivery")),
        (7001, json!("not_sent")),
        "{refused:?}"
    );
    let error = refused.body.unwrap_err();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("the router has no token for it"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_of_single_sessions_share_the_token() {
    let world = World::new(hour(), false).await;
    let more = format!("token-url = \"{}\"\n", world.tokens.url("/token"));
    let config = world.config(&more).replace("auth = \"ci\"\n", "");
    let router = Router::start(&config.replace("gate =", "scope = \"session\"\ngate =")).await;
    router.ready("fake").await;
    for _ in 0..3 {
        let agent = Agent::legacy(&router.address).await;
        let outcome = agent.call("tool", json!({})).await;
        assert_eq!(outcome.text(), Some("fine"), "{outcome:?}");
    }
    assert_eq!(world.asked().len(), 1);
}
