//! Which calls a plugin is asked about: every hook, and what becomes of calls that no plugin is asked about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pointsman::call::{Call, Principal};
use pointsman::config::{Patterns, Plugin, PluginScope};
use pointsman::plugin::{Absent, Builds, Generation};
use pointsman::policy::{Event, Hook, Policy, RouteChoice, Trouble, TroubleKind};
use pointsman::wire::RawJson;
use serde_json::json;
use wildmatch::WildMatch;

use super::support::*;

fn patterns(texts: &[&str]) -> Option<Patterns> {
    Some(texts.iter().map(|text| WildMatch::new(text)).collect())
}

/// A plugin that refuses whatever it is asked about.
async fn refusing(scope: PluginScope) -> Arc<Generation> {
    let plugin = closed(guest(json!({ "do": "error" })));
    alone(Plugin { scope, ..plugin }).await
}

fn backends(texts: &[&str]) -> PluginScope {
    PluginScope {
        backends: patterns(texts),
        ..PluginScope::default()
    }
}

fn trouble(backend: &str) -> Arc<Trouble> {
    Arc::new(Trouble {
        kind: TroubleKind::Died,
        why: "killed".to_owned(),
        backend: backend.into(),
        state: "backoff",
        attempts: 1,
        is_read: false,
        ahead: 0,
        eta: None,
    })
}

fn target(backend: &str, state: &str) -> Event {
    Event::target(backend, 0, 1, state)
}

#[tokio::test]
async fn a_scope_of_backends_counts_for_every_hook() {
    let body = || RawJson::from("{}".to_owned());
    let call = call("{}");
    for (pattern, asked) in [("w?rk", true), ("*", true), ("git*", false), ("wor", false)] {
        let policy = refusing(backends(&["other", pattern])).await;
        assert_eq!(
            policy.select(&call, targets(&[1, 2])).await.is_err(),
            asked,
            "{pattern}"
        );
        assert_eq!(
            policy.transform_request(&call, "work").await.is_err(),
            asked,
            "{pattern}"
        );
        let response = policy.transform_response(&call, "work", body(), false).await;
        assert_eq!(response.is_err(), asked, "{pattern}");
        assert_eq!(policy.settle(&call, trouble("work")).await.is_err(), asked, "{pattern}");
        // Of several candidates, and of the backends of an endpoint, any.
        let route = policy.route(&call, candidates(&["none", "work+"])).await;
        assert_eq!(route.is_err(), asked, "{pattern}");
    }
    for (pattern, asked) in [("b", true), ("[ab]", false), ("?", true), ("c", false)] {
        let policy = refusing(backends(&[pattern])).await;
        let list = policy.transform_list(tools("plain", &[&["x"], &["y"]])).await;
        assert_eq!(list.is_err(), asked, "{pattern}");
    }
    let nobody = refusing(backends(&[])).await;
    assert!(nobody.transform_request(&call, "work").await.is_ok());
}

#[tokio::test]
async fn tools_and_agents_count_for_calls_and_all_that_is_given_must_fit() {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    let from = |pairs: &[(&str, &str)]| {
        let principal = Principal::new("people", "ann".to_owned(), Vec::new(), labels(pairs));
        Arc::new(Call {
            principal: Some(Arc::new(principal)),
            ..parts("{}")
        })
    };
    let agents: BTreeMap<_, _> = [
        ("team".to_owned(), WildMatch::new("plat*")),
        ("role".to_owned(), WildMatch::new("*")),
    ]
    .into();
    let scope = PluginScope {
        backends: patterns(&["work"]),
        tools: patterns(&["to*"]),
        agents,
    };
    let policy = refusing(scope.clone()).await;
    let asked = async |call: &Arc<Call>, backend| policy.transform_request(call, backend).await.is_err();
    let full = from(&[("team", "platform"), ("role", "")]);
    assert!(asked(&full, "work").await);
    assert!(!asked(&full, "other").await);
    assert!(!asked(&from(&[("team", "platform")]), "work").await);
    assert!(!asked(&from(&[("team", "web"), ("role", "x")]), "work").await);
    assert!(!asked(&call("{}"), "work").await, "nobody knows who that is");
    let mut other = Call::clone(&full);
    other.subject.as_mut().unwrap().key = "a tool".to_owned();
    assert!(!asked(&Arc::new(other.clone()), "work").await);
    other.subject = None;
    assert!(!asked(&Arc::new(other), "work").await, "it is no call of a tool");
    // Lists are of no call: the backends count alone.
    let all_but_backends = PluginScope {
        backends: None,
        ..scope
    };
    let list = refusing(all_but_backends)
        .await
        .transform_list(tools("plain", &[&["x"]]))
        .await;
    assert!(list.is_err());
}

#[tokio::test]
async fn a_call_that_nobody_is_asked_about_goes_where_it_is_offered() {
    let policy = refusing(backends(&["elsewhere"])).await;
    let route = async |names: &[&str]| policy.route(&call("{}"), candidates(names)).await.unwrap();
    assert_eq!(route(&["a", "b+", "c"]).await, RouteChoice::Among(vec![1]));
    assert_eq!(route(&["a"]).await, RouteChoice::Among(vec![0]));
    assert_eq!(route(&["a", "b"]).await, RouteChoice::Among(vec![]));
}

#[tokio::test]
async fn of_events_a_plugin_hears_those_of_its_backends() {
    let policy = refusing(backends(&["git"])).await;
    policy.tell(target("work", "ready"), None);
    policy.tell(target("work", "ready"), Some(&parts("{}")));
    let heard = async |least: u64| {
        let begin = tokio::time::Instant::now();
        while policy.status()[0].calls < least {
            assert!(begin.elapsed() < Duration::from_secs(30), "it hears of nothing");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        policy.status()[0].calls
    };
    assert_eq!(policy.status()[0].calls, 0);
    policy.tell(target("git", "ready"), None);
    // One call brings all that waited: what was not for it would have come with it.
    assert_eq!(heard(1).await, 1);
    policy.tell(Event::reload(2, &BTreeMap::new()), None);
    heard(2).await;
}

#[tokio::test]
async fn what_stands_in_for_a_plugin_has_its_scope() {
    let settings = |word: &str| Plugin {
        scope: backends(&["git"]),
        on_load_failure: match word {
            "closed" => pointsman::config::OnLoadFailure::Closed,
            _ => pointsman::config::OnLoadFailure::Open,
        },
        ..Plugin::default()
    };
    let pipeline: pointsman::config::Pipelines =
        pointsman::config::Pipeline::from(Hook::CHAINS.map(|hook| (hook, vec!["p".to_owned()]))).into();
    let generation = |word| {
        let absent = Absent::new("p", &settings(word), "it is broken").unwrap();
        let absent = BTreeMap::from([("p".to_owned(), Arc::new(absent))]);
        let loaded = BTreeMap::new();
        host().generation_of(1, &pipeline, Builds { loaded, absent }).unwrap()
    };
    let strict = generation("closed");
    let fault = strict.transform_request(&call("{}"), "git").await.unwrap_err();
    assert!(
        fault.to_string().contains("it could not be loaded: it is broken"),
        "{fault}"
    );
    assert!(strict.transform_request(&call("{}"), "work").await.is_ok());
    let forgiving = generation("open");
    assert!(forgiving.transform_request(&call("{}"), "git").await.is_ok());
    assert!(!forgiving.has(Hook::Route, &call("{}")));
    let strictest = Plugin {
        on_load_failure: pointsman::config::OnLoadFailure::RefuseStart,
        ..Plugin::default()
    };
    assert!(Absent::new("p", &strictest, "why").is_none());
}
