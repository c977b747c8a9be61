//! Static tokens in front of endpoints: the right status and challenge for everybody, and no way around.

use serde_json::{Value, json};

use crate::asking::{ask, call, modern, request};
use crate::support::{Agent, Router, until_async};

const ANN: &str = "ann-0123456789abcdef";
const BOB: &str = "bob-0123456789abcdef";
const CAT: &str = "cat-0123456789abcdef";

const CONFIG: &str = r#"
[listen]
auth = "ci"
[auth.ci]
scopes = ["mcp"]
[auth.ci.tokens.ann]
token = "ann-0123456789abcdef"
scopes = ["mcp", "admin"]
[auth.ci.tokens.bob]
file = "@dir/bob"
scopes = ["mcp"]
[auth.ci.tokens.cat]
# cat-0123456789abcdef
sha256 = "@cat"
[endpoints.admin]
backends = ["demo"]
scopes = ["admin"]
[endpoints.open]
auth = "none"
[backends.demo]
command = "@program"
args = ["demo-server"]
"#;

fn config() -> String {
    let digest = pointsman::config::digest(CAT.as_bytes());
    CONFIG.replace("@cat", &digest.iter().map(|b| format!("{b:02x}")).collect::<String>())
}

async fn router() -> Router {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bob"), format!("{BOB}\n")).unwrap();
    let router = Router::start_in(folder, &config()).await;
    router.ready("demo").await;
    router
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_asks_for_what_it_was_told() {
    let router = router().await;
    for (path, statuses) in [
        ("/mcp", [401, 401, 403, 200, 200]),
        ("/mcp/demo", [401, 401, 403, 200, 200]),
        ("/mcp/admin", [401, 401, 403, 403, 200]),
        ("/mcp/open", [200, 200, 200, 200, 200]),
        ("/mcp/nothing", [401, 401, 403, 404, 404]),
    ] {
        let tokens = [None, Some("wrong-0123456789"), Some(CAT), Some(BOB), Some(ANN)];
        for (token, status) in tokens.into_iter().zip(statuses) {
            let reply = call(&router, path, token, "echo", json!({ "text": "hi" })).await;
            assert_eq!(reply.status, status, "{path} {token:?}: {reply:?}");
            if status == 200 {
                assert_eq!(reply.text(), "hi");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenges_say_what_is_missing_and_where_to_read_on() {
    let router = router().await;
    let metadata =
        |path: &str| format!("resource_metadata=\"http://localhost/.well-known/oauth-protected-resource{path}\"");
    let error = |error: &str, why: &str| format!("error=\"{error}\", error_description=\"{why}\", ");
    let body = request("tools/list", json!({}));
    let twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    let one = |value: &'static str| vec![("authorization", value)];
    let in_header = "the header Authorization holds no token";
    for (path, headers, status, challenge) in [
        ("/mcp", vec![], 401, String::new()),
        ("/mcp", one("Basic dTpw"), 401, String::new()),
        ("/mcp", one("Bearer"), 400, error("invalid_request", in_header)),
        ("/mcp", one("Bearer a b"), 400, error("invalid_request", in_header)),
        (
            "/mcp",
            twice.to_vec(),
            400,
            error("invalid_request", "there is more than one header Authorization"),
        ),
        (
            "/mcp?access_token=ann-0123456789abcdef",
            vec![],
            400,
            error(
                "invalid_request",
                "a token belongs into the header Authorization, not into the URL",
            ),
        ),
        (
            "/mcp",
            one("Bearer ann-0123456789abcdee"),
            401,
            error("invalid_token", "it is not known here"),
        ),
        (
            "/mcp",
            one("Bearer cat-0123456789abcdef"),
            403,
            error("insufficient_scope", "the token needs the scopes: mcp"),
        ),
    ] {
        let reply = ask(&router, "POST", path, &modern("tools/list", "", &headers), &body).await;
        let expected = format!("Bearer {challenge}{}, scope=\"mcp\"", metadata("/mcp"));
        assert_eq!(reply.refusal(), (status, expected.as_str()), "{path} {headers:?}");
        assert_eq!(reply.body["id"], Value::Null);
    }
    let admin = call(&router, "/mcp/admin", Some(BOB), "echo", json!({})).await;
    let why = error("insufficient_scope", "the token needs the scopes: mcp admin");
    let expected = format!("Bearer {why}{}, scope=\"mcp admin\"", metadata("/mcp/admin"));
    assert_eq!(admin.refusal(), (403, expected.as_str()));
    // What belongs to no message asks too.
    for method in ["GET", "DELETE"] {
        let headers = [("mcp-session-id", "x"), ("accept", "text/event-stream")];
        assert_eq!(ask(&router, method, "/mcp", &headers, "").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_probes_are_for_everybody_and_the_status_is_not() {
    let router = router().await;
    let get = async |path: &str, headers: &[(&str, &str)]| ask(&router, "GET", path, headers, "").await;
    let place = "/.well-known/oauth-protected-resource";
    for (path, resource, scopes) in [
        ("", "/mcp", json!(["mcp"])),
        ("/mcp", "/mcp", json!(["mcp"])),
        ("/mcp/demo", "/mcp/demo", json!(["mcp"])),
        ("/mcp/admin", "/mcp/admin", json!(["mcp", "admin"])),
    ] {
        let reply = get(&format!("{place}{path}"), &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        let expected = json!({ "resource": format!("http://localhost{resource}"), "scopes_supported": scopes,
            "bearer_methods_supported": ["header"], "resource_name": "Pointsman" });
        assert_eq!(reply.body, expected);
    }
    for path in ["/mcp/open", "/mcp/nothing", "/other", "x"] {
        assert_eq!(get(&format!("{place}{path}"), &[]).await.status, 404, "{path}");
    }
    assert_eq!(ask(&router, "POST", place, &[], "").await.status, 405);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(path, &[]).await.status, 200);
    }
    assert_eq!(get("/status", &[]).await.status, 401);
    let bearer = format!("Bearer {BOB}");
    assert_eq!(get("/status", &[("authorization", &bearer)]).await.status, 200);
    // A page of another site learns nothing, and cannot use a token either.
    for path in ["/mcp", "/status", place] {
        let headers = [("origin", "http://evil.example"), ("authorization", bearer.as_str())];
        assert_eq!(get(path, &headers).await.status, 403, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_change_while_the_router_runs() {
    let router = router().await;
    let listed = async |token: &str| {
        call(&router, "/mcp", Some(token), "echo", json!({ "text": "x" }))
            .await
            .status
    };
    assert_eq!(listed(BOB).await, 200);
    let new = "new-0123456789abcdef";
    // Moved into place, as whatever keeps secrets does.
    std::fs::write(router.path().join("bob.new"), new).unwrap();
    std::fs::rename(router.path().join("bob.new"), router.path().join("bob")).unwrap();
    until_async("the new token", async || (listed(new).await == 200).then_some(())).await;
    assert_eq!(listed(BOB).await, 401);
    assert_eq!(listed(ANN).await, 200);
    // Nobody is asked any more.
    router.configure("[backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n");
    until_async("the open door", async || {
        let reply = call(&router, "/mcp", None, "echo", json!({ "text": "x" })).await;
        (reply.status == 200).then_some(())
    })
    .await;
    assert_eq!(router.status()["needs_restart"], json!([]));
    assert_eq!(
        Agent::modern(&router.address)
            .call("echo", json!({ "text": "y" }))
            .await
            .text(),
        Some("y")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_removed_asks_to_its_end() {
    let config = |more: &str| {
        format!(
            "[auth.ci.tokens]\nann = {{ token = \"{ANN}\" }}\n[endpoints.open]\nauth = \"none\"\n{more}\
             [backends.demo]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n"
        )
    };
    let router = Router::start(&config("[endpoints.closed]\nauth = \"ci\"\n")).await;
    router.ready("demo").await;
    // Many that are added, so that it takes a while.
    let others: String = (0..400).map(|n| format!("[endpoints.e{n}]\n")).collect();
    router.configure(&config(&others));
    let asking = async || {
        loop {
            let reply = call(&router, "/mcp/closed", None, "echo", json!({ "text": "x" })).await;
            match reply.status {
                401 => {}
                404 => return,
                _ => panic!("{reply:?}"),
            }
        }
    };
    crate::support::in_time("its end", async { tokio::join!(asking(), asking(), asking()) }).await;
}
