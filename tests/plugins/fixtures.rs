//! `pointsman plugin test`: what fixtures may say, and what is said of them.

use super::command::{here, plugin};
use super::support::built;

#[test]
fn the_fixtures_of_the_default_components_pass() {
    for (name, cases) in [("default-route", 8), ("redact", 5), ("default-names", 4)] {
        let folder = format!("plugins/{name}/fixtures");
        let (good, text, error) = plugin(here(), &["test", &folder]);
        assert!(
            good && text.ends_with(&format!("{cases} cases passed\n")),
            "{text}{error}"
        );
        assert!(text.contains(" fuel "), "{text}");
        // The same of a file that is named.
        let file = format!("plugins/dist/{name}.wasm");
        let (good, text, error) = plugin(here(), &["test", &file, &folder]);
        assert!(good, "{text}{error}");
    }
}

#[test]
fn a_decision_that_is_not_as_expected_is_shown() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let case = |more: &str| format!("[plugin]\nembedded = \"least-busy\"\n[[cases]]\nname = \"one\"\n{more}");
    let targets = "hook = \"select\"\ntargets = [{ backend = \"a\", in-flight = 2 }, { backend = \"a\" }]\n";
    write("good.toml", &case(&format!("{targets}expect = {{ pick = 1 }}")));
    write("wrong.toml", &case(&format!("{targets}expect = {{ pick = 0 }}")));
    write(
        "same.json",
        "{\"plugin\": {\"embedded\": \"least-busy\"}, \"cases\": [{\"name\": \"x\", \"hook\": \"select\",
        \"targets\": [{\"backend\": \"a\"}], \"expect\": {\"pick\": 0}}]}",
    );
    write("slip.toml", &case(&format!("{targets}expects = 1")));
    write("hook.toml", &case("hook = \"router\"\nexpect = 1"));
    write("other.toml", &case("hook = \"route\"\nexpect = \"next\""));
    write("expect.toml", &case(&format!("{targets}expect = {{ pik = 1 }}")));
    write(
        "grant.toml",
        &case("hook = \"select\"\nexpect = \"any\"\n[plugin.grants]\ntime = true"),
    );
    write(
        "none.toml",
        "[[cases]]\nname = \"one\"\nhook = \"select\"\nexpect = \"any\"\n",
    );
    write("pick.toml", &case(&format!("{targets}expect = {{ pick = 2 }}")));
    let roots = |call: &str| case(&format!("{targets}expect = {{ pick = 1 }}\n[cases.call]\n{call}"));
    let root = "roots = [{ uri = \"file:///work\" }]";
    write("modern.toml", &roots(root));
    write("legacy.toml", &roots(&format!("{root}\nera = \"legacy\"")));
    write(
        "roots.toml",
        &roots("era = \"legacy\"\nroots = [{ url = \"file:///work\" }]"),
    );
    write("empty.toml", "cases = []\n[plugin]\nembedded = \"redact\"\n");
    let run = |files: &[&str]| plugin(home.path(), &[&["test"], files].concat());

    let (good, text, error) = run(&["good.toml", "same.json", "legacy.toml"]);
    assert!(good && text.ends_with("3 cases passed\n"), "{text}{error}");
    let (good, text, error) = run(&["good.toml", "wrong.toml"]);
    assert!(!good && error.contains("1 of 2 cases failed"), "{text}{error}");
    assert!(
        text.contains("FAIL  one") && text.contains("/pick: expected 0, got 1"),
        "{text}"
    );
    for (file, words) in [
        ("slip.toml", "unknown field `expects`"),
        ("hook.toml", "case \"one\": hook: \"router\" is none of route, select, "),
        ("other.toml", "case \"one\": the plugin does not export route"),
        (
            "expect.toml",
            "case \"one\": expect: {\"pik\":1} is no decision of select here; there are: \"any\", { pick = … }",
        ),
        ("grant.toml", "time"),
        ("none.toml", "it names no component"),
        ("pick.toml", "expect.pick: 2 is no position in `targets`"),
        (
            "modern.toml",
            "call.roots: no modern agent is asked for them: add `era = \"legacy\"`",
        ),
        ("roots.toml", "is no list of { uri = \"TEXT\" }"),
        ("empty.toml", "empty.toml: it has neither a case nor `refused`"),
        ("gone.toml", "gone.toml: No such file"),
    ] {
        let (good, text, error) = run(&[file]);
        assert!(!good && error.contains(words), "{file}: {text}{error}");
    }
    let (good, _, error) = run(&["embedded:redact"]);
    assert!(!good && error.contains("no fixture is named"), "{error}");
}

#[test]
fn a_fixture_may_say_what_time_it_is() {
    let limit = built("examples/rate-limit.wasm");
    let limit = limit.to_str().unwrap();
    let (good, text, error) = plugin(here(), &["test", limit, "plugins/examples/rate-limit/fixtures"]);
    assert!(good && text.ends_with("7 cases passed\n"), "{text}{error}");
    // Each file begins with an empty store, and by the system's clock unless it says otherwise.
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let case = "hook = \"route\"\ncall = { params = { name = \"t\" } }\n";
    let settings = "[plugin]\nconfig = { calls = 1, seconds = 1000000 }\ngrants = { clock = true, kv = true }\n";
    let first = format!("{settings}[[cases]]\nname = \"first\"\n{case}expect = \"next\"\n");
    write("a.toml", &first);
    write("b.toml", &first);
    let (good, text, error) = plugin(home.path(), &["test", limit, "a.toml", "b.toml"]);
    assert!(good, "{text}{error}");
    // By the first time that is said, from the beginning on; and it does not go back.
    let second = "[[cases]]\nname = \"second\"\nnow = 1_000_000_000\n";
    let told = "expect = { deny = { message = \"more than 1 calls in 1000000 s; try again in 999999999 ms\" } }\n";
    write(
        "c.toml",
        &format!("{first}{second}{case}{told}").replace("1_000_000_000", "1"),
    );
    write(
        "d.toml",
        &format!("now = \"2026-01-31T09:00:00Z\"\n{first}{second}{case}{told}"),
    );
    write("e.toml", &format!("now = \"nine\"\n{first}"));
    let (good, text, error) = plugin(home.path(), &["test", limit, "c.toml"]);
    assert!(good, "{text}{error}");
    for (file, words) in [
        ("d.toml", "case \"second\": `now` is before that of the case before"),
        ("e.toml", "e.toml: TOML parse error at line 1"),
        ("e.toml", "\"nine\" is no RFC 3339 time"),
    ] {
        let (good, text, error) = plugin(home.path(), &["test", limit, file]);
        assert!(!good && error.contains(words), "{file}: {text}{error}");
    }
}

