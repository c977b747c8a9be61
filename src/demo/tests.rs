//! The demo server driven over in-memory streams, in both protocol eras.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use super::server::Server;
use super::{EraChoice, Options, stdio};

struct Client {
    input: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Client {
    fn new(options: Options) -> Self {
        let (near, far) = tokio::io::duplex(1 << 20);
        let server = Server::new(options).unwrap();
        let (input, output) = tokio::io::split(far);
        let server = tokio::spawn(async move { stdio::run(&server, input, output).await });
        let (lines, input) = tokio::io::split(near);
        Self {
            input,
            lines: BufReader::new(lines).lines(),
            server,
        }
    }

    async fn send(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).await.unwrap();
        self.input.write_all(b"\n").await.unwrap();
    }

    async fn line(&mut self) -> String {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line());
        line.await.expect("an answer in time").unwrap().unwrap()
    }

    async fn message(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    async fn ask(&mut self, text: &str) -> Value {
        self.send(text).await;
        self.message().await
    }

    async fn call(&mut self, id: u32, tool: &str, arguments: Value) {
        let params = json!({"name": tool, "arguments": arguments});
        self.send(&request(id, "tools/call", params)).await;
    }

    async fn modern(&mut self, id: u32, method: &str, mut params: Value) {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        self.send(&request(id, method, params)).await;
    }
}

fn request(id: u32, method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()
}

