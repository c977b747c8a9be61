//! Conversations with servers of both eras, as tables: what was said, what follows.

use super::*;
use crate::wire::RequestId;

/// A handshake and what was said in it.
struct Talk {
    shake: Handshake,
    told: String,
}

impl Talk {
    fn begin(choice: EraChoice, remembered: Option<Era>) -> Self {
        let (shake, step) = Handshake::begin(choice, remembered, Face::own(false));
        let mut talk = Self {
            shake,
            told: String::new(),
        };
        talk.tell("begin", step);
        talk
    }

    fn tell(&mut self, what: &str, step: Step) {
        let step = match step {
            Step::Send(lines) => {
                let names = lines.iter().map(|l| {
                    let object = Object::parse(l).unwrap();
                    let id = object.get("id").map(|i| format!("#{i}")).unwrap_or_default();
                    let params = object.get("params").and_then(|p| Object::parse(p).ok());
                    let cursor = params
                        .as_ref()
                        .and_then(|p| p.get("cursor"))
                        .map(|c| format!(" from {c}"));
                    format!(
                        "{}{id}{}",
                        object.get_str("method").unwrap(),
                        cursor.unwrap_or_default()
                    )
                });
                format!("send {}", names.collect::<Vec<_>>().join(", "))
            }
            Step::Wait => "wait".to_owned(),
            Step::Failed(why) => format!("failed: {why}"),
            Step::Done(facts) => {
                let tools: Vec<_> = facts.tools.iter().map(|t| t.key.as_str()).collect();
                format!("done: {} {} [{}]", facts.era, facts.version, tools.join(" "))
            }
        };
        self.told += &format!("{what}: {step}\n");
    }

    fn overdue(mut self) -> Self {
        let step = self.shake.overdue();
        self.tell("overdue", step);
        self
    }

    fn broken_off(mut self) -> Self {
        match self.shake.broken_off() {
            Some(step) => self.tell("broken off", step),
            None => self.told += "broken off: out of reach\n",
        }
        self
    }

    fn hears(mut self, id: &str, outcome: Result<&str, &str>, what: &str) -> Self {
        let id = RequestId::from_raw(id);
        let step = self.shake.on_response(&Response { id, outcome });
        self.tell(what, step);
        self
    }

