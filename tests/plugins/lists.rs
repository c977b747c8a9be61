//! What agents see: the default names, chains, and guests that answer badly about a list.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use pointsman::config::Plugin;
use pointsman::plugin::Generation;
use pointsman::policy::{FaultKind, Hook, Listed, Listing, Policy, PolicyFault};
use pointsman::wire::{Kind, RawJson};
use serde_json::{Value, json};

use super::support::*;

async fn shown(generation: &Generation, listing: &Arc<Listing>) -> Result<Vec<String>, PolicyFault> {
    let listing = generation.transform_list(Arc::clone(listing)).await?;
    Ok(names(&listing).into_iter().map(str::to_owned).collect())
}

async fn chain(orders: &[Value]) -> Arc<Generation> {
    let guests: Vec<(String, Plugin)> = orders
        .iter()
        .enumerate()
        .map(|(n, orders)| (format!("p{n}"), closed(guest(orders.clone()))))
        .collect();
    let named: Vec<(&str, Plugin)> = guests.iter().map(|(n, p)| (n.as_str(), p.clone())).collect();
    generation(&host(), &named).await.unwrap()
}

#[tokio::test]
async fn default_names_carry_the_backend_where_the_endpoint_says_so() {
    let default = alone(embedded("default-names", json!({}))).await;
    let (one, two): (&[&[&str]], &[&[&str]]) = (&[&["x", "y"]], &[&["x", "y"], &["x"]]);
    let (plain, prefixed) = (["x", "y", "x"].as_slice(), ["a__x", "a__y", "b__x"].as_slice());
    for (naming, have, wanted) in [
        ("auto", one, &plain[..2]),
        ("auto", two, prefixed),
        ("prefixed", one, &prefixed[..2]),
        ("prefixed", two, prefixed),
        ("plain", one, &plain[..2]),
        ("plain", two, plain),
        ("a word of later", two, prefixed),
    ] {
        assert_eq!(shown(&default, &tools(naming, have)).await.unwrap(), wanted, "{naming}");
    }
    let prompts = Arc::new(Listing {
        kind: Kind::Prompts,
        ..Listing::clone(&tools("auto", two))
    });
    assert_eq!(shown(&default, &prompts).await.unwrap(), prefixed);
    for kind in [Kind::Resources, Kind::Templates] {
        let uris = Arc::new(Listing {
            kind,
            ..Listing::clone(&tools("prefixed", two))
        });
        assert_eq!(shown(&default, &uris).await.unwrap(), plain, "{kind:?}");
    }
}

#[tokio::test]
async fn long_default_names_end_in_a_hash_and_stay_apart() {
    let default = alone(embedded("default-names", json!({}))).await;
    let keys = [
        "x".repeat(61),
        "x".repeat(62),
        format!("{}a", "x".repeat(70)),
        format!("{}b", "x".repeat(70)),
    ];
    let umlauts = "\u{e4}".repeat(61);
    let keys = [&keys[0], &keys[1], &keys[2], &keys[3], &umlauts].map(String::as_str);
    let names = shown(&default, &tools("prefixed", &[&keys])).await.unwrap();
    assert_eq!(names[0], format!("a__{}", keys[0]), "64 characters");
    // The same names as ever: agents remember them.
    assert_eq!(names[1], format!("a__{}_963534d8", "x".repeat(52)));
    assert!(names[1..4].iter().all(|name| name.len() == 64), "{names:?}");
    assert_eq!(names[4].chars().count(), 64);
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), 5);
}

#[tokio::test]
async fn what_is_pending_is_named_like_all_that_it_stands_for() {
    let default = alone(embedded("default-names", json!({}))).await;
    let listing = default.transform_list(tools("auto", &[&["*"], &["x"]])).await.unwrap();
    assert_eq!(names(&listing), ["a__*", "b__x"]);
    assert_eq!(listing.items[0].stands_for("a__status"), Some("status"));
    assert_eq!(listing.items[0].stands_for("b__status"), None);
}

#[tokio::test]
async fn tools_are_hidden_renamed_and_put_in_another_order() {
    let listing = tools("auto", &[&["x", "y"], &["x"]]);
    for (orders, wanted) in [
        (json!({ "do": "hide", "text": "x" }), vec!["y"]),
        (json!({ "do": "hide-at", "text": "here y" }), vec!["x", "x"]),
        (json!({ "do": "hide-at", "text": "there y" }), vec!["x", "y", "x"]),
        (json!({ "do": "hide-where", "text": "/n 1" }), vec!["x", "y"]),
        (json!({ "do": "rename", "text": "y why" }), vec!["x", "why", "x"]),
        (json!({ "do": "one-name", "text": "z" }), vec!["z", "z", "z"]),
        (json!({ "do": "reverse" }), vec!["x", "y", "x"]),
        (json!({ "do": "describe-list" }), vec!["x", "y", "x"]),
    ] {
        let generation = chain(std::slice::from_ref(&orders)).await;
        assert_eq!(shown(&generation, &listing).await.unwrap(), wanted, "{orders}");
    }
    let reversed = chain(&[json!({ "do": "reverse" })]).await;
    let reversed = reversed.transform_list(listing).await.unwrap();
    let whose: Vec<usize> = reversed.items.iter().map(|item| item.backend).collect();
    assert_eq!(whose, [1, 0, 0]);
    assert!(reversed.items[0].raw.as_ref().unwrap().as_str().contains("\"n\":1"));
}

