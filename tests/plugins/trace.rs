//! `pointsman plugin trace` against a running router: which plugin decided a call and why, and what is never told.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::router::{Agent, PATIENCE, PROGRAM, Router, in_time};
use super::support::built;

/// What no trace may hold.
const SECRET: &str = "s3cret-argument";

/// Two servers with the same tools, of which `guard` forbids one, and `away` sends another to the second server. `strict`
/// and `lax` do what the calls order, each for tools of its own; `first` takes the first server while that is ready.
fn config(policies: &str) -> String {
    let (guard, guest) = (built("examples/tool-guard.wasm"), built("guests/guest-a.wasm"));
    let guest = |name: &str, config: &str, tool: &str, more: &str| {
        format!(
            "[plugins.{name}]\nfile = {guest:?}\nwall = \"20s\"\nconfig = {config}\n{more}\n\
             [plugins.{name}.scope]\ntools = [{tool:?}]\n"
        )
    };
    let away = guest("away", "{ do = \"redirect\", text = \"two\" }", "read", "");
    let strict = guest("strict", "{}", "slow", "on-fault = \"closed\"");
    let lax = guest("lax", "{}", "echo", "on-fault = \"open\"");
    let server = |name: &str| format!("[backends.{name}]\ncommand = \"@program\"\nargs = [\"demo-server\"]\n");
    format!(
        "{policies}\n{}{}[endpoints.default]\nnames = \"plain\"\n\
         [pipeline]\nroute = [\"guard\", \"away\", \"strict\", \"lax\", \"default-route\", \"first\"]\n\
         transform-request = [\"lax\"]\n\
         [plugins.guard]\nfile = {guard:?}\nwall = \"20s\"\nconfig = {{ rules = [], default = [\"echo\", \"slow\", \"read\"] }}\n\
         [plugins.first]\nfile = {:?}\nwall = \"20s\"\nconfig = {{ fallbacks = {{ one = \"two\" }} }}\n{away}{strict}{lax}",
        server("one"),
        server("two"),
        built("examples/failover.wasm"),
    )
}

async fn router(policies: &str) -> Router {
    let router = Router::start(&config(policies)).await;
    router.ready("one").await;
    router.ready("two").await;
    router
}

fn command(router: &Router, words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    let socket = router.path().join("admin.sock");
    command.args(["plugin", "trace", "--socket"]).arg(socket).args(words);
    command
}

/// What the command prints; its error where it fails.
fn trace(router: &Router, words: &[&str]) -> Result<String, String> {
    let output = command(router, words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(text(output.stderr)),
    }
}

fn told(router: &Router, words: &[&str]) -> Vec<Value> {
    let text = trace(router, &[words, &["--json"]].concat()).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["calls"].as_array().unwrap().clone()
}

/// Calls a tool with a secret argument and these orders for the guests.
async fn call(agent: &Agent, tool: &str, orders: Value) -> i64 {
    let mut params = json!({ "name": tool, "arguments": { "text": SECRET, "ms": 0 } });
    if !orders.is_null() {
        params["_meta"]["test"] = orders;
    }
    agent.request("tools/call", params).await.code()
}

/// The steps of a call as `PLUGIN DECISION`.
fn steps(call: &Value) -> Vec<String> {
    let step = |step: &Value| {
        format!(
            "{} {}",
            step["plugin"].as_str().unwrap(),
            step["decision"].as_str().unwrap()
        )
    };
    call["steps"].as_array().unwrap().iter().map(step).collect()
}

