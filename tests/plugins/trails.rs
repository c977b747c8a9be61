//! What stands in the trail of a call after plugins were asked about it, hook by hook.

use std::collections::BTreeMap;
use std::sync::Arc;

use pointsman::call::{Call, Said, Step};
use pointsman::config::{OnLoadFailure, Pipeline, Plugin, PluginScope};
use pointsman::plugin::{Absent, Builds};
use pointsman::policy::{Hook, Policy, Trouble, TroubleKind};
use pointsman::wire::RawJson;
use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::support::*;

/// `PLUGIN HOOK` and what was said.
fn taken(call: &Call) -> Vec<(String, Said)> {
    let told = |step: Step| (format!("{} {}", step.plugin, step.hook), step.said);
    call.trail.take().steps.into_iter().map(told).collect()
}

fn one(call: &Call) -> Said {
    let mut taken = taken(call);
    assert_eq!(taken.len(), 1, "{taken:?}");
    taken.remove(0).1
}

#[tokio::test]
async fn what_route_plugins_say_is_noted_until_one_decides() {
    let narrow = guest(json!({ "do": "narrow", "number": 1 }));
    let deny = guest(json!({ "do": "deny", "text": "no" }));
    let chain = generation(&host(), &[("1", narrow.clone()), ("2", deny), ("3", narrow)])
        .await
        .unwrap();
    let call = call("{}");
    let _ = chain.route(&call, candidates(&["a+", "b+", "c"])).await;
    let chose = Said::Narrow {
        to: vec!["b".into()],
        among: vec![("a".into(), "ready"), ("b".into(), "ready")],
    };
    let denied = Said::Deny {
        code: "test".to_owned(),
        message: "no".to_owned(),
    };
    assert_eq!(
        taken(&call),
        [("1 route".to_owned(), chose), ("2 route".to_owned(), denied)]
    );
    let all: Vec<Arc<str>> = chain.plugins(Hook::Route, &call);
    assert_eq!(all, ["1".into(), "2".into(), "3".into()]);
    // What leaves out nobody who offers it chose nothing.
    let _ = chain.route(&call, candidates(&["a", "b+"])).await;
    assert!(!taken(&call)[0].1.is_decisive());
}

#[tokio::test]
async fn every_hook_of_a_call_leaves_its_answer() {
    let policy = alone(guest(json!({}))).await;
    let ordered = |word: &str, text: &str, number: u64| order(json!({ "do": word, "text": text, "number": number }));
    for (word, text, number, said) in [
        ("pick", "", 1, json!(["pick", 1])),
        ("hold", "", 250, json!(["hold", 250])),
        ("", "", 0, json!(["any", null])),
    ] {
        let call = ordered(word, text, number);
        policy.select(&call, targets(&[0, 0])).await.unwrap();
        let told = match one(&call) {
            Said::Pick {
                replica,
                incarnation: 1,
            } => json!(["pick", replica]),
            Said::Hold(ms) => json!(["hold", ms]),
            Said::Any => json!(["any", null]),
            other => panic!("{other:?}"),
        };
        assert_eq!(told, said);
    }
    let set = ordered("set", "/mark 1", 0);
    let body = || RawJson::from("{}".to_owned());
    policy.transform_request(&set, "work").await.unwrap();
    assert_eq!(one(&set), Said::Edited);
    let set = ordered("set", "/a 1", 0);
    policy.transform_response(&set, "work", body(), false).await.unwrap();
    assert_eq!(one(&set), Said::Edited);
    let nothing = ordered("", "", 0);
    policy.transform_request(&nothing, "work").await.unwrap();
    assert_eq!(one(&nothing), Said::Unchanged);
    let trouble = Arc::new(Trouble {
        kind: TroubleKind::Died,
        why: "killed".to_owned(),
        backend: "work".into(),
        state: "backoff",
        attempts: 1,
        is_read: false,
        ahead: 0,
        eta: None,
    });
    for (word, said) in [
        ("replay-died", Said::Replay),
        ("hold-died", Said::Hold(9)),
        ("", Said::Next),
    ] {
        let call = ordered(word, "", 9);
        policy.settle(&call, Arc::clone(&trouble)).await.unwrap();
        assert_eq!(one(&call), said, "{word}");
    }
    let fail = ordered("fail-died", "", 0);
    policy.settle(&fail, trouble).await.unwrap();
    assert!(one(&fail).is_refusal());
}

