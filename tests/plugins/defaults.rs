//! The default components meet their contracts, the committed ones and those rebuilt from source alike.

use pointsman::config::Plugin;
use pointsman::plugin::Stage;
use pointsman::policy::{Policy, RouteChoice, Selection};
use pointsman::wire::RawJson;
use serde_json::{Value, json};

use super::support::*;

/// The committed component, and the one rebuilt from source.
fn both(name: &str, config: Value) -> [Plugin; 2] {
    [
        embedded(name, config.clone()),
        file(built(&format!("rebuilt/{name}.wasm")), config),
    ]
}

fn raw(text: &str) -> RawJson {
    RawJson::from(text.to_owned())
}

#[test]
fn the_configuration_knows_every_embedded_component() {
    for name in pointsman::config::EMBEDDED {
        assert!(pointsman::plugin::embedded(name).is_some(), "{name}");
    }
    let built = std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/dist")).unwrap();
    let built = built.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "wasm"));
    assert_eq!(built.count(), pointsman::config::EMBEDDED.len());
}

#[tokio::test]
async fn default_route_follows_the_nearest_name() {
    for plugin in both("default-route", json!({})) {
        let generation = alone(plugin).await;
        let among = candidates(&["a", "b", "c"]);
        let mut parts = parts(r#"{"_meta":{"dev.pointsman/backend":"c"}}"#);
        parts.initialize = introduction(&[("x-pointsman-backend", "a")], r#"{"dev.pointsman/backend":"b"}"#);
        let plain = r#"{"name":"tool"}"#;
        let route = async |parts| {
            let call = std::sync::Arc::new(parts);
            generation.route(&call, among.clone()).await.unwrap()
        };

        // From the nearest to the farthest, each time without the one before.
        parts.path_backend = Some("b".into());
        parts.headers = headers(&[("x-pointsman-backend", "a")]);
        let again = pointsman::call::Call::clone;
        assert_eq!(route(again(&parts)).await, RouteChoice::Among(vec![1]));
        parts.path_backend = None;
        assert_eq!(route(again(&parts)).await, RouteChoice::Among(vec![0]));
        parts.headers.clear();
        assert_eq!(route(again(&parts)).await, RouteChoice::Among(vec![2]));
        parts.params = raw(plain).try_into().unwrap();
        assert_eq!(route(again(&parts)).await, RouteChoice::Among(vec![0]));
        parts.initialize = introduction(&[], r#"{"dev.pointsman/backend":"b"}"#);
        assert_eq!(route(again(&parts)).await, RouteChoice::Among(vec![1]));
        parts.initialize = None;
        assert_eq!(route(again(&parts)).await, RouteChoice::Among(vec![0, 1, 2]));
    }
}

#[tokio::test]
async fn default_route_denies_a_name_that_is_no_candidate() {
    for plugin in both("default-route", json!({})) {
        let generation = alone(plugin).await;
        for meta in [r#""x""#, "7", r#"{"a":1}"#] {
            let call = call(&format!(r#"{{"_meta":{{"dev.pointsman/backend":{meta}}}}}"#));
            let RouteChoice::Deny { code, message } = generation.route(&call, candidates(&["a", "b"])).await.unwrap()
            else {
                panic!("{meta}");
            };
            assert_eq!(code, "unknown-backend");
            assert!(message.ends_with("there is: a, b"), "{message}");
        }
    }
}

#[tokio::test]
async fn default_route_narrows_to_those_that_offer_the_tool() {
    for plugin in both("default-route", json!({})) {
        let generation = alone(plugin).await;
        for (names, kept) in [
            (&["a", "b+", "c+"][..], &[1, 2][..]),
            (&["a", "b"], &[0, 1]),
            (&["a+"], &[0]),
            (&[], &[]),
        ] {
            let choice = generation.route(&call("{}"), candidates(names)).await.unwrap();
            assert_eq!(choice, RouteChoice::Among(kept.to_vec()), "{names:?}");
        }
    }
}

#[tokio::test]
async fn default_route_takes_another_header_and_no_unknown_key() {
    for plugin in both("default-route", json!({ "header": "X-Mine" })) {
        let generation = alone(plugin).await;
        let mut parts = parts("{}");
        parts.headers = headers(&[("x-mine", "b"), ("x-pointsman-backend", "a")]);
        let call = std::sync::Arc::new(parts);
        let choice = generation.route(&call, candidates(&["a", "b"])).await.unwrap();
        assert_eq!(choice, RouteChoice::Among(vec![1]));
    }
    for (config, word) in [
        (json!({ "heder": "x" }), "`heder`"),
        (json!({ "header": 1 }), "`header`"),
    ] {
        let error = generation(&host(), &[("p", embedded("default-route", config))])
            .await
            .err()
            .unwrap();
        assert_eq!(error.stage(), Stage::Probe);
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn least_busy_picks_the_fewest_in_flight_and_equals_take_turns() {
    for plugin in both("least-busy", json!({})) {
        let generation = alone(plugin).await;
        let select = async |id: u64, loads: &[u32]| {
            let mut parts = parts("{}");
            parts.id = id;
            let call = std::sync::Arc::new(parts);
            generation.select(&call, targets(loads)).await.unwrap()
        };
        assert_eq!(select(1, &[3, 1, 2]).await, Selection::Pick(1));
        assert_eq!(select(1, &[]).await, Selection::Any);
        let mut turns = Vec::new();
        for id in 0..4 {
            turns.push(select(id, &[5, 0, 9, 0]).await);
        }
        assert_eq!(turns, [1, 3, 1, 3].map(Selection::Pick));
    }
    let error = generation(&host(), &[("p", embedded("least-busy", json!({ "a": 1 })))])
        .await
        .err()
        .unwrap();
    assert_eq!(error.stage(), Stage::Probe);
}

fn redact() -> [Plugin; 2] {
    both(
        "redact",
        json!({ "keys": ["password", "Token"], "prefixes": ["sk-", "ghp_"] }),
    )
}

#[tokio::test]
async fn redact_masks_arguments_and_leaves_every_other_byte() {
    for plugin in redact() {
        let generation = alone(plugin).await;
        let params = r#"{"name":"sk-tool", "arguments": {"PASSWORD": {"a" : 1}, "n": 1.00,"a/b~c":["use ghp_1, now", "x"],
            "deep":[[{"token":null,"text":"\u0073k-9"}]] }, "_meta":{"token":"sk-1"}}"#;
        let left = generation
            .transform_request(&call(params), "work")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            left.as_str(),
            r#"{"name":"sk-tool", "arguments": {"PASSWORD": "[redacted]", "n": 1.00,"a/b~c":["use [redacted], now", "x"],
            "deep":[[{"token":"[redacted]","text":"[redacted]"}]] }, "_meta":{"token":"sk-1"}}"#
        );
        for clean in [
            r#"{"name":"x"}"#,
            r#"{"arguments":{"a":"task-1"}}"#,
            r#"{"arguments":7}"#,
        ] {
            assert_eq!(generation.transform_request(&call(clean), "work").await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn redact_masks_results_and_errors() {
    for plugin in redact() {
        let generation = alone(plugin).await;
        for is_error in [false, true] {
            let body = raw(r#"{"content":[{"type":"text","text":"it is sk-7"}],"Password":"p","ok":true}"#);
            let left = generation
                .transform_response(&call("{}"), "work", body, is_error)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                left.as_str(),
                r#"{"content":[{"type":"text","text":"it is [redacted]"}],"Password":"[redacted]","ok":true}"#
            );
            let clean = generation
                .transform_response(&call("{}"), "work", raw(r#"{"a":1}"#), is_error)
                .await
                .unwrap();
            assert_eq!(clean, None);
        }
    }
}

#[tokio::test]
async fn a_redactor_that_cannot_read_a_document_does_not_let_it_pass() {
    for plugin in redact() {
        // Not even where faults are forgiven.
        let generation = alone(open(plugin)).await;
        let twice = call(r#"{"arguments":{"password":"a","password":"b"}}"#);
        let fault = generation.transform_request(&twice, "work").await.unwrap_err();
        assert!(fault.message.contains("duplicate key"), "{fault}");
        let body = raw(r#"{"a":{"k":1,"k":2}}"#);
        assert!(
            generation
                .transform_response(&call("{}"), "work", body, false)
                .await
                .is_err()
        );
    }
}

#[tokio::test]
async fn the_defaults_import_nothing_but_the_contract() {
    let host = host();
    for (name, config) in [
        ("default-names", json!({})),
        ("default-route", json!({})),
        ("least-busy", json!({})),
        ("redact", json!({ "keys": ["k"] })),
    ] {
        let loaded = host.load(name, &embedded(name, config)).await.unwrap();
        assert!(
            loaded.imports().iter().all(|i| i == "pointsman:policy/types@0.1.1"),
            "{:?}",
            loaded.imports()
        );
        assert!(pointsman::plugin::embedded(name).unwrap().len() < 80_000);
    }
}