#[tokio::test]
async fn a_denied_and_a_redirected_call_say_who_decided_and_why_in_one_screen() {
    let router = router("").await;
    let agent = Agent::modern(&router.address);
    assert_eq!(call(&agent, "crash", Value::Null).await, 7008);
    assert_eq!(call(&agent, "read", Value::Null).await, 0);
    let page = trace(&router, &[]).unwrap();
    assert!(page.lines().count() < 24, "{page}");
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    for words in [
        "tools/call crash",
        "DENIED by guard in route: tool-not-allowed, \"",
        "error 7008, delivery rejected",
        "> route  guard",
        "not asked any more: away (route), strict (route), lax (route)",
        "tools/call read",
        "REDIRECTED by away in route to two; offered by one (ready), two (ready)",
        "result from two (target 0, incarnation 1)",
        "redirected to two",
        "of connection-",
        "at /mcp, generation 1",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let calls = told(&router, &["--last", "5"]);
    assert_eq!(calls.len(), 2);
    assert_eq!(steps(&calls[0]), ["guard deny"]);
    assert_eq!(steps(&calls[1])[..2], ["guard next", "away redirect"]);
    assert_eq!(calls[1]["outcome"]["backend"], "two");

    // Each condition is applied, and all of one call can be seen.
    let number = calls[1]["call"].to_string();
    assert_eq!(told(&router, &["--call", &number]), calls[1..]);
    assert_eq!(told(&router, &["--denied"]), calls[..1]);
    assert_eq!(told(&router, &["--plugin", "away"]), calls[1..]);
    assert_eq!(told(&router, &["--tool", "cr?s*"]), calls[..1]);
    assert_eq!(told(&router, &["-n", "1"]), calls[1..]);
    assert!(told(&router, &["--denied", "--tool", "read"]).is_empty());
    // Who asks for what is not there is told what there is.
    let first = calls[0]["call"].as_u64().unwrap();
    let error = trace(&router, &["--call", "999999"]).unwrap_err();
    assert!(
        error.contains("call 999999 is not kept: ") && error.contains(&format!("there are: {first}")),
        "{error}"
    );
    let error = trace(&router, &["--plugin", "gaurd"]).unwrap_err();
    assert!(
        error.contains("there is no plugin \"gaurd\"; there are: ") && error.contains(" guard"),
        "{error}"
    );
    assert!(told(&router, &["--plugin", "strict"]).is_empty());
    let nothing = trace(&router, &["--tool", "nothing"]).unwrap();
    assert_eq!(nothing, "none of the calls that are kept (2) is of this kind\n");
}

#[tokio::test]
async fn a_fault_is_told_with_what_on_fault_made_of_it() {
    let router = router("").await;
    let agent = Agent::modern(&router.address);
    assert_eq!(call(&agent, "slow", json!({ "do": "error" })).await, 7010);
    assert_eq!(call(&agent, "echo", json!({ "do": "panic" })).await, 0);
    let calls = told(&router, &[]);
    assert_eq!(
        steps(&calls[0]),
        ["guard next", "away out-of-scope", "strict fault"],
        "{calls:?}"
    );
    let fault = &calls[0]["steps"][2];
    assert_eq!(
        (&fault["kind"], &fault["on_fault"]),
        (&json!("error"), &json!("closed"))
    );
    let open: Vec<&Value> = (calls[1]["steps"].as_array().unwrap().iter())
        .filter(|step| step["decision"] == "fault")
        .collect();
    // At two hooks.
    assert_eq!(open.len(), 2, "{calls:?}");
    assert!(
        open.iter()
            .all(|step| step["kind"] == "trap" && step["on_fault"] == "open")
    );
    assert!(
        open[0]["plugin"] == "lax" && calls[1]["outcome"]["is"] == "result",
        "{calls:?}"
    );
    let page = trace(&router, &["--denied"]).unwrap();
    assert!(
        page.contains("FAILED by strict in route (error; its faults are closed): guest a gave up"),
        "{page}"
    );
    assert!(
        !page.contains("tools/call echo"),
        "an open fault denies nothing: {page}"
    );
    let page = trace(&router, &["--tool", "echo"]).unwrap();
    assert!(page.contains("failed (trap), passed by: "), "{page}");
}

#[tokio::test]
async fn calls_that_all_let_pass_are_kept_while_somebody_asks_and_arguments_never() {
    let router = router("").await;
    let agent = Agent::modern(&router.address);
    let legacy = Agent::legacy(&router.address).await;
    assert_eq!(call(&agent, "slow", Value::Null).await, 0);
    // `first` chose one of two, which is a decision. Nobody decides anything about what nobody has.
    assert_eq!(told(&router, &[]).len(), 1);
    let ping = json!({ "uri": format!("note://{SECRET}:x@host/a?{SECRET}") });
    let unknown = || agent.request("resources/read", ping.clone());
    assert_eq!(unknown().await.code(), -32602);
    assert_eq!(told(&router, &["--last", "9"]).len(), 1);
    let page = trace(&router, &["--all"]).unwrap();
    assert!(page.ends_with("all calls are kept from now on, for 60 s\n"), "{page}");
    assert_eq!(unknown().await.code(), -32602);
    let all = told(&router, &["--all"]);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[1]["name"], "note://host/a");
    assert_eq!(
        told(&router, &[]).len(),
        1,
        "without --all only those that were decided"
    );
    // Edits, in both eras, of what nobody may see.
    let orders = json!({ "do": "set", "text": format!("/arguments/text \"{SECRET}\"") });
    assert_eq!(call(&agent, "echo", orders.clone()).await, 0);
    assert_eq!(call(&legacy, "echo", orders).await, 0);
    let calls = told(&router, &["--all"]);
    assert!(calls[2]["agent"].as_str().unwrap().starts_with("connection-"));
    assert!(calls[3]["agent"].as_str().unwrap().starts_with("session-"), "{calls:?}");
    assert!(steps(&calls[3]).contains(&"lax edited".to_owned()));
    for words in [&["--all", "--json"][..], &["--all", "--last", "50"], &["--all"]] {
        let text = trace(&router, words).unwrap();
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[tokio::test]
async fn no_more_is_kept_than_the_configuration_allows() {
    let router = router("trace-calls = 3").await;
    let agent = Agent::modern(&router.address);
    for n in 0..5 {
        assert_eq!(call(&agent, &format!("no-{n}"), Value::Null).await, 7008);
    }
    let names = |router: &Router| -> Vec<String> {
        let calls = told(router, &["--last", "50"]);
        calls
            .iter()
            .map(|call| call["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&router), ["no-2", "no-3", "no-4"]);

    let router = self::router("trace-bytes = \"8KiB\"").await;
    let agent = Agent::modern(&router.address);
    for n in 0..40 {
        assert_eq!(call(&agent, &format!("no-{n}"), Value::Null).await, 7008);
    }
    let kept = names(&router);
    assert!(
        !kept.is_empty() && kept.len() < 30 && kept.last().unwrap() == "no-39",
        "{kept:?}"
    );

    let router = self::router("trace-calls = 0").await;
    assert_eq!(call(&Agent::modern(&router.address), "no", Value::Null).await, 7008);
    let error = trace(&router, &[]).unwrap_err();
    assert!(
        error.contains("keeps no traces: `trace-calls` in [policies] is 0"),
        "{error}"
    );
}

/// Ends what it holds.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn who_follows_is_told_of_calls_as_they_end() {
    let router = router("").await;
    let agent = Agent::modern(&router.address);
    assert_eq!(call(&agent, "no-1", Value::Null).await, 7008);
    let mut child = command(&router, &["--follow", "--json", "--denied"]);
    let child = child.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let (sender, mut lines) = tokio::sync::mpsc::channel(100);
    let stdout = running.0.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.blocking_send(line);
        }
    });
    let mut next = async || -> Value { serde_json::from_str(&in_time("a call", lines.recv()).await.unwrap()).unwrap() };
    assert_eq!(next().await["name"], "no-1");
    assert_eq!(call(&agent, "read", Value::Null).await, 0);
    assert_eq!(call(&agent, "no-2", Value::Null).await, 7008);
    assert_eq!(next().await["name"], "no-2");
    assert_eq!(call(&agent, "no-3", Value::Null).await, 7008);
    assert_eq!(next().await["name"], "no-3");
    // It ends with its router.
    drop(router);
    let ended = tokio::task::spawn_blocking(move || running.0.wait().unwrap());
    let ended = tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
    assert!(!ended.success());
}

#[test]
fn without_a_router_it_says_how_to_get_one() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("admin.sock");
    let output = Command::new(PROGRAM)
        .args(["plugin", "trace", "--socket"])
        .arg(&nowhere)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && error.contains("no router listens at"),
        "{error}"
    );
}
