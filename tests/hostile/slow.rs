//! Clients that stop reading: others do not notice, memory stays bounded, and the connection is closed in time.

use std::fs;
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use super::support::client::Stream;
use super::support::router::demo;
use super::support::{Agent, Era, Router, count, until};

fn sockets(router: &Router) -> usize {
    let files = fs::read_dir(format!("/proc/{}/fd", router.pid())).unwrap();
    let links = files.filter_map(|f| fs::read_link(f.ok()?.path()).ok());
    links.filter(|l| l.to_string_lossy().starts_with("socket:")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_reading_harms_nobody_and_is_hung_up_on() {
    let clients = count(20, 4);
    let router = Router::start(&format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nwrite-timeout = \"1s\"\nstream-after = \"1ms\"\n{}",
        demo("one", &[], "max-in-flight = 256")
    ))
    .await;
    router.ready("one").await;
    let mut other = Agent::new(router.address, Era::Legacy, "/mcp").await;
    let before = sockets(&router);
    let begin = Instant::now();
    let mut stalled = Vec::new();
    for n in 0..clients {
        let era = if n % 2 == 0 { Era::Legacy } else { Era::Modern };
        let agent = Agent::new(router.address, era, "/mcp").await;
        // A small window, so that the router's writes stop early.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let stream = socket.connect(router.address).await.unwrap();
        let params = "\"name\":\"big\",\"arguments\":{\"n\":12000000}";
        let (headers, body) = agent.envelope("1", "tools/call", params, "\"progressToken\":1");
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let request = agent.request(&headers, body.as_bytes());
        let mut sent = 0;
        while sent < request.len() {
            stream.writable().await.unwrap();
            sent += stream.try_write(&request[sent..]).unwrap_or(0);
        }
        stalled.push((agent, stream));
    }
    // Each legacy one keeps the connection of its `initialize`.
    let mut calls = 0;
    let mut slowest = Duration::ZERO;
    while sockets(&router) > before + clients.div_ceil(2) || begin.elapsed() < Duration::from_millis(1500) {
        let one = Instant::now();
        calls += 1;
        let call = other.call(&calls.to_string(), "echo", r#"{"text":"x"}"#).await;
        assert_eq!(call.text(), "x", "{}", call.response);
        slowest = slowest.max(one.elapsed());
        assert!(begin.elapsed() < super::support::PATIENCE, "they are never hung up on");
    }
    println!(
        "{clients} clients do not read: hung up on within {:?}; {calls} calls beside them, the slowest {slowest:?}; peak {} kB",
        begin.elapsed(),
        router.kilobytes("VmHWM")
    );
    let bound = 150_000 + 60_000 * u64::try_from(clients).unwrap();
    assert!(router.kilobytes("VmHWM") < bound);
    router.is_quiet().await;
    drop(stalled);
    until("all their sockets are closed", || async {
        (sockets(&router) <= before + 1).then_some(())
    })
    .await;
    router.is_sound().await;
}

#[tokio::test]
async fn a_session_stream_that_nobody_reads_loses_notes_and_nothing_else() {
    let router = Router::start(&format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n[sessions]\nstream-events = 4\n{}",
        demo("one", &["--era", "legacy"], "")
    ))
    .await;
    router.ready("one").await;
    let mut agent = Agent::new(router.address, Era::Legacy, "/mcp").await;
    let mut stream = agent.listen().await;
    for n in 0..count(5_000, 300) {
        let call = agent
            .call(&n.to_string(), "log", r#"{"level":"error","text":"unread"}"#)
            .await;
        assert_eq!(call.text(), "logged", "{}", call.response);
    }
    assert_eq!(stream.next().await.unwrap()["params"]["data"], "unread");
    // A second stream takes the place of the first, which ends, and has what that one was not given.
    let mut second: Stream = agent.listen().await;
    agent.call("\"z\"", "log", r#"{"level":"error","text":"second"}"#).await;
    let mut unread = 0;
    while second.next().await.unwrap()["params"]["data"] != "second" {
        unread += 1;
    }
    assert!(unread <= 4, "{unread} were kept");
    while let Some(rest) = stream.next().await {
        assert_eq!(rest["params"]["data"], "unread");
    }
    router.is_sound().await;
}
