//! Many agents that say the same ids and tokens on one shared child: nobody hears what is another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::Value;

use super::support::router::demo;
use super::support::{Agent, Era, Router, count};

fn era(at: usize) -> Era {
    if at.is_multiple_of(2) { Era::Legacy } else { Era::Modern }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_and_no_progress_goes_to_another_agent() {
    let (agents, calls) = (count(100, 20), count(100_000, 2_000));
    let router = Router::start(&demo("one", &[], "")).await;
    router.ready("one").await;
    let begin = Instant::now();
    let heard = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..agents)
        .map(|at| {
            let (address, heard) = (router.address, Arc::clone(&heard));
            tokio::spawn(async move {
                let mut agent = Agent::new(address, era(at), "/mcp").await;
                for n in 0..calls / agents {
                    // Every agent counts its ids from 1 and has the same few tokens.
                    let (id, token) = ((n + 1).to_string(), format!("\"progressToken\":\"t{}\"", n % 3));
                    if n % 20 == 19 {
                        // A number of steps that tells who asked.
                        let arguments = format!("{{\"steps\":{},\"ms\":1}}", at + 1);
                        let call = agent.call_with(&id, "progress", &arguments, &token).await;
                        let progress = call.progress();
                        assert_eq!(progress.len(), at + 1, "agent {at}: {:?} {}", call.notes, call.response);
                        for (step, seen) in progress.iter().enumerate() {
                            assert_eq!(seen.token, format!("t{}", n % 3), "agent {at}");
                            assert_eq!((seen.value, seen.total), ((step + 1) as f64, Some((at + 1) as f64)));
                        }
                        heard.fetch_add(progress.len(), Ordering::Relaxed);
                        continue;
                    }
                    let text = format!("agent {at} call {n}");
                    let call = agent
                        .call_with(&id, "echo", &format!("{{\"text\":\"{text}\"}}"), &token)
                        .await;
                    assert_eq!(call.text(), text, "{}", call.response);
                    assert_eq!(call.response["id"], n + 1);
                    assert!(call.notes.is_empty(), "agent {at}: {:?}", call.notes);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    println!(
        "{agents} agents, {calls} calls, {} progress notifications: 0 crossed, {:.0} calls/s",
        heard.load(Ordering::Relaxed),
        calls as f64 / begin.elapsed().as_secs_f64()
    );
    router.is_quiet().await;
    router.is_sound().await;
}

/// Calls `log` and gives what the caller heard.
async fn log(agent: &mut Agent, level: &str, wanted: &str) -> Vec<Value> {
    let mut meta = "\"progressToken\":1".to_owned();
    if agent.era == Era::Modern {
        meta += &format!(",\"io.modelcontextprotocol/logLevel\":\"{wanted}\"");
    }
    let arguments = format!("{{\"level\":\"{level}\",\"text\":\"secret\"}}");
    let call = agent.call_with("1", "log", &arguments, &meta).await;
    assert!(call.response["result"].is_object(), "{}", call.response);
    call.logged()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_message_that_could_be_anybodys_reaches_nobody() {
    let router = Router::start(&demo("one", &["--era", "legacy"], "")).await;
    router.ready("one").await;
    for (mine, others) in [
        (Era::Legacy, Era::Legacy),
        (Era::Legacy, Era::Modern),
        (Era::Modern, Era::Legacy),
        (Era::Modern, Era::Modern),
    ] {
        let at = format!("{mine:?} beside {others:?}");
        let mut me = Agent::new(router.address, mine, "/mcp").await;
        let mut other = Agent::new(router.address, others, "/mcp").await;
        assert_eq!(log(&mut me, "info", "info").await.len(), 1, "{at}: alone");
        let hang = other
            .begin(
                "1",
                "tools/call",
                "\"name\":\"slow\",\"arguments\":{\"ms\":60000}",
                "\"progressToken\":1",
            )
            .await;
        router
            .until("the other one's call is in flight", |s| {
                s["backends"][0]["in_flight"] == 1
            })
            .await;
        assert!(log(&mut me, "alert", "debug").await.is_empty(), "{at}: not alone");
        // Cancelled, it may still log: it counts as there for a while.
        match others {
            Era::Legacy => other.notify("notifications/cancelled", "\"requestId\":1").await,
            Era::Modern => drop(hang),
        }
        router.is_quiet().await;
        assert!(
            log(&mut me, "alert", "debug").await.is_empty(),
            "{at}: a ghost is there"
        );
        // With the process go its ghosts.
        let crash = me.call("9", "crash", "{}").await;
        assert_eq!(crash.code(), 7004, "{at}: {}", crash.response);
    }
    let known = router.log();
    assert!(
        known.contains("secret"),
        "what is nobody's stays in the router's log:\n{known}"
    );
    router.is_sound().await;
}

#[tokio::test]
async fn two_calls_of_one_session_share_its_log_and_the_stream_has_what_no_call_takes() {
    let router = Router::start(&demo("one", &["--era", "legacy"], "")).await;
    router.ready("one").await;
    let mut agent = Agent::new(router.address, Era::Legacy, "/mcp").await;
    let mut stream = agent.listen().await;
    let _slow = agent
        .begin("7", "tools/call", "\"name\":\"slow\",\"arguments\":{\"ms\":60000}", "")
        .await;
    router
        .until("it is in flight", |s| s["backends"][0]["in_flight"] == 1)
        .await;
    // The owner is certain, the call is not: it goes to the session's stream or to one of its calls.
    let heard = agent.call("8", "log", r#"{"level":"error","text":"mine"}"#).await;
    assert!(heard.notes.is_empty(), "{:?}", heard.notes);
    let told = stream.next().await.unwrap();
    assert_eq!(
        (&told["params"]["data"], &told["params"]["level"]),
        (&"mine".into(), &"error".into())
    );
    agent.ask("9", "logging/setLevel", "\"level\":\"critical\"", "").await;
    agent.call("10", "log", r#"{"level":"error","text":"too quiet"}"#).await;
    agent.call("11", "log", r#"{"level":"alert","text":"loud"}"#).await;
    assert_eq!(stream.next().await.unwrap()["params"]["data"], "loud");
    agent.notify("notifications/cancelled", "\"requestId\":7").await;
    router.is_quiet().await;
}
