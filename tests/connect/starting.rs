//! Who starts the router, how it lives on, and what is said if it cannot be started.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use rustix::process::{Signal, kill_process};
use serde_json::json;
use tokio::task::JoinSet;

use crate::place::{CONFIG, Place};
use crate::shim::{Shim, text};
use crate::support::{in_time, lives, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_shims_at_once_start_one_router_which_outlives_them() {
    let place = std::sync::Arc::new(Place::new(CONFIG));
    let mut shims = JoinSet::new();
    for number in 0..10 {
        let place = std::sync::Arc::clone(&place);
        shims.spawn(async move {
            let mut shim = Shim::open(&place, number % 2 == 0, &[]).await;
            let answer = shim.ask_tool("echo", json!({ "text": number.to_string() })).await;
            assert_eq!(text(&answer), number.to_string());
            shim
        });
    }
    let shims = in_time("all shims", shims.join_all()).await;
    let routers = place.routers();
    assert_eq!(routers.len(), 1, "one router runs: {routers:?}");
    assert_eq!(place.log().matches("policies active").count(), 1, "{}", place.log());
    let starters = shims.iter().filter(|s| s.log().contains("is being started")).count();
    assert_eq!(starters, 1, "one of them has started it");
    assert_eq!(place.status().await["sessions"], 5);

    // Nothing by which a client that ends its server would find it.
    let router = routers[0];
    let [parent, group, session] = kin(router.as_raw_nonzero().get());
    assert_ne!(parent, i32::try_from(std::process::id()).unwrap());
    for shim in &shims {
        let shim = i32::try_from(shim.child.id().unwrap()).unwrap();
        let [_, its_group, its_session] = kin(shim);
        assert_ne!(parent, shim);
        assert_ne!(group, its_group);
        assert_ne!(session, its_session);
    }

    for shim in shims {
        let (rest, status) = shim.close().await;
        assert_eq!(rest, Vec::<serde_json::Value>::new());
        assert!(status.success(), "{status}");
    }
    assert!(lives(router), "the router outlives its clients");
    assert_eq!(place.status().await["sessions"], 0, "their sessions were ended");
    let mode = |name: &str| place.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
    for name in ["admin.sock", "admin-mcp.sock", "admin-mcp.lock", "admin-mcp.log"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_told_and_taken_up_once_it_is_right() {
    let place = Place::new("[backends.work]\ncommand = 7\n");
    let mut shim = Shim::start(&place, false, &[]);
    let opening = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {} });
    let answer = shim.ask("initialize", opening).await;
    assert_eq!(answer["error"]["code"], 7001, "{answer}");
    assert_eq!(answer["error"]["data"]["delivery"], "not_sent");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("the configuration is wrong") && message.contains("command"),
        "{message}"
    );
    assert!(shim.log().contains("the configuration is wrong"), "{}", shim.log());
    place.configure(CONFIG);
    shim.initialize(json!({})).await;
    assert_eq!(text(&shim.ask_tool("echo", json!({ "text": "x" })).await), "x");
    // One that runs is found although its configuration has become wrong: it goes on with the last good one.
    place.configure("[backends.work]\ncommand = 7\n");
    let mut other = Shim::start(&place, true, &[]);
    let refused = other.ask("tools/list", json!({})).await;
    assert_eq!(refused["error"]["code"], 7001, "a new shim cannot know where it is");
    assert_eq!(text(&shim.ask_tool("echo", json!({ "text": "y" })).await), "y");
}

#[tokio::test]
async fn why_a_router_ended_at_its_start_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::new(&format!("[listen]\naddress = \"{address}\"\n{CONFIG}"));
    let mut shim = Shim::start(&place, true, &[]);
    let answer = shim.ask("server/discover", json!({})).await;
    assert_eq!(answer["error"]["code"], 7001, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(&format!("cannot listen on {address}")), "{message}");
    drop(taken);
    let answer = shim.ask("server/discover", json!({})).await;
    assert!(answer["result"].is_object(), "{answer}");
}

#[tokio::test]
async fn a_socket_without_a_fixed_place_is_a_wrong_configuration() {
    let place = Place::new("");
    std::fs::write(place.config(), "[listen]\naddress = \"127.0.0.1:0\"\n").unwrap();
    let answer = Shim::start(&place, true, &[]).ask("tools/list", json!({})).await;
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("set router.mcp-socket"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_router_that_is_told_another_socket_is_found_there() {
    let place = Place::new(CONFIG);
    let text = std::fs::read_to_string(place.config()).unwrap();
    let other = place.path().join("other.sock");
    let text = text.replace("[router]\n", &format!("[router]\nmcp-socket = {}\n", json!(other)));
    std::fs::write(place.config(), text).unwrap();
    let _shim = Shim::open(&place, false, &[]).await;
    assert_eq!(other.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!place.socket().exists());
}

#[tokio::test]
async fn what_is_left_of_a_dead_router_is_in_nobodys_way() {
    let place = Place::new(CONFIG);
    drop(UnixListener::bind(place.socket()).unwrap());
    drop(UnixListener::bind(place.path().join("admin.sock")).unwrap());
    let shim = Shim::open(&place, false, &[]).await;
    assert!(shim.close().await.1.success());
}

#[tokio::test]
async fn a_signal_ends_it_like_the_end_of_stdin() {
    let place = Place::new(CONFIG);
    let mut shim = Shim::open(&place, false, &[]).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(shim.child.id().unwrap()).unwrap()).unwrap();
    let slow = shim.call("slow", json!({ "ms": 300 })).await;
    until("the call at the server", async_in_flight(&place)).await;
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(
        text(&shim.answer(slow).await),
        "waited 300 ms",
        "answers in flight are still written"
    );
    assert!(shim.next().await.is_none());
    assert!(in_time("the end", shim.child.wait()).await.unwrap().success());
    assert_eq!(place.status().await["sessions"], 0);

    let mut shim = Shim::open(&place, false, &[]).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(shim.child.id().unwrap()).unwrap()).unwrap();
    shim.call("hang", json!({})).await;
    until("the call at the server", async_in_flight(&place)).await;
    kill_process(pid, Signal::TERM).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    until("the second one", || {
        let _ = kill_process(pid, Signal::TERM);
        shim.child.try_wait().unwrap()
    })
    .await;
}

/// The parent, the group and the session of a process. Read from the kernel's own words: a session that began outside
/// of a container is 0 in it, which the typed calls of rustix do not allow for.
fn kin(pid: i32) -> [i32; 3] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let numbers: Vec<i32> = fields.split(' ').skip(1).take(3).map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Whether a call is in flight at the server, asked again and again.
fn async_in_flight(place: &Place) -> impl FnMut() -> Option<()> + '_ {
    move || {
        let output = std::process::Command::new(crate::support::PROGRAM)
            .args(["status", "--json", "--socket"])
            .arg(place.path().join("admin.sock"))
            .output()
            .ok()?;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["backends"][0]["targets"][0]["in_flight"].as_u64()? > 0).then_some(())
    }
}
