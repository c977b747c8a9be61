//! What people see of traced calls.

use serde_json::{Value, json};

use super::*;

fn step(hook: &str, plugin: &str, us: u64, said: Value) -> Value {
    let mut step = json!({ "hook": hook, "plugin": plugin, "generation": 4, "took_us": us, "decided": false });
    for (key, value) in said.as_object().unwrap() {
        step[key] = value.clone();
    }
    step
}

fn call(number: u64, steps: &[Value], unasked: &[(&str, &str)], outcome: Value) -> Value {
    let unasked: Vec<Value> = (unasked.iter())
        .map(|(hook, plugin)| json!({ "hook": hook, "plugin": plugin }))
        .collect();
    json!({
        "call": number, "began_ms": 1_790_000_000_123_u64, "took_us": 412, "held_ms": 0, "endpoint": "/mcp",
        "path_backend": null, "agent": "session-3", "method": "tools/call", "name": "db__drop_table", "pinned": false,
        "steps": steps, "steps_left_out": 0, "not_asked": unasked, "outcome": outcome,
    })
}

fn denied() -> Value {
    let deny = json!({ "decision": "deny", "code": "no-drop", "decided": true,
        "message": "tables are dropped by the platform team alone" });
    call(
        41,
        &[
            step(
                "route",
                "default-route",
                31,
                json!({ "decision": "narrow", "to": ["db"], "among": [] }),
            ),
            step("route", "night", 0, json!({ "decision": "out-of-scope" })),
            step("route", "guard", 45, deny),
        ],
        &[
            ("route", "late"),
            ("select", "least-busy"),
            ("transform-request", "redact"),
        ],
        json!({ "is": "failed", "code": 7008, "delivery": "rejected",
            "message": "denied by policy: tables are dropped by the platform team alone" }),
    )
}

fn redirected() -> Value {
    let redirect = json!({ "decision": "redirect", "backend": "db-next", "name": "drop_table_v2", "decided": true,
        "among": [{ "backend": "db", "state": "backoff" }] });
    call(
        42,
        &[
            step("route", "canary", 52, redirect),
            step(
                "select",
                "least-busy",
                12,
                json!({ "decision": "pick", "replica": 0, "incarnation": 3 }),
            ),
            step(
                "transform-response",
                "redact",
                1340,
                json!({ "decision": "edited", "decided": true }),
            ),
        ],
        &[("route", "default-route")],
        json!({ "is": "result", "backend": "db-next", "replica": 0, "incarnation": 3 }),
    )
}

fn answer(calls: &[Value], kept: u64) -> Value {
    json!({ "calls": calls, "number": 9, "missed": false, "fitting": kept, "kept": kept, "most": 256, "all_for_s": null })
}