    fn refused(self, id: &str, code: i64) -> Self {
        let error = format!(r#"{{"code":{code},"message":"no"}}"#);
        self.hears(id, Err(&error), &format!("{code} to {id}"))
    }

    fn discovered(self) -> Self {
        let result = r#"{"supportedVersions":["2030-01-01","2026-07-28"],"capabilities":{"tools":{}}}"#;
        self.hears(DISCOVER_ID, Ok(result), "discovered")
    }

    fn initialized(self, version: &str) -> Self {
        let result = format!(r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}}}}"#);
        self.hears(INITIALIZE_ID, Ok(&result), &format!("initialized {version}"))
    }

    fn listed(self, id: u64, cursor: Option<&str>) -> Self {
        let cursor = cursor.map(|c| format!(r#","nextCursor":"{c}""#)).unwrap_or_default();
        let result = format!(r#"{{"tools":[{{"name":"t{id}"}}]{cursor}}}"#);
        self.hears(&format!("\"list-{id}\""), Ok(&result), &format!("listed {id}"))
    }
}

fn auto() -> Talk {
    Talk::begin(EraChoice::Auto, None)
}

#[test]
fn servers_that_answer() {
    insta::assert_snapshot!(auto().refused("1", -32601).initialized("2025-06-18").listed(3, None).told, @r#"
    begin: send server/discover#1
    -32601 to 1: send initialize#2
    initialized 2025-06-18: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2025-06-18 [t3]
    "#);
    insta::assert_snapshot!(auto().refused("1", -32602).initialized("2024-11-05").listed(3, None).told, @r#"
    begin: send server/discover#1
    -32602 to 1: send initialize#2
    initialized 2024-11-05: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2024-11-05 [t3]
    "#);
    insta::assert_snapshot!(auto().discovered().listed(3, Some("x")).listed(4, None).told, @r#"
    begin: send server/discover#1
    discovered: send tools/list#"list-3"
    listed 3: send tools/list#"list-4" from "x"
    listed 4: done: modern 2026-07-28 [t3 t4]
    "#);
    insta::assert_snapshot!(auto().refused("1", -32601).refused("2", -32602).told, @r#"
    begin: send server/discover#1
    -32601 to 1: send initialize#2
    -32602 to 2: failed: it refused initialize: {"code":-32602,"message":"no"}
    "#);
    insta::assert_snapshot!(auto().refused("1", -32601).initialized("2031-01-01").told, @r#"
    begin: send server/discover#1
    -32601 to 1: send initialize#2
    initialized 2031-01-01: failed: it wants protocol version "2031-01-01", which the router does not speak
    "#);
    insta::assert_snapshot!(auto().refused("1", -32601).initialized("2026-07-28").told, @r#"
    begin: send server/discover#1
    -32601 to 1: send initialize#2
    initialized 2026-07-28: failed: it wants protocol version "2026-07-28", which the router does not speak
    "#);
    insta::assert_snapshot!(auto().discovered().refused("\"list-3\"", -32603).told, @r#"
    begin: send server/discover#1
    discovered: send tools/list#"list-3"
    -32603 to "list-3": failed: it refused tools/list: {"code":-32603,"message":"no"}
    "#);
}

#[test]
fn servers_that_are_silent_at_first() {
    insta::assert_snapshot!(auto().overdue().overdue().initialized("2025-11-25").listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    overdue: wait
    initialized 2025-11-25: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2025-11-25 [t3]
    "#);
    // The answer to the probe comes late, in each place where it can.
    insta::assert_snapshot!(auto().overdue().discovered().initialized("2025-11-25").listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    discovered: wait
    initialized 2025-11-25: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2025-11-25 [t3]
    "#);
    insta::assert_snapshot!(auto().overdue().discovered().refused("2", -32601).listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    discovered: wait
    -32601 to 2: send tools/list#"list-3"
    listed 3: done: modern 2026-07-28 [t3]
    "#);
    insta::assert_snapshot!(auto().overdue().refused("2", -32022).discovered().listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    -32022 to 2: wait
    discovered: send tools/list#"list-3"
    listed 3: done: modern 2026-07-28 [t3]
    "#);
    insta::assert_snapshot!(auto().overdue().initialized("2025-11-25").discovered().listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    initialized 2025-11-25: send notifications/initialized, tools/list#"list-3"
    discovered: wait
    listed 3: done: legacy 2025-11-25 [t3]
    "#);
    insta::assert_snapshot!(auto().overdue().initialized("2025-11-25").refused("1", -32601).listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    initialized 2025-11-25: send notifications/initialized, tools/list#"list-3"
    -32601 to 1: wait
    listed 3: done: legacy 2025-11-25 [t3]
    "#);
    insta::assert_snapshot!(auto().overdue().refused("1", -32601).refused("2", -32601).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    -32601 to 1: wait
    -32601 to 2: failed: it refused initialize: {"code":-32601,"message":"no"}
    "#);
    insta::assert_snapshot!(auto().overdue().refused("2", -32601).refused("1", -32601).told, @r#"
    begin: send server/discover#1
    overdue: send initialize#2
    -32601 to 2: wait
    -32601 to 1: failed: it refused server/discover ({"code":-32601,"message":"no"}) and initialize
    "#);
}

#[test]
fn forced_and_remembered_eras() {
    let legacy = || Talk::begin(EraChoice::Legacy, Some(Era::Modern));
    insta::assert_snapshot!(legacy().overdue().initialized("2025-06-18").listed(3, None).told, @r#"
    begin: send initialize#2
    overdue: wait
    initialized 2025-06-18: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2025-06-18 [t3]
    "#);
    insta::assert_snapshot!(legacy().refused("2", -32022).told, @r#"
    begin: send initialize#2
    -32022 to 2: failed: it refused initialize: {"code":-32022,"message":"no"}
    "#);
    let modern = || Talk::begin(EraChoice::Modern, Some(Era::Legacy));
    insta::assert_snapshot!(modern().overdue().discovered().listed(3, None).told, @r#"
    begin: send server/discover#1
    overdue: wait
    discovered: send tools/list#"list-3"
    listed 3: done: modern 2026-07-28 [t3]
    "#);
    insta::assert_snapshot!(modern().refused("1", -32601).told, @r#"
    begin: send server/discover#1
    -32601 to 1: failed: it does not speak the modern era ({"code":-32601,"message":"no"})
    "#);
    let remembered = |era| Talk::begin(EraChoice::Auto, Some(era));
    // A legacy server that was replaced by a modern one, and the other way round.
    for code in [-32022, -32601, -32602, -32600] {
        let talk = remembered(Era::Legacy)
            .overdue()
            .refused("2", code)
            .discovered()
            .listed(3, None);
        assert!(
            talk.told.ends_with("listed 3: done: modern 2026-07-28 [t3]\n"),
            "{}",
            talk.told
        );
    }
    insta::assert_snapshot!(remembered(Era::Legacy).refused("2", -32022).refused("1", -32601).told, @r#"
    begin: send initialize#2
    -32022 to 2: send server/discover#1
    -32601 to 1: failed: it refused server/discover ({"code":-32601,"message":"no"}) and initialize
    "#);
    insta::assert_snapshot!(remembered(Era::Legacy).refused("2", -32000).told, @r#"
    begin: send initialize#2
    -32000 to 2: failed: it refused initialize: {"code":-32000,"message":"no"}
    "#);
    insta::assert_snapshot!(remembered(Era::Modern).refused("1", -32601).initialized("2025-06-18").listed(3, None).told, @r#"
    begin: send server/discover#1
    -32601 to 1: send initialize#2
    initialized 2025-06-18: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2025-06-18 [t3]
    "#);
}

#[test]
fn malformed_results() {
    for result in [
        "{}",
        "[]",
        "7",
        r#"{"supportedVersions":"2026-07-28"}"#,
        r#"{"supportedVersions":["2025-06-18"]}"#,
    ] {
        let talk = auto().hears(DISCOVER_ID, Ok(result), "discover");
        assert!(talk.told.ends_with("discover: send initialize#2\n"), "{}", talk.told);
    }
    for result in ["{}", "[]", r#"{"protocolVersion":20250618}"#] {
        let talk = auto()
            .refused("1", -32601)
            .hears(INITIALIZE_ID, Ok(result), "initialize");
        let end = "initialize: failed: it refused initialize: a result the router does not understand\n";
        assert!(talk.told.ends_with(end), "{}", talk.told);
    }
    for page in ["{}", r#"{"tools":{}}"#, r#"{"tools":[{}]}"#, r#"{"tools":[7]}"#, "null"] {
        let talk = auto().discovered().hears("\"list-3\"", Ok(page), "list");
        assert!(talk.told.contains("list: failed: "), "{}", talk.told);
    }
    // What was not asked is not heard.
    for id in ["1", "2", "3", "\"1\"", "\"list-3\"", "\"list-4\""] {
        let talk = Talk::begin(EraChoice::Legacy, None);
        if id != "2" {
            assert!(
                talk.hears(id, Ok("{}"), "stray").told.ends_with("stray: wait\n"),
                "{id}"
            );
        }
    }
    let twice = auto().discovered().discovered().listed(3, None);
    assert!(twice.told.contains("discovered: wait\n"), "{}", twice.told);
}

#[test]
fn a_server_without_tools_is_done_when_it_has_read_the_third_step() {
    let bare = r#"{"protocolVersion":"2025-06-18","capabilities":{"logging":{}}}"#;
    let talk = |outcome| {
        let talk = auto()
            .refused("1", -32601)
            .hears(INITIALIZE_ID, Ok(bare), "initialized");
        talk.hears("\"list-3\"", outcome, "pong").told
    };
    insta::assert_snapshot!(talk(Ok("{}")), @r#"
    begin: send server/discover#1
    -32601 to 1: send initialize#2
    initialized: send notifications/initialized, ping#"list-3"
    pong: done: legacy 2025-06-18 []
    "#);
    assert!(talk(Err("{}")).ends_with("pong: done: legacy 2025-06-18 []\n"));
    let modern = auto().hears(DISCOVER_ID, Ok(r#"{"supportedVersions":["2026-07-28"]}"#), "discovered");
    insta::assert_snapshot!(modern.told, @r#"
    begin: send server/discover#1
    discovered: done: modern 2026-07-28 []
    "#);
}

#[test]
fn a_cursor_that_never_ends_is_given_up() {
    let mut talk = auto().discovered();
    for page in 3..1002 {
        talk = talk.listed(page, Some("again"));
        assert!(talk.told.ends_with("from \"again\"\n"), "{page}");
    }
    let talk = talk.listed(1002, Some("again"));
    assert!(
        talk.told
            .ends_with("listed 1002: failed: its tools/list has more than 1000 pages\n")
    );
}

#[test]
fn the_modern_requests_carry_the_whole_envelope_and_cursors_their_bytes() {
    let (mut shake, step) = Handshake::begin(EraChoice::Modern, None, Face::own(false));
    let Step::Send(lines) = step else { panic!("{step:?}") };
    let probe: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(probe["params"]["_meta"], modern_meta());
    let result = r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}"#;
    let answer = |id: &str, result| (RequestId::from_raw(id), Ok(result));
    let (id, outcome) = answer("1", result);
    shake.on_response(&Response { id, outcome });
    let (id, outcome) = answer("\"list-3\"", r#"{"tools":[],"nextCursor":"\u0041\/"}"#);
    let Step::Send(lines) = shake.on_response(&Response { id, outcome }) else {
        panic!("a next page")
    };
    assert!(lines[0].contains(r#""cursor":"\u0041\/""#), "{}", lines[0]);
    let (id, outcome) = answer("\"list-4\"", r#"{"tools":[],"nextCursor":null}"#);
    let Step::Done(facts) = shake.on_response(&Response { id, outcome }) else {
        panic!("the end")
    };
    assert!(facts.announces(Topic::Tools) && facts.has("tools") && !facts.has("logging"));
}

#[test]
fn a_version_that_is_refused_is_asked_for_once_more_where_it_is_the_right_one() {
    let wrong = |supported: &str| format!(r#"{{"code":-32022,"message":"no","data":{{"supported":[{supported}]}}}}"#);
    let asked = auto().hears("1", Err(&wrong("\"2026-07-28\"")), "refused");
    let again = "{\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{}}";
    insta::assert_snapshot!(asked.hears("\"1-again\"", Ok(again), "discovered").told, @r#"
    begin: send server/discover#1
    refused: send server/discover#"1-again"
    discovered: done: modern 2026-07-28 []
    "#);
    let twice = auto().hears("1", Err(&wrong("\"2026-07-28\"")), "refused");
    let twice = twice.hears("\"1-again\"", Err(&wrong("\"2026-07-28\"")), "refused");
    assert!(twice.told.ends_with("refused: send initialize#2\n"), "{}", twice.told);
    let other = auto().hears("1", Err(&wrong("\"2031-01-01\"")), "refused");
    assert!(other.told.ends_with("refused: send initialize#2\n"), "{}", other.told);
}

#[test]
fn a_probe_that_is_broken_off_counts_as_never_sent() {
    let told = |talk: Talk| talk.told.split_once('\n').unwrap().1.to_owned();
    let legacy = auto().broken_off().initialized("2025-06-18").listed(3, None);
    insta::assert_snapshot!(told(legacy), @r#"
    broken off: send initialize#2
    initialized 2025-06-18: send notifications/initialized, tools/list#"list-3"
    listed 3: done: legacy 2025-06-18 [t3]
    "#);
    // A modern one that was just being started.
    let modern = auto().broken_off().refused("2", -32601).discovered().listed(3, None);
    insta::assert_snapshot!(told(modern), @r#"
    broken off: send initialize#2
    -32601 to 2: send server/discover#1
    discovered: send tools/list#"list-3"
    listed 3: done: modern 2026-07-28 [t3]
    "#);
    let neither = auto().broken_off().refused("2", -32601).broken_off();
    assert!(told(neither).ends_with("broken off: out of reach\n"));
    let both = auto().overdue().broken_off().initialized("2025-06-18");
    assert!(told(both).contains("broken off: wait\n"));
    let one = Talk::begin(EraChoice::Modern, None).broken_off();
    assert_eq!(told(one), "broken off: out of reach\n");
}
