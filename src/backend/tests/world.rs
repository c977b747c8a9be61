//! What the tests of a backend stand on: a backend, its children, its callers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backend::{Ask, Backend, Entry, Flight, Held, Permit, Settled, Sink, Submit, Target};
use crate::call::AgentKey;
use crate::config::{self, EraChoice};
use crate::error::CallError;
use crate::process::mock::{Mock, MockChild};
use crate::process::{Exit, Spawner};
use crate::wire::RawJson;

/// Longer than any wait of a backend: whoever waits for so long waits for ever.
const FOR_EVER: Duration = Duration::from_secs(100_000);

pub fn agent(n: u64) -> AgentKey {
    AgentKey::Session(n)
}

/// A server that speaks the legacy era, unless a test says otherwise: fewer lines to play.
pub fn settings() -> config::Backend {
    config::Backend {
        command: "server".into(),
        era: EraChoice::Legacy,
        ..config::Backend::default()
    }
}

/// Lets everything run that can run without time passing.
pub async fn idle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub struct World {
    pub backend: Arc<Backend>,
    pub mock: Arc<Mock>,
    children: mpsc::Receiver<MockChild>,
}

impl World {
    pub fn new(settings: config::Backend) -> Self {
        let (mock, children) = Mock::new(64);
        let spawner: Arc<dyn Spawner> = Arc::new(Arc::clone(&mock));
        let backend = Backend::start("b", settings, spawner);
        Self {
            backend,
            mock,
            children,
        }
    }

    /// A backend whose one target is ready.
    pub async fn ready(settings: config::Backend) -> (Self, Server) {
        let mut world = Self::new(settings);
        let server = world.ready_child().await;
        (world, server)
    }

    /// The next child that is started.
    pub async fn child(&mut self) -> Server {
        let child = timeout(FOR_EVER, self.children.recv()).await;
        Server::new(child.expect("a child is started").expect("the spawner lives"))
    }

    /// The next child, after its handshake.
    pub async fn ready_child(&mut self) -> Server {
        let mut server = self.child().await;
        server.shake(&["a"]).await;
        idle().await;
        server
    }

    /// Whether a child was started that nobody has taken.
    pub fn started(&mut self) -> bool {
        self.children.try_recv().is_ok()
    }

    pub fn pass(&self, n: u64) -> Permit {
        match self.backend.enter(&agent(n), 10) {
            Ok(Entry::Pass(permit)) => permit,
            Ok(Entry::Hold(_)) => panic!("it was held"),
            Err(e) => panic!("it was refused: {e:?}"),
        }
    }

    pub fn hold(&self, n: u64) -> Held {
        match self.backend.enter(&agent(n), 10) {
            Ok(Entry::Hold(held)) => held,
            Ok(Entry::Pass(_)) => panic!("it passed"),
            Err(e) => panic!("it was refused: {e:?}"),
        }
    }

    pub fn refusal(&self) -> CallError {
        match self.backend.enter(&agent(99), 10) {
            Ok(_) => panic!("it was let in"),
            Err(e) => e,
        }
    }

    /// A call past the gate and in the inbox of the first live target.
    pub async fn send(&self, n: u64) -> Sent {
        self.send_with(n, Made::default()).await
    }

    pub async fn send_with(&self, n: u64, made: Made) -> Sent {
        let permit = self.pass(n);
        let (target, live) = self.backend.live().swap_remove(0);
        submit(&target, made.incarnation.unwrap_or(live.incarnation), n, permit, made).await
    }

    /// A caller that does what the router does, to the end.
    pub fn caller(&self, n: u64, text: &str) -> JoinHandle<Result<String, CallError>> {
        let (backend, text) = (Arc::clone(&self.backend), text.to_owned());
        tokio::spawn(async move {
            let mut entry = backend.enter(&agent(n), text.len())?;
            loop {
                let permit = match entry {
                    Entry::Pass(permit) => permit,
                    Entry::Hold(mut held) => {
                        held.turn().await?;
                        held.go()
                    }
                };
                let mut live = backend.live();
                let again = if live.is_empty() {
                    permit.hold_again(false)?
                } else {
                    let (target, live) = live.swap_remove(0);
                    let made = Made {
                        text: text.clone(),
                        ..Made::default()
                    };
                    let mut sent = submit(&target, live.incarnation, n, permit, made).await;
                    match sent.flight.settled().await {
                        Settled::Answered(Ok(result)) => return Ok(result.as_str().to_owned()),
                        Settled::Answered(Err(error)) => return Ok(error.as_str().to_owned()),
                        Settled::Refused { why } => return Ok(format!("refused: {why}")),
                        Settled::Lost { why } => return Ok(format!("lost: {why}")),
                        Settled::Returned { replayed } => sent.permit.hold_again(replayed)?,
                        other => panic!("only servers over HTTP say so: {other:?}"),
                    }
                };
                again.willing();
                entry = Entry::Hold(again);
            }
        })
    }
}

/// How a call is made.
#[derive(Default)]
pub struct Made {
    pub text: String,
    pub replay: bool,
    pub incarnation: Option<u64>,
    pub sink: Option<Arc<Ear>>,
}

pub struct Sent {
    pub id: u64,
    pub permit: Permit,
    pub flight: Flight,
}

