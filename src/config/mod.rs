//! The configuration as types. Every queue has a capacity and a wait.

mod audience;
mod auth;
mod check;
mod defaults;
mod demo;
mod diff;
mod doc;
mod endpoint;
mod expand;
mod exposure;
mod grants;
mod item;
mod load;
mod lock;
mod mcp_servers;
mod names;
mod oauth;
mod pipeline;
mod plugin;
mod problem;
mod read;
mod remote;
mod sections;
mod sha256;
mod show;
mod show_auth;
mod show_backend;
mod show_plugin;
mod values;

#[cfg(test)]
mod tests;

pub use audience::{nameless, nameless_words};
pub use auth::{Algorithm, Auth, AuthKind, Jwt, Keys, OPEN, Token, digest, is_token};
pub use defaults::EMBEDDED;
pub use demo::embedded;
pub use diff::{Changes, diff, needs_respawn};
pub use endpoint::{Endpoint, Errors, Names, OwnTools};
pub use exposure::{Exposure, Patterns};
pub use grants::{Grants, HttpGrant, KvGrant, MetricsGrant};
pub use load::{Loaded, Outside, load, load_mcp_servers, parse, parse_mcp_servers};
pub use lock::{LOCK_FILE, Lock, LockEntry, Locked, locked_name};
pub use oauth::{ClientAuth, OAuth, Secret, TokenServer};
pub use pipeline::{Pipeline, Pipelines};
pub use plugin::{OnFault, OnLoadFailure, Plugin, PluginScope, Policies, Source};
pub use problem::{Problem, Problems};
pub use remote::{Place, Remote, Transport};
pub use sha256::{sha256_digest, sha256_of, sha256_text};
pub use show::{Secrets, show};
pub use values::address;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The endpoint of this name is `/mcp`; any other is `/mcp/NAME`.
pub const DEFAULT_ENDPOINT: &str = "default";

/// All of it. The default has no policies at all; a file that says nothing about them gets `default-route` and
/// `least-busy`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Config {
    /// Where agents connect, and the limits they meet.
    pub listen: Listen,
    /// Threads, shutdown and the admin socket.
    pub router: Router,
    /// Legacy sessions.
    pub sessions: Sessions,
    /// How agents prove who they are, by name.
    pub auth: BTreeMap<String, Auth>,
    /// Backends by name.
    pub backends: BTreeMap<String, Backend>,
    /// Endpoints by name; `default` is `/mcp`, any other is `/mcp/NAME`.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Policy components by name.
    pub plugins: BTreeMap<String, Plugin>,
    /// Which plugins are asked, in which order, where an endpoint says nothing else: [`Config::pipelines`].
    pub pipeline: Pipeline,
    /// What all policy components share.
    pub policies: Policies,
}

/// `[listen]`: the HTTP front.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// The `[auth.NAME]` of every endpoint that names no other; `None` means that nobody is asked.
    pub auth: Option<String>,
    /// Scheme and host under which agents know the router; `None` means what they ask for in `Host`.
    pub public_url: Option<String>,
    /// The certificate; `None` means plain HTTP.
    pub tls: Option<Tls>,
    /// Hosts accepted in `Host` besides the address itself, `localhost`, `127.0.0.1` and `[::1]`.
    pub allowed_hosts: Vec<String>,
    /// Origins accepted in `Origin` besides those of the allowed hosts.
    pub allowed_origins: Vec<String>,
    /// Open connections at most.
    pub max_connections: usize,
    /// Bytes of one request body at most.
    pub max_body: usize,
    /// Time for a complete request head, also between requests of a kept connection.
    pub header_timeout: Duration,
    /// Time for a complete request body.
    pub body_timeout: Duration,
    /// How long an answer is awaited before the response turns into an event stream; zero: it is one in any case.
    pub stream_after: Duration,
    /// Distance of the comments that keep a quiet event stream open.
    pub keep_alive: Duration,
    /// Notifications buffered for one event stream of a modern agent; more are dropped.
    pub stream_capacity: usize,
    /// How soon a legacy agent whose event stream broke may come back: the `retry` of its streams.
    pub retry: Duration,
    /// The event stream of a legacy agent's call is closed after so long, and the agent polls; `None` never.
    pub poll_after: Option<Duration>,
    /// How long a write to an agent's socket may make no progress.
    pub write_timeout: Duration,
}

/// `[listen.tls]`: HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The chain of certificates, the router's own first, as PEM.
    pub cert: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// `[router]`: the process itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// Worker threads; 0 means one for every two cores, at least one.
    pub workers: usize,
    /// How long calls may finish at shutdown.
    pub grace: Duration,
    /// The admin socket; `None` means a private one in the runtime directory.
    pub admin_socket: Option<PathBuf>,
    /// Where the key that seals request states and cursors is kept; `None` means the user's state directory.
    pub key_file: Option<PathBuf>,
    /// The socket for `pointsman connect`; `None` means beside the admin socket.
    pub mcp_socket: Option<PathBuf>,
    /// How long `tools/list` waits for backends that are starting for the first time.
    pub list_wait: Duration,
}