fn text(message: &Value) -> &str {
    message["result"]["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn echo_hands_the_text_back_as_it_was_written() {
    let mut client = Client::new(Options::default());
    let call = r#"{"params":{"arguments":{"text":"\u00e9\/ \ud83d\ude00 é"},"name":"echo"},"id":"a\u0062","jsonrpc":"2.0","method":"tools/call"}"#;
    client.send(call).await;
    assert_eq!(
        client.line().await,
        r#"{"jsonrpc":"2.0","id":"a\u0062","result":{"content":[{"type":"text","text":"\u00e9\/ \ud83d\ude00 é"}]}}"#
    );
}

#[tokio::test]
async fn a_message_in_pieces_and_several_in_one_are_all_answered() {
    let mut client = Client::new(Options::default());
    let long = "x".repeat(300_000);
    let call = request(1, "tools/call", json!({"name": "echo", "arguments": {"text": long}}));
    let (head, rest) = call.split_at(150_000);
    client.input.write_all(head.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    client.send(rest).await;
    assert_eq!(text(&client.message().await), long);
    let two = [2, 3].map(|id| request(id, "ping", json!({}))).join("\n");
    assert_eq!(client.ask(&two).await, json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    assert_eq!(client.message().await["id"], 3);
}

#[tokio::test(start_paused = true)]
async fn slow_calls_block_nobody_and_cancelled_ones_never_answer() {
    let mut client = Client::new(Options::default());
    client.call(1, "slow", json!({"ms": 500, "text": "one"})).await;
    client.call(2, "slow", json!({"ms": 100})).await;
    client.call(3, "slow", json!({"ms": 200})).await;
    client.call(4, "hang", json!({})).await;
    for id in [3, 4] {
        let params = json!({"requestId": id});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        client.send(&note.to_string()).await;
    }
    client.call(5, "echo", json!({"text": "quick"})).await;
    assert_eq!(text(&client.message().await), "quick");
    assert_eq!(text(&client.message().await), "waited 100 ms");
    let last = client.message().await;
    assert_eq!((&last["id"], text(&last)), (&json!(1), "one"));
}

#[tokio::test(start_paused = true)]
async fn progress_uses_the_callers_token() {
    let mut client = Client::new(Options::default());
    let params = json!({"name": "progress", "arguments": {"steps": 2, "ms": 10}, "_meta": {"progressToken": "t"}});
    client.send(&request(1, "tools/call", params)).await;
    for step in 1..=2 {
        let params = &client.message().await["params"];
        assert_eq!(params["progressToken"], "t");
        assert_eq!((&params["progress"], &params["total"]), (&json!(step), &json!(2)));
    }
    assert_eq!(text(&client.message().await), "done after 2 steps");
}

#[tokio::test]
async fn legacy_clients_shake_hands_and_set_the_log_level() {
    let mut client = Client::new(Options::default());
    for (asked, given) in [("2025-06-18", "2025-06-18"), ("2024-01-01", "2025-11-25")] {
        let answer = client
            .ask(&request(
                1,
                "initialize",
                json!({"protocolVersion": asked, "capabilities": {}}),
            ))
            .await;
        assert_eq!(answer["result"]["protocolVersion"], given);
        assert_eq!(answer["result"]["capabilities"]["tools"]["listChanged"], true);
    }
    client.call(2, "log", json!({"level": "debug", "text": "a"})).await;
    assert_eq!(client.message().await["id"], 2);
    let level = json!({"level": "debug"});
    client.ask(&request(3, "logging/setLevel", level)).await;
    client.call(4, "log", json!({"level": "debug", "text": "a"})).await;
    let note = client.message().await;
    assert_eq!(note["params"], json!({"level": "debug", "logger": "demo", "data": "a"}));
    assert_eq!(client.message().await["id"], 4);
}

#[tokio::test]
async fn modern_requests_need_the_envelope_and_carry_their_results_marks() {
    let mut client = Client::new(Options::default());
    client.modern(1, "server/discover", json!({})).await;
    let result = client.message().await["result"].take();
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["resultType"], "complete");
    assert!(result["ttlMs"].is_u64() && result["cacheScope"].is_string());
    client.modern(2, "tools/list", json!({})).await;
    let result = client.message().await["result"].take();
    assert!(result["ttlMs"].is_u64() && result["tools"].is_array());
    client.modern(3, "ping", json!({})).await;
    assert_eq!(client.message().await["error"]["code"], -32601);
    let version = "io.modelcontextprotocol/protocolVersion";
    for (named, code) in [("2026-07-28", -32602), ("2027-01-01", -32022)] {
        let answer = client
            .ask(&request(4, "tools/list", json!({"_meta": {version: named}})))
            .await;
        assert_eq!(answer["error"]["code"], code);
    }
    let params = json!({"name": "log", "arguments": {"level": "info", "text": "a"}});
    client.modern(5, "tools/call", params.clone()).await;
    assert_eq!(client.message().await["id"], 5);
    let mut params = params;
    params["_meta"]["io.modelcontextprotocol/logLevel"] = json!("info");
    client.modern(6, "tools/call", params).await;
    assert_eq!(client.message().await["method"], "notifications/message");
    assert_eq!(client.message().await["id"], 6);
}

#[tokio::test]
async fn a_server_of_one_era_refuses_the_other() {
    let mut legacy = Client::new(Options {
        era: EraChoice::Legacy,
        ..Options::default()
    });
    legacy.modern(1, "server/discover", json!({})).await;
    assert_eq!(legacy.message().await["error"]["code"], -32601);
    let mut modern = Client::new(Options {
        era: EraChoice::Modern,
        ..Options::default()
    });
    let hello = json!({"protocolVersion": "2025-11-25"});
    let error = modern.ask(&request(1, "initialize", hello)).await["error"].take();
    assert_eq!(error["code"], -32022);
    assert_eq!(error["data"]["supported"], json!(["2026-07-28"]));
    let bare = modern.ask(&request(2, "tools/list", json!({}))).await;
    assert_eq!(bare["error"]["code"], -32602);
}

#[tokio::test]
async fn a_changed_list_is_told_to_subscribers_by_their_id_and_to_legacy_clients_plainly() {
    let mut client = Client::new(Options::default());
    let wish = json!({"notifications": {"toolsListChanged": true, "promptsListChanged": true}});
    client.modern(7, "subscriptions/listen", wish).await;
    let id = "io.modelcontextprotocol/subscriptionId";
    let ack = client.message().await;
    assert_eq!(ack["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        ack["params"],
        json!({"_meta": {id: 7}, "notifications": {"toolsListChanged": true}})
    );
    let add = json!({"name": "add_tool", "arguments": {"name": "more"}});
    client.modern(8, "tools/call", add).await;
    assert_eq!(client.message().await["id"], 8);
    let changed = client.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"][id], 7);
    client.call(9, "more", json!({"text": "hi"})).await;
    assert_eq!(text(&client.message().await), "hi");
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
    client.send(&cancel.to_string()).await;
    client.ask(&request(10, "initialize", json!({}))).await;
    client.call(11, "remove_tool", json!({"name": "more"})).await;
    let changed = client.message().await;
    assert_eq!(
        changed,
        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    );
    assert_eq!(client.message().await["id"], 11);
    client.call(12, "more", json!({"text": "hi"})).await;
    assert_eq!(client.message().await["error"]["code"], -32602);
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let mut client = Client::new(Options::default());
    for (line, code) in [
        ("[]", -32600),
        ("{\"jsonrpc\":\"2.0\",", -32700),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":1}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"none"}"#, -32601),
    ] {
        assert_eq!(client.ask(line).await["error"]["code"], code, "{line}");
    }
    // Notifications and responses are never answered: the next line is the answer to the ping.
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/none"}"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).await;
    assert_eq!(client.ask(&request(2, "ping", json!({}))).await["id"], 2);
    drop(client.input);
    drop(client.lines);
    client.server.await.unwrap().unwrap();
}

#[tokio::test]
async fn appended_lines_are_in_the_file_before_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (file, log) = (folder.path().join("file"), folder.path().join("log"));
    let mut client = Client::new(Options {
        file: Some(file.clone()),
        order_log: Some(log.clone()),
        ..Options::default()
    });
    client.call(1, "append", json!({"id": "a"})).await;
    assert_eq!(text(&client.message().await), "appended a");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\n");
    client.call(2, "read", json!({"id": "b"})).await;
    assert!(text(&client.message().await).starts_with("read b pid="));
    client.call(3, "append", json!({"id": "c"})).await;
    client.message().await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\nc\n");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "a\nb\nc\n");
    let mut without = Client::new(Options::default());
    without.call(1, "append", json!({"id": "a"})).await;
    assert_eq!(without.message().await["result"]["isError"], true);
}

#[tokio::test]
async fn the_other_tools_do_what_they_say() {
    let mut client = Client::new(Options::default());
    client.call(1, "counter", json!({})).await;
    client.message().await;
    client.call(2, "counter", json!({})).await;
    let counted = client.message().await;
    assert_eq!(text(&counted), "2");
    assert_eq!(counted["result"]["structuredContent"]["value"], 2);
    client.call(3, "big", json!({"n": 70_000})).await;
    assert_eq!(text(&client.message().await).len(), 70_000);
    client.call(4, "junk", json!({"text": "not json"})).await;
    assert_eq!(client.line().await, "not json");
    assert_eq!(client.message().await["id"], 4);
    client.call(5, "env", json!({"name": "CARGO_PKG_NAME"})).await;
    assert_eq!(text(&client.message().await), env!("CARGO_PKG_NAME"));
    client.call(6, "echo", json!({"text": 1})).await;
    assert_eq!(client.message().await["result"]["isError"], true);
}