impl Sent {
    /// How it ended, in a word.
    pub async fn end(&mut self) -> String {
        match timeout(FOR_EVER, self.flight.settled()).await.expect("an end") {
            Settled::Answered(Ok(result)) => result.as_str().to_owned(),
            Settled::Answered(Err(error)) => format!("error {}", error.as_str()),
            Settled::Refused { why } => format!("refused: {why}"),
            Settled::Lost { why } => format!("lost: {why}"),
            Settled::Returned { replayed } => format!("returned, replayed: {replayed}"),
            other => format!("{other:?}"),
        }
    }
}

pub async fn submit(target: &Target, incarnation: u64, n: u64, mut permit: Permit, made: Made) -> Sent {
    let id = target.next_id();
    let params = json!({ "name": "a", "arguments": { "text": made.text } });
    let line = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
    let (reply, receiver) = oneshot::channel();
    let submit = Submit {
        id,
        line: format!("{line}\n").into_bytes(),
        agent: agent(n),
        ticket: permit.ticket(),
        bytes: permit.bytes(),
        replay: made.replay,
        incarnation,
        doubted: false,
        reply,
        sink: made.sink.map(|s| s as Arc<dyn Sink>),
    };
    let flight = target.submit(submit, receiver).await;
    permit.entered();
    Sent { id, permit, flight }
}

/// An agent's ear: what reached it.
#[derive(Default)]
pub struct Ear(Mutex<Vec<String>>, Mutex<Vec<Ask>>);

impl Ear {
    pub fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The only request that came for it.
    pub fn asked(&self) -> Ask {
        let mut asked = std::mem::take(&mut *self.1.lock().unwrap());
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }
}

impl Sink for Ear {
    fn progress(&self, params: RawJson) {
        self.0.lock().unwrap().push(format!("progress {}", params.as_str()));
    }

    fn log(&self, rank: u8, params: RawJson) {
        self.0.lock().unwrap().push(format!("log {rank} {}", params.as_str()));
    }

    fn ask(&self, ask: Ask) {
        self.0.lock().unwrap().push(format!("ask {}", ask.method));
        self.1.lock().unwrap().push(ask);
    }

    fn note(&self, method: &str, params: Option<&RawJson>) {
        let params = params.map_or("", RawJson::as_str);
        self.0.lock().unwrap().push(format!("note {method} {params}"));
    }

    fn later(&self) -> Option<Arc<dyn Sink>> {
        None
    }
}

/// A child that a test plays.
pub struct Server {
    pub child: MockChild,
    read: Vec<u8>,
}

impl Server {
    pub fn new(child: MockChild) -> Self {
        Self {
            child,
            read: Vec::new(),
        }
    }

    /// The next message from the router; `None` at the end of stdin.
    pub async fn hear(&mut self) -> Option<Value> {
        let line = self.hear_line().await;
        (!line.is_empty()).then(|| serde_json::from_slice(&line).unwrap())
    }

    /// Its bytes, newline included; none at the end of stdin.
    pub async fn hear_line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                return self.read.drain(..=end).collect();
            }
            let read = self.child.stdin.read_buf(&mut self.read);
            if timeout(FOR_EVER, read).await.expect("a message or the end").unwrap() == 0 {
                return Vec::new();
            }
        }
    }

    /// The next message, which has this method.
    pub async fn expect(&mut self, method: &str) -> Value {
        let message = self.hear().await.expect("a message");
        assert_eq!(message["method"], method, "{message}");
        message
    }

    /// Nothing is there to hear, and nothing comes.
    pub async fn is_quiet(&mut self) -> bool {
        idle().await;
        timeout(Duration::from_millis(1), self.hear()).await.is_err()
    }

    pub async fn say(&mut self, text: &str) {
        self.child
            .stdout
            .write_all(format!("{text}\n").as_bytes())
            .await
            .unwrap();
    }

    pub async fn notify(&mut self, method: &str, params: Value) {
        self.say(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string())
            .await;
    }

    pub async fn answer(&mut self, id: &Value, result: Value) {
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
            .await;
    }

    pub async fn refuse(&mut self, id: &Value, code: i64) {
        let error = json!({ "code": code, "message": "no" });
        self.say(&json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
            .await;
    }

    /// Takes the next call and answers it with its own text.
    pub async fn serve(&mut self) -> String {
        let call = self.expect("tools/call").await;
        let text = call["params"]["arguments"]["text"].clone();
        self.answer(&call["id"], json!({ "text": text })).await;
        text.as_str().unwrap().to_owned()
    }

    /// The legacy handshake up to the tool list.
    pub async fn greet(&mut self) {
        let hello = self.expect("initialize").await;
        let capabilities = json!({ "tools": { "listChanged": true }, "logging": {} });
        let result = json!({ "protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": {} });
        self.answer(&hello["id"], result).await;
        self.expect("notifications/initialized").await;
    }

    pub async fn list(&mut self, tools: &[&str]) {
        let list = self.expect("tools/list").await;
        let tools: Vec<Value> = tools.iter().map(|t| json!({ "name": t })).collect();
        self.answer(&list["id"], json!({ "tools": tools })).await;
    }

    pub async fn shake(&mut self, tools: &[&str]) {
        self.greet().await;
        self.list(tools).await;
    }

    pub fn die(&self) {
        self.child.handle.exit(Exit::killed(9));
    }

    pub fn end(&self) -> Option<Exit> {
        self.child.handle.exited()
    }
}