/// `[sessions]`: legacy agents.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Sessions at most; the longest idle one makes room.
    pub capacity: usize,
    /// Bytes that are kept of what their agents said at most, with room made in the same way.
    pub bytes: usize,
    /// A session unused for so long ends.
    pub idle: Duration,
    /// Requests of one session in flight at most.
    pub max_requests: usize,
    /// Calls of modern agents that wait for input at most; whoever has most makes room.
    pub parked: usize,
    /// How long an agent may take to answer what a server asks it.
    pub answer_wait: Duration,
    /// Messages of one event stream that are kept for an agent who comes back at most; the response is kept besides.
    pub stream_events: usize,
    /// Their bytes at most.
    pub stream_bytes: usize,
    /// Event streams of one session that wait for their agent at most.
    pub streams: usize,
    /// How long an event stream waits for its agent.
    pub stream_keep: Duration,
}

/// Which era a backend is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraChoice {
    /// Probed, and remembered.
    Auto,
    /// `initialize` only.
    Legacy,
    /// `server/discover` only.
    Modern,
}

/// What a backend keeps in memory between calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Nothing that a call depends on: held calls go to the next incarnation.
    None,
    /// Something: calls held since before a restart fail with 7006.
    Volatile,
}

/// Who shares a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All agents.
    Shared,
    /// Nobody: every legacy session has a target of its own. Modern agents, which have no sessions, share one.
    Session,
}

/// Whether requests of a server to its client, in the middle of a call, find their agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRequests {
    /// Not at a target that agents share: it is not told of clients that can be asked.
    Off,
    /// They do: one call at a time runs at a shared target, so that its agent is known.
    Serialize,
}

/// `[backends.NAME]`: one upstream server, a program or one over HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// The program; empty where the server is somewhere else.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// Where the server is, if it is no program of this machine.
    pub remote: Option<Remote>,
    /// How many targets it has.
    pub replicas: u32,
    /// Whether its annotations `readOnlyHint` and `idempotentHint` are believed.
    pub trusted: bool,
    /// The era it is spoken to in.
    pub era: EraChoice,
    /// What it keeps in memory.
    pub state: StateKind,
    /// Whether agents share its targets.
    pub scope: Scope,
    /// What policies are told of it, by name.
    pub labels: BTreeMap<String, String>,
    /// With [`Scope::Session`]: sessions that have a target of their own at most; the longest unused makes room.
    pub session_targets: usize,
    /// With [`Scope::Session`]: a session's target unused for so long is stopped.
    pub session_idle: Duration,
    /// Whether what its targets ask in the middle of a call finds the agent.
    pub server_requests: ServerRequests,
    /// Calls in flight at one target at most.
    pub max_in_flight: usize,
    /// A call in flight longer than this fails with 7004; `None` never.
    pub call_timeout: Option<Duration>,
    /// Time from spawn to ready.
    pub start_timeout: Duration,
    /// A target that was ready for so long is stable: its death does not count towards a crash loop.
    pub stable_after: Duration,
    /// Bytes of one message at most.
    pub max_message: usize,
    /// Bytes of its stderr kept for `status`.
    pub stderr_bytes: usize,
    /// Where its calls wait.
    pub gate: Gate,
    /// Pauses between restarts.
    pub backoff: Backoff,
    /// When restarting is given up for a while.
    pub crash_loop: CrashLoop,
    /// How it is stopped.
    pub stop: Stop,
}

/// `[backends.NAME.gate]`: bounds of what is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// Calls held at most.
    pub capacity: usize,
    /// Bytes of held calls at most.
    pub bytes: usize,
    /// Calls held of one agent at most.
    pub agent_capacity: usize,
    /// Bytes held of one agent at most.
    pub agent_bytes: usize,
    /// How long a call may be held.
    pub wait: Duration,
    /// Distance of the progress notifications to an agent that waits.
    pub progress: Duration,
}

/// `[backends.NAME.backoff]`: full jitter between `min` and `base * 2^n`, at most `max`.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// The shortest pause.
    pub min: Duration,
    /// The first pause's upper end.
    pub base: Duration,
    /// The longest pause.
    pub max: Duration,
}

/// `[backends.NAME.crash-loop]`.
#[derive(Clone, Debug, PartialEq)]
pub struct CrashLoop {
    /// More young deaths than this...
    pub deaths: u32,
    /// ...within this time are a crash loop.
    pub within: Duration,
    /// The first pause before a probe; it doubles.
    pub probe: Duration,
    /// The longest pause before a probe.
    pub probe_max: Duration,
}

/// `[backends.NAME.stop]`: the stop ladder.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// Calls in flight may finish for so long.
    pub drain: Duration,
    /// Time after its stdin is closed before SIGTERM.
    pub eof: Duration,
    /// Time after SIGTERM before SIGKILL.
    pub term: Duration,
}
