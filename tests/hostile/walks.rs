//! Random walks of agents over a backend that keeps dying: whatever they do, every request gets exactly one
//! response or a closed connection, and nothing is left behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::support::router::demo;
use super::support::{Agent, Called, Connection, Dice, Era, Router, count};

const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

struct Walker {
    address: SocketAddr,
    agent: Agent,
    dice: Dice,
    id: u64,
    sessions: Arc<AtomicI64>,
}

impl Walker {
    async fn new(address: SocketAddr, mut dice: Dice, sessions: Arc<AtomicI64>) -> Self {
        let agent = Self::agent(address, &mut dice, &sessions).await;
        Self {
            address,
            agent,
            dice,
            id: 0,
            sessions,
        }
    }

    async fn agent(address: SocketAddr, dice: &mut Dice, sessions: &AtomicI64) -> Agent {
        match dice.below(4) {
            3 => Agent::new(address, Era::Modern, "/mcp").await,
            version => {
                sessions.fetch_add(1, Ordering::SeqCst);
                Agent::legacy(address, "/mcp", VERSIONS[usize::try_from(version).unwrap()]).await
            }
        }
    }

    /// An answer with the request's id, notifications without any, and nothing else.
    fn check(&self, call: &Called) {
        assert_eq!(call.response["id"], self.id, "{:?} {call:?}", self.agent.era);
        assert!(
            call.response["result"].is_object() != call.response["error"].is_object(),
            "{}",
            call.response
        );
        assert!(
            call.notes.iter().all(|n| n["id"].is_null() && n["method"].is_string()),
            "{:?}",
            call.notes
        );
        let code = call.code();
        let known = [0, 7001, 7002, 7003, 7004, 7005, -32600, -32601, -32602];
        assert!(known.contains(&code), "{}", call.response);
    }

    async fn ask(&mut self, method: &str, params: &str, meta: &str) {
        let id = self.id.to_string();
        let call = self.agent.ask(&id, method, params, meta).await;
        self.check(&call);
    }

    async fn step(&mut self) {
        self.id += 1;
        let id = self.id.to_string();
        let legacy = self.agent.era == Era::Legacy;
        let tool = |name: &str, arguments: &str| format!("\"name\":\"{name}\",\"arguments\":{{{arguments}}}");
        match self.dice.below(18) {
            0..3 => self.ask("tools/call", &tool("echo", "\"text\":\"x\""), "").await,
            3 => {
                self.ask("tools/call", &tool("slow", "\"ms\":20"), "\"progressToken\":0")
                    .await
            }
            4 | 5 => {
                self.ask(
                    "tools/call",
                    &tool("progress", "\"steps\":5,\"ms\":2"),
                    "\"progressToken\":\"p\"",
                )
                .await
            }
            6 => self.ask("tools/call", &tool("crash", ""), "").await,
            7 => self.ask("tools/list", "", "").await,
            8 => self.ask("tools/call", &tool("nobody's", ""), "").await,
            9 => self.ask("tools/call", "\"name\":5", "").await,
            10 => self.ask("logging/setLevel", "\"level\":\"debug\"", "").await,
            11 => {
                self.ask(
                    "tools/call",
                    &tool("log", "\"level\":\"error\",\"text\":\"l\""),
                    "\"progressToken\":1",
                )
                .await
            }
            // Taken back: by a word where there is a session, else by hanging up.
            12 => {
                let mut call = self.agent.begin(&id, "tools/call", &tool("hang", ""), "").await;
                if legacy {
                    let body = format!(
                        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}"
                    );
                    let cancel = self.agent.request(&[], body.as_bytes());
                    // It may come before the call itself, which then goes on: again until that is answered.
                    let address = self.address;
                    let again = async {
                        loop {
                            let mut connection = Connection::open(address).await;
                            connection.send(&cancel).await.unwrap();
                            assert_eq!(connection.reply().await.unwrap().status, 202);
                            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        }
                    };
                    let reply = tokio::select! { reply = call.reply() => reply.unwrap(), () = again => unreachable!("it goes on") };
                    let last = reply.json();
                    assert!(last["id"] == self.id && last["error"].is_object(), "{last}");
                }
            }
            13 => {
                // Half a request, or junk.
                let mut connection = Connection::open(self.address).await;
                let request = self
                    .agent
                    .request(&[], b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}");
                let part = usize::try_from(self.dice.below(request.len() as u64)).unwrap();
                connection.send(&request[..part]).await.unwrap();
            }
            14 => {
                let length = usize::try_from(self.dice.below(200)).unwrap();
                let junk: Vec<u8> = (0..length)
                    .map(|_| u8::try_from(self.dice.below(256)).unwrap())
                    .collect();
                let reply = self.agent.raw(&[], &junk).await;
                assert_eq!(reply.status, 400, "{junk:?}: {}", reply.text());
            }
            15 if legacy => {
                let batch = format!(
                    "[{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{{}}}}},1]",
                    tool("echo", "\"text\":\"b\"")
                );
                let reply = self.agent.raw(&[], batch.as_bytes()).await;
                let answers: Vec<Value> = serde_json::from_value(reply.json()).unwrap_or_default();
                assert!(
                    reply.status == 400 || answers.len() == 2 && answers[0]["id"] == self.id,
                    "{}",
                    reply.text()
                );
            }
            16 if legacy => {
                let session = self.agent.session.take().unwrap();
                let text = format!("DELETE /mcp HTTP/1.1\r\nhost: localhost\r\nmcp-session-id: {session}\r\n\r\n");
                let mut connection = Connection::open(self.address).await;
                connection.send(text.as_bytes()).await.unwrap();
                assert_eq!(connection.reply().await.unwrap().status, 200);
                self.sessions.fetch_sub(1, Ordering::SeqCst);
                self.agent = Self::agent(self.address, &mut self.dice, &self.sessions).await;
            }
            _ => drop(self.agent.listen().await),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_any_walk_is_answered_once() {
    let (walks, steps) = (count(10, 2), count(500, 60));
    for walk in 0..walks {
        let seed = std::env::var("POINTSMAN_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or_else(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                u64::from(now.subsec_nanos()) << 20 | 1
            });
        println!("walk {walk}: POINTSMAN_SEED={seed}");
        let fast = "backoff = { min = \"1ms\", base = \"5ms\", max = \"20ms\" }\ncrash-loop = { deaths = 1000 }";
        let router = Router::start(&demo("one", &["--die-after", "900"], fast)).await;
        router.ready("one").await;
        let sessions = Arc::new(AtomicI64::new(0));
        let walkers: Vec<_> = (1..=5)
            .map(|n| {
                let (address, sessions) = (router.address, Arc::clone(&sessions));
                tokio::spawn(async move {
                    let mut walker = Walker::new(
                        address,
                        Dice(seed ^ 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(n)),
                        sessions,
                    )
                    .await;
                    for _ in 0..steps {
                        walker.step().await;
                    }
                })
            })
            .collect();
        for walker in walkers {
            walker.await.unwrap();
        }
        router.is_quiet().await;
        let status = router.status().await;
        println!(
            "{} restarts, {} sessions, peak {} kB",
            status["backends"][0]["targets"][0]["restarts"],
            status["sessions"],
            router.kilobytes("VmHWM")
        );
        assert_eq!(status["sessions"], sessions.load(Ordering::SeqCst));
        router.is_sound().await;
    }
}
