//! What is kept of a call, and what is not; and a sample for the tests of what keeps it.

use super::*;
use crate::call::{Step, Subject, Trail};
use crate::policy::NoPolicy;
use crate::wire::{Era, RawJson};

/// A trace of call `call` in which plugin `guard` did as the word says, after `first` had no opinion.
pub(in crate::router) fn sample(call: u64, word: &str) -> Trace {
    let fault = |open| Said::Fault {
        kind: "cpu",
        message: "computed longer than its CPU budget".to_owned(),
        open,
    };
    let said = match word {
        "deny" => Said::Deny {
            code: "no-drop".to_owned(),
            message: "not here".to_owned(),
        },
        "redirect" => Said::Redirect {
            backend: "db-next".to_owned(),
            name: None,
            among: vec![("db".into(), "ready")],
        },
        "closed" => fault(false),
        "open" => fault(true),
        _ => Said::Next,
    };
    let step = |plugin: &str, said| Step {
        generation: 4,
        hook: "route",
        plugin: plugin.into(),
        said,
        took: Duration::from_micros(31),
        superseded: false,
    };
    let trail = Trail::default();
    trail.add(step("first", Said::Next));
    trail.add(step("guard", said));
    let notes = trail.take();
    let subject = Subject {
        kind: Kind::Tools,
        key: "db__drop_table".to_owned(),
    };
    let call = Call {
        id: call,
        method: "tools/call".into(),
        subject: Some(subject),
        endpoint: "".into(),
        path_backend: None,
        agent: AgentKey::Session(3),
        principal: None,
        era: Era::Legacy,
        headers: http::HeaderMap::new(),
        initialize: None,
        roots: None,
        params: RawJson::from("{}".to_owned()).try_into().unwrap(),
        trail,
    };
    let ended = (Outcome::cancelled(), Duration::from_micros(90));
    Trace::new(&call, notes, ended, false, &NoPolicy)
}

#[test]
fn of_a_uri_nothing_is_kept_that_can_be_a_secret() {
    for (uri, kept) in [
        ("https://ann:pw@host/a/b?token=x#y", "https://host/a/b"),
        ("https://host?token=x", "https://host"),
        ("postgres://ann:a/b?c#d@db/t", "postgres://db/t"),
        ("postgres:ann:pw@db/t", "postgres:db/t"),
        ("file:///a@b/c", "file:///a@b/c"),
        ("urn:x:y?z", "urn:x:y"),
    ] {
        assert_eq!(shown(Kind::Resources, uri), kept);
    }
    assert_eq!(shown(Kind::Tools, "what?"), "what?");
}

#[test]
fn words_about_what_the_agent_sent_are_not_kept() {
    let told = |reason: Reason| Outcome::of(&Err(reason.into())).message;
    assert_eq!(told(Reason::InvalidParams("key \"secret\"".to_owned())), None);
    assert_eq!(told(Reason::Refused("a page".to_owned())), None);
    assert!(told(Reason::HoldDeadline).unwrap().contains("not ready"));
}

#[test]
fn a_policy_that_chose_none_of_several_is_a_policy_matter() {
    let outcome = Outcome::of(&Err(Reason::Ambiguous(vec!["a".to_owned()]).into()));
    assert!(outcome.is_of_policy());
    assert!(!Outcome::of(&Err(Reason::HoldDeadline.into())).is_of_policy());
}

#[test]
fn a_trace_is_one_object() {
    let mut trace = sample(7, "deny").to_json();
    assert!(trace["began_ms"].as_u64().unwrap() > 0);
    trace["began_ms"] = 0.into();
    insta::assert_snapshot!(format!("{trace:#}"), @r#"
    {
      "agent": "session-3",
      "began_ms": 0,
      "call": 7,
      "endpoint": "/mcp",
      "held_ms": 0,
      "method": "tools/call",
      "name": "db__drop_table",
      "not_asked": [],
      "outcome": {
        "backend": null,
        "code": null,
        "delivery": null,
        "incarnation": null,
        "is": "cancelled",
        "message": null,
        "replica": null
      },
      "path_backend": null,
      "pinned": false,
      "steps": [
        {
          "decided": false,
          "decision": "next",
          "generation": 4,
          "hook": "route",
          "plugin": "first",
          "took_us": 31
        },
        {
          "code": "no-drop",
          "decided": true,
          "decision": "deny",
          "generation": 4,
          "hook": "route",
          "message": "not here",
          "plugin": "guard",
          "took_us": 31
        }
      ],
      "steps_left_out": 0,
      "took_us": 90
    }
    "#);
}
