//! Event streams of legacy agents that are cut at random points, and resumed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{Agent, Router, count, in_time};

/// A server that logs to whoever did not ask for a level.
const DEMO: &str = "[backends.work]\ncommand = \"@program\"\nargs = [\"demo-server\", \"--era\", \"legacy\"]\n";

/// Numbers that look random, and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// What a client has of a stream that it reads over many connections.
#[derive(Default)]
struct Reading {
    last: Option<String>,
    /// The messages of whole events, by their numbers.
    seen: Vec<(u64, Value)>,
    cuts: usize,
    resumed: BTreeMap<u16, usize>,
}

impl Reading {
    /// Takes what one connection brought; what is no whole event is as good as lost. Tells whether it was all.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return false;
        };
        let status = String::from_utf8_lossy(&bytes[..head]);
        let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
        *self.resumed.entry(status).or_default() += 1;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(bytes));
        let (text, whole) = unchunked(&bytes[head + 4..]);
        // Behind the last blank line is what was cut.
        let events = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        for event in events.split("\n\n") {
            let field = |name: &str| event.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
            let Some(id) = field("id") else { continue };
            self.last = Some(id.to_owned());
            if let Some(data) = field("data").filter(|data| !data.is_empty()) {
                let number = id.rsplit('.').next().unwrap().parse().unwrap();
                self.seen.push((number, serde_json::from_str(data).unwrap()));
            }
        }
        whole
    }

    fn assert_rising(&self) {
        let numbers: Vec<u64> = self.seen.iter().map(|(number, _)| *number).collect();
        assert!(numbers.windows(2).all(|two| two[0] < two[1]), "{numbers:?}");
    }
}

/// The text of a chunked body as far as it came, and whether it came to its end.
fn unchunked(mut bytes: &[u8]) -> (String, bool) {
    let mut text = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (String::from_utf8(text).unwrap(), true);
        }
        let rest = &bytes[end + 2..];
        text.extend_from_slice(&rest[..size.min(rest.len())]);
        bytes = rest.get(size + 2..).unwrap_or_default();
    }
    (String::from_utf8_lossy(&text).into_owned(), false)
}

/// One connection: sends `request`, reads so many bytes, after the first event where that is wanted, and is gone.
async fn cut(address: &str, request: &str, primed: bool, most: usize) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let mut left = most;
    loop {
        // The first connection must learn where it is, or nothing can be resumed.
        let waits = primed && !all.windows(8).any(|w| w == b"data: \n\n");
        if !waits && left == 0 {
            return all;
        }
        let mut piece = vec![0; if waits { 64 } else { left.min(4096) }];
        let read = in_time("some bytes", stream.read(&mut piece)).await.unwrap_or(0);
        all.extend_from_slice(&piece[..read]);
        left -= if waits { 0 } else { read };
        if read == 0 || all.ends_with(b"\r\n0\r\n\r\n") {
            return all;
        }
    }
}

fn get(session: &str, last: Option<&str>) -> String {
    let last = last.map_or_else(String::new, |last| format!("last-event-id: {last}\r\n"));
    format!(
        "GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\n{last}\r\n"
    )
}