#[test]
fn a_fixture_may_say_that_its_settings_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(home.path().join(name), text).unwrap();
    let redact = "[plugin]\nembedded = \"redact\"\n";
    write("good.toml", &format!("refused = \"keys\"\n{redact}"));
    write("other.toml", &format!("refused = \"doors\"\n{redact}"));
    let taken = "config = { keys = [\"a\"] }\n";
    write("taken.toml", &format!("refused = \"keys\"\n{redact}{taken}"));
    let case = "[[cases]]\nname = \"x\"\nhook = \"route\"\nexpect = \"next\"\n";
    write("both.toml", &format!("refused = \"keys\"\n{redact}{case}"));
    write("empty.toml", &format!("refused = \"\"\n{redact}"));
    write("none.toml", "refused = \"keys\"\n[plugin]\nembedded = \"nobody\"\n");
    write("nothing.toml", redact);
    let run = |file: &str| plugin(home.path(), &["test", file]);
    let (good, text, error) = run("good.toml");
    assert!(
        good && text.contains("ok    the config is refused") && text.ends_with("1 cases passed\n"),
        "{text}{error}"
    );
    for (file, words) in [
        ("other.toml", "expected words with \"doors\", got \""),
        ("taken.toml", "expected `init` to refuse the config, and it takes it"),
    ] {
        let (good, text, error) = run(file);
        assert!(!good && text.contains(words), "{file}: {text}{error}");
        assert!(error.contains("1 of 1 cases failed"), "{file}: {error}");
    }
    for (file, words) in [
        ("both.toml", "put the `cases` into another file"),
        ("nothing.toml", "nothing.toml: it has neither a case nor `refused`"),
        ("empty.toml", "`refused` is empty"),
        ("none.toml", "there is no embedded component \"nobody\""),
    ] {
        let (good, text, error) = run(file);
        assert!(!good && error.contains(words), "{file}: {text}{error}");
    }
}

#[test]
fn a_plugin_is_called_by_its_name_in_fixtures() {
    let home = tempfile::tempdir().unwrap();
    let case = "[[cases]]\nname = \"x\"\nhook = \"route\"\nexpect = \"next\"\n";
    let write = |settings: &str| {
        let text = format!("{case}[plugin]\nembedded = \"redact\"\n{settings}");
        std::fs::write(home.path().join("x.toml"), text).unwrap();
    };
    write("");
    let (good, _, error) = plugin(home.path(), &["test", "x.toml"]);
    assert!(
        !good && error.contains("x.toml: plugin redact: rejected at probe"),
        "{error}"
    );
    let other = home.path().join("mine.wasm");
    std::fs::write(&other, "x").unwrap();
    let (good, _, error) = plugin(home.path(), &["test", "mine.wasm", "x.toml"]);
    assert!(
        !good && error.contains("x.toml: plugin mine: rejected at verify"),
        "{error}"
    );
    // What is wrong with its settings is told without a name that nobody gave.
    write("confg = 1\n");
    let (good, _, error) = plugin(home.path(), &["test", "x.toml"]);
    assert!(
        !good && error.contains("x.toml: [plugin]: ") && !error.contains("fixture"),
        "{error}"
    );
}

#[test]
fn what_a_plugin_logs_is_told_for_each_case_and_looks_like_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let reach = built("guests/reach.wasm");
    let reach = reach.to_str().unwrap();
    let (_, text, _) = plugin(here(), &["inspect", "--json", reach]);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    let grants = told["grants"]
        .as_str()
        .unwrap()
        .replace("plugins.reach", "plugin")
        .replace("VARIABLE", "PATH");
    let case = |name: &str| {
        let order = "{ do = \"log\", times = 57, value = \"\\u001B[2J\\n  ok    forged\" }";
        let call = format!("call = {{ params = {{ name = \"t\", _meta = {{ test = [{order}] }} }} }}");
        format!(
            "[[cases]]\nname = \"{name}\"\nhook = \"route\"\n{call}\nexpect = {{ answer = {{ answers = [\"said\"] }} }}\n"
        )
    };
    std::fs::write(
        home.path().join("x.toml"),
        format!("{grants}{}{}", case("one"), case("two")),
    )
    .unwrap();
    let (good, text, error) = plugin(home.path(), &["test", reach, "x.toml"]);
    assert!(good && text.ends_with("2 cases passed\n"), "{text}{error}");
    assert!(
        !text.contains('\u{1b}') && text.matches("\n  ok ").count() == 2,
        "{text}"
    );
    let line = "        says  info: \\u{1b}[2J\\n  ok    forged 49\n        says  (the first 50 of 57 lines)\n";
    assert_eq!(text.matches(line).count(), 2, "{text}");
}
