//! Several plugins on one hook: each sees what the ones before it left.

use std::sync::Arc;

use pointsman::config::Pipeline;
use pointsman::plugin::PipelineError;
use pointsman::policy::{FaultKind, Hook, Policy, RouteChoice, Selection};
use pointsman::wire::{Era, RawJson};
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn route_plugins_see_the_candidates_narrowed_so_far() {
    let names = json!({ "do": "names" });
    let first = embedded("default-route", json!({}));
    let chain = generation(&host(), &[("1", first.clone()), ("2", guest(names.clone()))])
        .await
        .unwrap();
    let RouteChoice::Answer(seen) = chain.route(&call("{}"), candidates(&["a", "b+", "c+"])).await.unwrap() else {
        panic!();
    };
    assert_eq!(seen.as_str(), r#"{"names":"b true ready 0 0,c true ready 0 0"}"#);

    // Positions of the second refer to what it saw.
    let second = guest(json!({ "do": "narrow", "number": 1 }));
    let chain = generation(&host(), &[("1", first), ("2", second)]).await.unwrap();
    let choice = chain.route(&call("{}"), candidates(&["a", "b+", "c+"])).await.unwrap();
    assert_eq!(choice, RouteChoice::Among(vec![2]));
}

#[tokio::test]
async fn deny_redirect_and_answer_end_the_chain() {
    for (orders, expected) in [
        (
            json!({ "do": "deny", "text": "no" }),
            RouteChoice::Deny {
                code: "test".into(),
                message: "no".into(),
            },
        ),
        (
            json!({ "do": "redirect", "text": "there" }),
            RouteChoice::Redirect {
                backend: "there".into(),
                name: None,
            },
        ),
        (
            json!({ "do": "answer", "text": "{\"x\": 1.0}" }),
            RouteChoice::Answer(RawJson::from("{\"x\": 1.0}".to_owned())),
        ),
    ] {
        let chain = generation(&host(), &[("1", guest(orders)), ("2", guest(json!({ "do": "panic" })))])
            .await
            .unwrap();
        assert_eq!(chain.route(&call("{}"), candidates(&["a"])).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn the_first_pick_wins_and_hold_stops() {
    let any = || guest(json!({}));
    let pick = guest(json!({ "do": "pick", "number": 1 }));
    let hold = guest(json!({ "do": "hold", "number": 250 }));
    let newest = guest(json!({ "do": "newest" }));
    for (chain, expected) in [
        (
            vec![("1", any()), ("2", pick.clone()), ("3", hold.clone())],
            Selection::Pick(1),
        ),
        (vec![("1", hold), ("2", pick)], Selection::Hold(250)),
        (vec![("1", any()), ("2", newest)], Selection::Pick(2)),
        (vec![("1", any())], Selection::Any),
    ] {
        let chain = generation(&host(), &chain).await.unwrap();
        assert_eq!(chain.select(&call("{}"), targets(&[0, 0, 0])).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn transforms_see_each_others_work() {
    let set = guest(json!({ "do": "set", "text": "/arguments/mark \"x\"" }));
    let append = guest(json!({ "do": "append", "text": "/arguments/mark" }));
    let plugins = [
        ("1", set),
        ("2", append.clone()),
        ("3", guest(json!({}))),
        ("4", append),
    ];
    let chain = generation(&host(), &plugins).await.unwrap();
    let left = chain
        .transform_request(&call(r#"{"arguments":{ "n":1.0 }}"#), "work")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(left.as_str(), r#"{"arguments":{ "n":1.0,"mark":"x+a+a" }}"#);

    let set = guest(json!({ "do": "set", "text": "/a 2" }));
    let look = guest(json!({ "do": "look" }));
    let chain = generation(&host(), &[("1", set), ("2", look)]).await.unwrap();
    let body = RawJson::from(r#"{"a":1}"#.to_owned());
    let left = chain
        .transform_response(&call("{}"), "work", body, true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(left.as_str(), r#"{"a":2,"seen":"true 7 Some(\"2\")"}"#);
}

#[tokio::test]
async fn a_guest_sees_all_of_a_call() {
    let generation = alone(guest(json!({ "do": "describe" }))).await;
    let text = r#"{"arguments":{"a/b":[1]},"_meta":{"one":{"k":2}}}"#;
    let mut parts = parts(text);
    parts.endpoint = "side".into();
    parts.path_backend = Some("back".into());
    parts.era = Era::Legacy;
    parts.headers = headers(&[("x-one", "h1")]);
    parts.initialize = introduction(&[("x-two", "h2")], r#"{"two":3}"#);
    let RouteChoice::Answer(json) = generation.route(&Arc::new(parts), candidates(&[])).await.unwrap() else {
        panic!();
    };
    let json: serde_json::Value = serde_json::from_str(json.as_str()).unwrap();
    let expected = format!(
        r#"7|tools/call|Some("tool")|side|Some("back")|connection-3|legacy|Some("h1")|Some("{{\"k\":2}}")|Some("h2")|Some("3")|Some("[1]")|{text}|{}"#,
        text.len()
    );
    assert_eq!(json["call"], expected);
}

#[tokio::test]
async fn a_pipeline_that_asks_what_nobody_answers_is_refused() {
    let host = host();
    let loaded = host.load("r", &embedded("least-busy", json!({}))).await.unwrap();
    let pipeline = |plugin: &str| Pipeline::from([(Hook::Route, vec![plugin.to_owned()])]);
    let errors = host
        .generation(1, &pipeline("r").into(), [("r".to_owned(), loaded)].into())
        .err()
        .unwrap();
    assert!(matches!(
        errors[..],
        [PipelineError::NotExported { hook: Hook::Route, .. }]
    ));
    assert!(
        errors[0].to_string().contains("exports lifecycle, select"),
        "{errors:?}"
    );
    let mut all = pipeline("x");
    all.set(Hook::Select, vec!["y".to_owned()]);
    let errors = host.generation(1, &all.into(), [].into()).err().unwrap();
    assert!(matches!(
        errors[..],
        [
            PipelineError::Missing { hook: Hook::Route, .. },
            PipelineError::Missing { hook: Hook::Select, .. }
        ]
    ));
}

#[tokio::test]
async fn a_hook_that_nobody_has_is_not_there() {
    let generation = alone(embedded("least-busy", json!({}))).await;
    let having: Vec<Hook> = Hook::ALL
        .into_iter()
        .filter(|h| generation.has(*h, &call("{}")))
        .collect();
    assert_eq!(having, [Hook::Select]);
}

#[tokio::test]
async fn calls_of_a_retired_generation_meet_on_fault_at_their_response() {
    let host = host();
    let body = || RawJson::from("{}".to_owned());
    let orders = || guest(json!({ "do": "set", "text": "/a" }));
    let strict = generation(&host, &[("strict", closed(orders()))]).await.unwrap();
    let forgiving = generation(&host, &[("forgiving", open(orders()))]).await.unwrap();
    assert!(
        strict
            .transform_response(&call("{}"), "work", body(), false)
            .await
            .unwrap()
            .is_some()
    );
    strict.retire();
    forgiving.retire();
    let fault = strict
        .transform_response(&call("{}"), "work", body(), false)
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Retired);
    assert_eq!(
        forgiving
            .transform_response(&call("{}"), "work", body(), false)
            .await
            .unwrap(),
        None
    );
    // What a call asks before it leaves is answered to the end.
    assert!(strict.transform_request(&call(r#"{"x":1}"#), "work").await.is_ok());
}