#[tokio::test]
async fn faults_say_what_on_fault_made_of_them_and_documents_stay_untold() {
    let fault = |call: &Call| match one(call) {
        Said::Fault { kind, message, open } => (kind, message, open),
        other => panic!("{other:?}"),
    };
    let broken = || order(json!({ "do": "error" }));
    for (plugin, is_open) in [(open(guest(json!({}))), true), (closed(guest(json!({}))), false)] {
        let policy = alone(plugin).await;
        let call = broken();
        assert_eq!(policy.route(&call, candidates(&["a+"])).await.is_ok(), is_open);
        assert_eq!(fault(&call), ("error", "guest a gave up".to_owned(), is_open));
        // A name that stands twice can be a secret, too.
        let twice = super::support::call(
            r#"{"_meta":{"test":{"do":"read","text":"/arguments/k"}},"arguments":{"s3cret":1,"s3cret":2}}"#,
        );
        assert!(policy.route(&twice, candidates(&["a+"])).await.is_err());
        let (kind, message, is_open) = fault(&twice);
        assert!(
            (kind, is_open) == ("params", false) && !message.contains("s3cret"),
            "{message}"
        );
    }
    // Switched off: it is not asked, and that is told.
    let policies = pointsman::config::Policies {
        breaker: 1,
        ..policies()
    };
    let host = pointsman::plugin::Host::new(&policies, compiler()).unwrap();
    let policy = generation(&host, &[("p", open(guest(json!({}))))]).await.unwrap();
    let _ = policy.route(&broken(), candidates(&["a+"])).await;
    let call = broken();
    let _ = policy.route(&call, candidates(&["a+"])).await;
    let (_, message, _) = fault(&call);
    assert!(message.contains("switched off for another"), "{message}");
    let retired = alone(closed(guest(json!({})))).await;
    retired.retire();
    let call = super::support::call("{}");
    let _ = retired
        .transform_response(&call, "work", RawJson::from("{}".to_owned()), false)
        .await;
    assert_eq!(fault(&call).0, "retired");
}

#[tokio::test]
async fn plugins_that_were_not_asked_are_noted_as_such() {
    let scope = PluginScope {
        backends: Some([WildMatch::new("git")].into_iter().collect()),
        ..PluginScope::default()
    };
    let settings = Plugin {
        scope,
        on_load_failure: OnLoadFailure::Closed,
        ..guest(json!({ "do": "deny" }))
    };
    let out = [("p select".to_owned(), Said::OutOfScope)];
    let call = call("{}");
    let policy = alone(settings.clone()).await;
    let _ = policy.select(&call, targets(&[1])).await;
    assert_eq!(taken(&call), out);
    // The same of one that could not be loaded.
    let pipeline = Pipeline::from(Hook::CHAINS.map(|hook| (hook, vec!["p".to_owned()])));
    let absent = Arc::new(Absent::new("p", &settings, "it is broken").unwrap());
    let builds = Builds {
        loaded: BTreeMap::new(),
        absent: BTreeMap::from([("p".to_owned(), absent)]),
    };
    let policy = host().generation_of(7, &pipeline.into(), builds).unwrap();
    let _ = policy.select(&call, targets(&[1])).await;
    assert_eq!(taken(&call), out);
    assert!(policy.route(&call, candidates(&["git+"])).await.is_err());
    let steps = call.trail.take().steps;
    let told: Value = steps[0].to_json();
    assert_eq!((&told["generation"], &told["on_fault"]), (&json!(7), &json!("closed")));
    assert_eq!(told["message"], "it could not be loaded: it is broken");
}