fn post(session: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\naccept: application/json, text/event-stream\r\n\
         mcp-session-id: {session}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn a_calls_stream_cut_at_random_points_and_resumed_loses_nothing_and_repeats_nothing() {
    let router = Router::start(DEMO).await;
    router.ready("work").await;
    let agent = Agent::legacy(&router.address).await;
    let session = agent.session();
    let (cuts, steps) = (count(20, 100), count(120, 900));
    let call = json!({ "jsonrpc": "2.0", "id": "cut", "method": "tools/call", "params": { "name": "progress",
        "arguments": { "steps": steps, "ms": 1 }, "_meta": { "progressToken": "cut" } } });
    let mut dice = Dice(7);
    let mut reading = Reading::default();
    let bytes = cut(&router.address, &post(session, &call), true, 100).await;
    let mut whole = reading.take(&bytes);
    while !whole {
        reading.cuts += 1;
        let most = match reading.cuts < cuts {
            true => dice.below(1500) as usize,
            false => usize::MAX,
        };
        let request = get(session, reading.last.as_deref());
        whole = reading.take(&cut(&router.address, &request, false, most).await);
    }
    reading.assert_rising();
    let (_, response) = reading.seen.pop().unwrap();
    assert_eq!(
        (&response["id"], response["error"].is_null()),
        (&"cut".into(), true),
        "{response}"
    );
    let progress: Vec<f64> = reading
        .seen
        .iter()
        .map(|(_, m)| m["params"]["progress"].as_f64().unwrap())
        .collect();
    let expected: Vec<f64> = (1..=steps).map(|n| n as f64).collect();
    assert_eq!(progress, expected);
    println!(
        "cut {} times: {} notifications and the response, each once and in order; answers to GET {:?}",
        reading.cuts,
        progress.len(),
        reading.resumed
    );
    assert!(reading.cuts >= cuts, "it was over after {} cuts", reading.cuts);
}

#[tokio::test]
async fn a_sessions_own_stream_cut_at_random_points_and_resumed_loses_nothing_and_repeats_nothing() {
    // The comments are what keeps a reader busy who waits for so many bytes.
    let router = Router::start(&format!("[listen]\nkeep-alive = \"2ms\"\n{DEMO}")).await;
    router.ready("work").await;
    let agent = Agent::legacy(&router.address).await;
    let session = agent.session().to_owned();
    agent.tools().await;
    let (cuts, logs) = (count(20, 100), count(100, 600));
    let mut reading = Reading::default();
    let first = cut(&router.address, &get(&session, None), true, 0).await;
    reading.take(&first);
    let (told, changes) = watch::channel(0);
    let speaker = tokio::spawn(speak(agent, logs, changes));
    let (mut dice, mut changed) = (Dice(11), 0);
    while reading
        .seen
        .last()
        .is_none_or(|(_, m)| m["params"]["data"] != "the end")
    {
        reading.cuts += 1;
        let most = match reading.cuts < cuts {
            true => dice.below(1200) as usize,
            // Bounded, for this stream has no end.
            false => 800,
        };
        let request = get(&session, reading.last.as_deref());
        let before = reading.seen.len();
        reading.take(&cut(&router.address, &request, false, most).await);
        let new = &reading.seen[before..];
        changed += new
            .iter()
            .filter(|(_, m)| m["method"] == "notifications/tools/list_changed")
            .count();
        told.send_replace(changed);
        let lost = speaker.is_finished() && reading.cuts > cuts + 100;
        assert!(!lost, "the end was not told after {:?}", reading.seen.last());
    }
    let adds = speaker.await.unwrap();
    reading.assert_rising();
    assert_eq!(changed, adds, "every change was told once");
    let said = reading
        .seen
        .iter()
        .filter_map(|(_, m)| m["params"]["data"].as_str()?.parse().ok());
    assert_eq!(said.collect::<Vec<usize>>(), (0..logs).collect::<Vec<_>>());
    println!(
        "cut {} times: {logs} log messages and {changed} changes, each once and in order",
        reading.cuts
    );
}

/// Lets the server log, and now and then change its list, each change when the last one was told.
async fn speak(agent: Agent, logs: usize, mut changes: watch::Receiver<usize>) -> usize {
    let mut adds = 0;
    for n in 0..logs {
        let logged = agent
            .call("log", json!({ "level": "error", "text": n.to_string() }))
            .await;
        assert_eq!(logged.text(), Some("logged"));
        if n % 20 == 10 && *changes.borrow_and_update() == adds {
            adds += 1;
            agent.call("add_tool", json!({ "name": format!("more_{n}") })).await;
        }
    }
    in_time("the last change to be told", changes.wait_for(|told| *told == adds))
        .await
        .unwrap();
    agent.call("log", json!({ "level": "error", "text": "the end" })).await;
    adds
}

#[tokio::test]
async fn an_event_id_is_good_in_its_session_alone() {
    let router = Router::start(DEMO).await;
    router.ready("work").await;
    let (one, two) = (
        Agent::legacy(&router.address).await,
        Agent::legacy(&router.address).await,
    );
    let stream = one.listen().await;
    let id = stream.last_id.clone().expect("it says where it is");
    assert_eq!(stream.retry, Some(1000));
    for (session, last, status) in [
        (two.session(), id.as_str(), 400),
        (one.session(), "nonsense", 400),
        (one.session(), "1.99.0", 400),
        (one.session(), id.as_str(), 200),
        (two.session(), "", 200),
    ] {
        let bytes = cut(&router.address, &get(session, Some(last)), false, 12).await;
        assert_eq!(bytes, format!("HTTP/1.1 {status}").as_bytes(), "{last}");
    }
    // A modern agent has no streams to come back to.
    let modern = get("x", Some(&id)).replace("mcp-session-id: x", "mcp-protocol-version: 2026-07-28");
    assert_eq!(cut(&router.address, &modern, false, 12).await, b"HTTP/1.1 405");
}

#[tokio::test]
async fn what_overruns_the_ring_is_progress_and_never_the_answer() {
    let config = format!("[sessions]\nstream-events = 4\nstream-keep = \"1m\"\n{DEMO}");
    let router = Router::start(&config).await;
    router.ready("work").await;
    let agent = Agent::legacy(&router.address).await;
    let session = agent.session();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "progress",
        "arguments": { "steps": 200, "ms": 1 }, "_meta": { "progressToken": 1 } } });
    let mut reading = Reading::default();
    reading.take(&cut(&router.address, &post(session, &call), true, 0).await);
    assert!(reading.last.is_some());
    // It is over when nothing is in flight.
    router
        .backend_until("work", "the end of the call", |b| b["targets"][0]["in_flight"] == 0)
        .await;
    let whole = reading.take(
        &cut(
            &router.address,
            &get(session, reading.last.as_deref()),
            false,
            usize::MAX,
        )
        .await,
    );
    assert!(whole);
    reading.assert_rising();
    assert_eq!(reading.seen.last().unwrap().1["id"], 1);
    assert!((1..=8).contains(&reading.seen.len()), "{:?}", reading.seen);
}
