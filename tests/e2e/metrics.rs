//! `/metrics`: the router's own numbers and those of a plugin, on the port where agents are.

use serde_json::json;

use crate::support::http::Http;
use crate::support::{Agent, Router, in_time};

#[tokio::test]
async fn the_page_holds_the_routers_numbers_and_the_plugins() {
    let guest = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/target/guests/reach.wasm");
    let config = format!(
        "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\"]\nlabels = {{ tier = \"gpu\" }}\n\
         [plugins.reach]\nfile = {guest:?}\n[plugins.reach.grants]\n\
         clock = true\nrandom = true\nkv = true\nmetrics = true\ndirectory = true\n\
         http = {{ allow = [\"https://nowhere.example\"] }}\nsecrets.x = {{ value = \"y\" }}\n\
         [pipeline]\nroute = [\"reach\", \"default-route\"]\n"
    );
    let router = Router::start(&config).await;
    router.ready("work").await;
    let orders = json!([
        { "do": "count", "key": "seen", "labels": "tool=echo", "by": 3 },
        { "do": "backends" },
    ]);
    let params = json!({ "name": "echo", "arguments": {}, "_meta": { "test": orders } });
    let told = Agent::modern(&router.address).request("tools/call", params).await;
    assert_eq!(
        told.body.unwrap()["answers"][1],
        "work Some(\"ready\") Some(\"gpu\") 1 1 0 0"
    );

    let mut http = Http::connect(&router.address).await;
    http.send("GET", "/metrics", &[], "").await;
    in_time("the head", http.head()).await.unwrap();
    assert_eq!(http.status, 200);
    assert!(
        http.header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    let page = http.body().await.unwrap();
    for line in [
        "pointsman_backend_state{backend=\"work\",state=\"ready\"} 1\n",
        "pointsman_backend_state{backend=\"work\",state=\"crash-loop\"} 0\n",
        "pointsman_target_incarnation{backend=\"work\",replica=\"0\"} 1\n",
        "pointsman_policy_faults_total{plugin=\"reach\"} 0\n",
        "pointsman_plugin_seen_total{plugin=\"reach\",tool=\"echo\"} 3\n",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    assert!(!page.contains(" {"), "no process speaks here: {page}");
}