#[tokio::test]
async fn each_plugin_of_a_chain_sees_what_the_one_before_left() {
    let generation = chain(&[
        json!({ "do": "hide", "text": "y" }),
        json!({ "do": "mark" }),
        json!({ "do": "reverse" }),
        json!({ "do": "mark" }),
    ])
    .await;
    assert!(!generation.has_own(""));
    let left = shown(&generation, &tools("auto", &[&["x", "y"], &["z", "*"]]))
        .await
        .unwrap();
    assert_eq!(left, ["*+a+a", "z+a+a", "x+a+a"]);
    let nothing = chain(&[json!({ "do": "hide", "text": "x" }), json!({ "do": "panic" })]).await;
    assert_eq!(
        shown(&nothing, &tools("auto", &[&["x"]])).await.unwrap(),
        [""; 0],
        "nobody is asked about nothing"
    );
}

#[tokio::test]
async fn bad_answers_about_a_list_are_faults_and_end_as_on_fault_says() {
    let listing = tools("auto", &[&["x", "y"]]);
    for (orders, kind, words) in [
        (json!({ "do": "loop" }), FaultKind::Cpu, "CPU"),
        (json!({ "do": "panic" }), FaultKind::Trap, "unreachable"),
        (json!({ "do": "alloc" }), FaultKind::Trap, "memory"),
        (json!({ "do": "error" }), FaultKind::Error, "gave up"),
        (
            json!({ "do": "fail-at", "text": "y" }),
            FaultKind::Error,
            "does not know y",
        ),
        (json!({ "do": "twice" }), FaultKind::Output, "position 0 twice"),
        (json!({ "do": "beyond" }), FaultKind::Output, "position 2 of 2"),
        (json!({ "do": "beyond-read" }), FaultKind::Trap, "no position 2"),
        (
            json!({ "do": "one-name", "text": "" }),
            FaultKind::Output,
            "a name that is none",
        ),
        (
            json!({ "do": "one-name", "text": "a\nb" }),
            FaultKind::Output,
            "a name that is none",
        ),
        (
            json!({ "do": "big", "number": 5_000_000 }),
            FaultKind::Output,
            "output limit",
        ),
    ] {
        let strict = alone(closed(guest(orders.clone()))).await;
        let fault = shown(&strict, &listing).await.unwrap_err();
        assert_eq!(
            (fault.kind, fault.hook),
            (kind, Hook::TransformList),
            "{orders}: {fault}"
        );
        assert!(fault.message.contains(words), "{orders}: {fault}");
        let by_hook = alone(guest(orders.clone())).await;
        assert!(
            shown(&by_hook, &listing).await.is_err(),
            "closed is what it is by itself"
        );
        let forgiving = alone(open(guest(orders.clone()))).await;
        let left = forgiving.transform_list(Arc::clone(&listing)).await.unwrap();
        assert_eq!(names(&left), ["x", "y"], "{orders}");
        assert!(left.skipped, "it is worth another try");
    }
    let tight = Plugin {
        output: 100,
        ..closed(guest(json!({ "do": "mark" })))
    };
    let fault = shown(&*alone(tight).await, &tools("auto", &[&["x"; 60]]))
        .await
        .unwrap_err();
    assert_eq!(fault.kind, FaultKind::Output, "{fault}");
}

#[tokio::test]
async fn uris_stay_what_they_are() {
    let uris = Arc::new(Listing {
        kind: Kind::Resources,
        ..Listing::clone(&tools("auto", &[&["file:///x"]]))
    });
    let renamed = alone(closed(guest(json!({ "do": "rename", "text": "file:///x file:///y" })))).await;
    let fault = shown(&renamed, &uris).await.unwrap_err();
    assert!(fault.message.contains("URIs stay"), "{fault}");
    let hidden = alone(closed(guest(json!({ "do": "hide", "text": "file:///x" })))).await;
    assert_eq!(shown(&hidden, &uris).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_definition_that_can_be_read_in_two_ways_is_an_error_to_its_reader_alone() {
    let item = |key: &str, raw: &str| Listed::new(0, key, RawJson::from(raw.to_owned()));
    let listing = Arc::new(Listing {
        items: vec![
            item("x", r#"{"name":"x","a":1,"a":2}"#),
            item("y", r#"{"name":"y","a":2}"#),
        ],
        ..Listing::clone(&tools("auto", &[&[]]))
    });
    let reading = alone(closed(guest(json!({ "do": "hide-where", "text": "/a 2" })))).await;
    let fault = shown(&reading, &listing).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Error, "the guest's own decision: {fault}");
    assert!(fault.message.contains("duplicate"), "{fault}");
    let others = alone(closed(guest(json!({ "do": "hide", "text": "x" })))).await;
    assert_eq!(shown(&others, &listing).await.unwrap(), ["y"]);
}

#[tokio::test]
async fn a_long_list_has_more_time_and_is_named_in_little() {
    let keys: Vec<String> = (0..1000).map(|n| format!("some_tool_with_a_name_{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let listing = tools("auto", &[&keys[..500], &keys[500..]]);
    // With the limits of the default configuration.
    let default = alone(Plugin {
        wall: Plugin::default().wall,
        ..embedded("default-names", json!({}))
    })
    .await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let began = Instant::now();
        let names = shown(&default, &listing).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(names[999], "b__some_tool_with_a_name_999");
    }
    times.sort();
    println!(
        "1000 tools: {:?} at best, {:?} in the middle, {:?} at worst",
        times[0], times[10], times[19]
    );
}
