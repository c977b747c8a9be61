//! Components of every contract so far, as they were built then: each loads and answers as it did.

use std::path::{Path, PathBuf};

use pointsman::config::Plugin;
use pointsman::policy::{Policy, RouteChoice, Selection};
use serde_json::{Value, json};

use super::support::*;

/// The folders of `tests/golden`, each named after its contract.
fn contracts() -> Vec<PathBuf> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut all: Vec<PathBuf> = std::fs::read_dir(golden).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    assert!(all.iter().any(|path| path.ends_with("0.1.0")));
    all
}

async fn each(component: &str, config: Value, check: impl AsyncFn(&dyn Policy)) {
    let today = embedded(component, config.clone());
    let golden = contracts()
        .into_iter()
        .map(|at| file(at.join(format!("{component}.wasm")), config.clone()));
    let all: Vec<Plugin> = golden.chain([today]).collect();
    assert!(all.len() > 1);
    for plugin in all {
        let generation = alone(plugin).await;
        check(&*generation).await;
    }
}

#[tokio::test]
async fn routes_of_every_contract() {
    each("default-route", json!({}), async |policy| {
        let named = call(r#"{"name":"x","_meta":{"dev.pointsman/backend":"b"}}"#);
        let choice = policy.route(&named, candidates(&["a", "b"])).await.unwrap();
        assert_eq!(choice, RouteChoice::Among(vec![1]));
    })
    .await;
}

#[tokio::test]
async fn selections_of_every_contract() {
    each("least-busy", json!({}), async |policy| {
        let choice = policy.select(&call("{}"), targets(&[3, 1, 2])).await.unwrap();
        assert_eq!(choice, Selection::Pick(1));
    })
    .await;
}

#[tokio::test]
async fn edits_of_every_contract() {
    each("redact", json!({ "keys": ["password"] }), async |policy| {
        let params = call(r#"{"name":"x","arguments":{"password":"p","n": 1.0}}"#);
        let edited = policy.transform_request(&params, "work").await.unwrap().unwrap();
        assert!(
            !edited.as_str().contains("\"p\"") && edited.as_str().contains("1.0"),
            "{}",
            edited.as_str()
        );
    })
    .await;
}

#[tokio::test]
async fn lists_of_every_contract() {
    each("default-names", json!({}), async |policy| {
        let shown = policy.transform_list(tools("auto", &[&["x"], &["y"]])).await.unwrap();
        let names: Vec<&str> = shown.items.iter().map(|item| &*item.name).collect();
        assert_eq!(names, ["a__x", "b__y"]);
    })
    .await;
}