#[test]
fn a_denied_and_a_redirected_call_fit_on_one_screen() {
    let page = page(&answer(&[denied(), redirected()], 17), View::Screen);
    assert!(page.lines().count() <= 23, "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
    insta::assert_snapshot!(page, @r#"
    call 41  tools/call db__drop_table                                  14:13:20.123
      DENIED by guard in route: no-drop, "tables are dropped by the platform team
        alone"
      error 7008, delivery rejected, after 412 µs
      of session-3 at /mcp, generation 4
        route  default-route     31 µs  narrowed to db
               night                    not asked: the call is out of its scope
      >        guard             45 µs  denied: no-drop
      not asked any more: late (route), least-busy (select), redact
        (transform-request)

    call 42  tools/call db__drop_table                                  14:13:20.123
      REDIRECTED by canary in route to db-next as drop_table_v2; offered by db
        (backoff)
      result from db-next (target 0, incarnation 3), after 412 µs
      of session-3 at /mcp, generation 4
      > route               canary         52 µs  redirected to db-next as drop_tab…
        select              least-busy     12 µs  picked target 0, incarnation 3
      > transform-response  redact        1.3 ms  edited
      not asked any more: default-route (route)

    2 of 17 calls; --last N shows more of them, --call NUMBER all of one
    "#);
}

#[test]
fn as_many_as_fit_are_shown_and_the_newest_always_is() {
    let many = vec![denied(); 10];
    let screen = page(&answer(&many, 10), View::Screen);
    assert_eq!(screen.matches("call 41 ").count(), 2, "{screen}");
    assert!(screen.ends_with("2 of 10 calls; --last N shows more of them, --call NUMBER all of one\n"));
    let several = page(&answer(&many, 10), View::Several);
    assert_eq!(several.matches("call 41 ").count(), 10);
    let steps = vec![step("select", "a", 1, json!({ "decision": "any" })); 1];
    let mut long = call(7, &steps, &[], json!({ "is": "cancelled" }));
    let other = |n: usize| step("select", &format!("plugin-{n}"), 1, json!({ "decision": "any" }));
    long["steps"] = (0..30).map(other).collect();
    let screen = page(&answer(&[long.clone()], 1), View::Screen);
    assert!(
        screen.lines().count() <= 23 && screen.contains("20 more: --call 7 shows them"),
        "{screen}"
    );
    assert_eq!(page(&answer(&[long], 1), View::Whole).matches("plugin-").count(), 30);
}

#[test]
fn each_kind_of_decision_has_its_words() {
    let fault = |on: &str| {
        json!({ "decision": "fault", "kind": "cpu", "message": "computed longer than its CPU budget", "on_fault": on,
            "decided": true })
    };
    let result = || json!({ "is": "result", "backend": "db", "replica": 0, "incarnation": 1 });
    let failed =
        |code: i64, message: &str| json!({ "is": "failed", "code": code, "message": message, "delivery": "not_sent" });
    let narrow = json!({ "decision": "narrow", "to": ["db-next"], "decided": true,
        "among": [{ "backend": "db", "state": "backoff" }, { "backend": "db-next", "state": "ready" }] });
    let several = "several backends could take this call (a, b) and no policy chose one";
    let mut held = call(
        5,
        &[
            step(
                "select",
                "p",
                9,
                json!({ "decision": "hold", "ms": 250, "decided": true }),
            ),
            step(
                "select",
                "p",
                9,
                json!({ "decision": "hold", "ms": 250, "decided": true }),
            ),
            step("select", "p", 9, json!({ "decision": "any" })),
        ],
        &[],
        result(),
    );
    held["held_ms"] = 512.into();
    held["took_us"] = 515_000.into();
    held["pinned"] = true.into();
    let calls = [
        call(
            1,
            &[step("route", "p", 9, fault("closed"))],
            &[],
            failed(7010, "a policy failed"),
        ),
        call(2, &[step("route", "p", 9, fault("open"))], &[], result()),
        call(
            3,
            &[step("route", "p", 9, json!({ "decision": "answer", "decided": true }))],
            &[],
            json!({ "is": "result" }),
        ),
        call(
            4,
            &[step("route", "p", 9, narrow)],
            &[],
            failed(7003, "db-next was not ready within 30.0 s."),
        ),
        held,
        call(
            6,
            &[step("route", "p", 9, json!({ "decision": "next" }))],
            &[],
            failed(7009, several),
        ),
        call(
            7,
            &[],
            &[],
            json!({ "is": "error", "code": -32000, "backend": "db", "replica": 1, "incarnation": 2 }),
        ),
        call(
            8,
            &[step("settle", "p", 9, json!({ "decision": "replay", "decided": true }))],
            &[],
            json!({ "is": "cancelled" }),
        ),
    ];
    insta::assert_snapshot!(page(&answer(&calls, 8), View::Several), @"
    call 1  tools/call db__drop_table                                   14:13:20.123
      FAILED by p in route (cpu; its faults are closed): computed longer than its
        CPU budget
      error 7010, delivery not_sent, after 412 µs
      of session-3 at /mcp, generation 4
      > route  p      9 µs  failed (cpu), the call fails: computed longer than its …

    call 2  tools/call db__drop_table                                   14:13:20.123
      let pass although p failed in route: computed longer than its CPU budget
      result from db (target 0, incarnation 1), after 412 µs
      of session-3 at /mcp, generation 4
      > route  p      9 µs  failed (cpu), passed by: computed longer than its CPU b…

    call 3  tools/call db__drop_table                                   14:13:20.123
      ANSWERED by p in route; no backend was asked
      result, after 412 µs
      of session-3 at /mcp, generation 4
      > route  p      9 µs  answered itself

    call 4  tools/call db__drop_table                                   14:13:20.123
      SENT by p in route to db-next; it chose among db (backoff), db-next (ready);
        then db-next was not ready within 30.0 s.
      error 7003, delivery not_sent, after 412 µs
      of session-3 at /mcp, generation 4
      > route  p      9 µs  narrowed to db-next

    call 5  tools/call db__drop_table                                   14:13:20.123
      HELD by p in select
      result from db (target 0, incarnation 1), after 515.0 ms, 512.0 ms of that
        held
      of session-3 at /mcp, generation 4; it goes on with what its target had begun
      > select  p      9 µs  2 times held, for 250 ms at most
                p      9 µs  any

    call 6  tools/call db__drop_table                                   14:13:20.123
      no plugin decided anything; several backends could take this call (a, b) and
        no policy chose one
      error 7009, delivery not_sent, after 412 µs
      of session-3 at /mcp, generation 4
        route  p      9 µs  next

    call 7  tools/call db__drop_table                                   14:13:20.123
      no plugin was asked
      error -32000 from db (target 1, incarnation 2), after 412 µs
      of session-3 at /mcp

    call 8  tools/call db__drop_table                                   14:13:20.123
      WRITTEN AGAIN by p in settle, for its target had died
      cancelled by its agent, after 412 µs
      of session-3 at /mcp, generation 4
      > settle  p      9 µs  to be written again
    ");
}

#[test]
fn an_empty_answer_says_why_and_what_to_do() {
    let told = |kept, all: Option<u64>| {
        let mut answer = answer(&[], kept);
        answer["all_for_s"] = all.into();
        page(&answer, View::Screen)
    };
    insta::assert_snapshot!(told(0, None) + &told(0, Some(60)) + &told(3, None), @"
    no call is kept: no plugin decided anything about one yet (--all keeps the others, too)
    no call is kept yet
    all calls are kept from now on, for 60 s
    none of the calls that are kept (3) is of this kind
    ");
    assert_eq!(more(&answer(&[], 3)), "");
    let mut missed = answer(&[denied()], 3);
    missed["missed"] = true.into();
    assert!(more(&missed).starts_with("(more calls ended than the router keeps"));
}

#[test]
fn words_of_others_cannot_command_the_terminal() {
    let mut call = denied();
    call["name"] = "x\u{1b}[2J\u{202e}y\n  forged by nobody".into();
    call["steps"][2]["message"] = "a\r\nb\u{7}".into();
    let page = page(&answer(&[call], 1), View::Whole);
    assert!(page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
    assert!(!page.contains('\u{202e}') && page.contains("\"a b \""), "{page}");
    let long = super::wrapped(&"word ".repeat(200), WORDS);
    assert!(long.len() == WORDS && long.iter().all(|line| line.chars().count() <= WIDTH));
    assert!(long[WORDS - 1].ends_with('…'));
}
