//! The defaults of every setting. `examples/reference.toml` lists them; a test keeps the two in step.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::policy::Hook;

use super::{
    Backend, Backoff, Config, CrashLoop, Endpoint, EraChoice, Errors, Exposure, Gate, Grants, Listen, Locked, Names,
    OnLoadFailure, OwnTools, Pipeline, Plugin, PluginScope, Policies, Router, Scope, ServerRequests, Sessions, Source,
    StateKind, Stop,
};

/// The embedded components that are there without being asked for, with the hook that asks them.
pub(super) const ROUTE: &str = "default-route";
/// The one for `select`.
pub(super) const SELECT: &str = "least-busy";
/// The one for `transform-list`.
pub(super) const NAMES: &str = "default-names";

/// The components in the binary, by name. What they are is known further up; a test compares the two.
pub const EMBEDDED: [&str; 4] = [ROUTE, SELECT, NAMES, "redact"];

/// The pipeline of a configuration that says nothing about it. `Pipeline::default()` is the empty one: no policies.
pub(super) fn pipeline() -> Pipeline {
    let of = |hook: Hook| match hook {
        Hook::Route => vec![ROUTE.to_owned()],
        Hook::Select => vec![SELECT.to_owned()],
        Hook::TransformList => vec![NAMES.to_owned()],
        _ => Vec::new(),
    };
    Hook::CHAINS.map(|hook| (hook, of(hook))).into()
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Default for Listen {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 7400)),
            auth: None,
            public_url: None,
            tls: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            max_connections: 4096,
            max_body: 4 * MIB,
            header_timeout: secs(10),
            body_timeout: secs(30),
            stream_after: secs(1),
            keep_alive: secs(15),
            stream_capacity: 256,
            retry: secs(1),
            poll_after: None,
            write_timeout: secs(30),
        }
    }
}

impl Default for Router {
    fn default() -> Self {
        Self {
            workers: 0,
            grace: secs(10),
            admin_socket: None,
            key_file: None,
            mcp_socket: None,
            list_wait: secs(5),
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            bytes: 64 * MIB,
            idle: secs(24 * 3600),
            max_requests: 256,
            parked: 256,
            answer_wait: secs(10 * 60),
            stream_events: 1000,
            stream_bytes: MIB,
            streams: 32,
            stream_keep: secs(2 * 60),
        }
    }
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            command: String::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            remote: None,
            replicas: 1,
            trusted: false,
            era: EraChoice::Auto,
            state: StateKind::None,
            scope: Scope::Shared,
            labels: BTreeMap::new(),
            session_targets: 64,
            session_idle: secs(30 * 60),
            server_requests: ServerRequests::Off,
            max_in_flight: 256,
            call_timeout: None,
            start_timeout: secs(30),
            stable_after: secs(10),
            max_message: 16 * MIB,
            stderr_bytes: 64 * KIB,
            gate: Gate::default(),
            backoff: Backoff::default(),
            crash_loop: CrashLoop::default(),
            stop: Stop::default(),
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            capacity: 1000,
            bytes: 16 * MIB,
            agent_capacity: 64,
            agent_bytes: 4 * MIB,
            wait: secs(30),
            progress: secs(2),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(100),
            base: Duration::from_millis(200),
            max: secs(30),
        }
    }
}

impl Default for CrashLoop {
    fn default() -> Self {
        Self {
            deaths: 5,
            within: secs(60),
            probe: secs(30),
            probe_max: secs(300),
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            drain: secs(10),
            eof: secs(5),
            term: secs(5),
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            backends: None,
            auth: None,
            scopes: Vec::new(),
            names: Names::Auto,
            errors: Errors::JsonRpc,
            page_size: 1000,
            own_tools: OwnTools::Off,
            exposure: Exposure::default(),
            pipeline: Pipeline::default(),
        }
    }
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            source: Source::Embedded(String::new()),
            sha256: None,
            locked: Locked::No,
            config: serde_json::Value::Object(serde_json::Map::new()),
            on_fault: None,
            // Whoever names a plugin wants no call without it; and one broken file is no reason to be without a router.
            on_load_failure: OnLoadFailure::Closed,
            cpu: Duration::from_millis(10),
            // What computes too long meets the CPU budget; this one is for what waits. A busy machine makes an
            // innocent component wait, so it is generous.
            wall: secs(1),
            memory: 16 * MIB,
            output: 4 * MIB,
            instances: 16,
            scope: PluginScope::default(),
            grants: Grants::default(),
            reuse: 10_000,
        }
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            cache: None,
            store: None,
            generations: 4,
            compile_timeout: secs(60),
            max_component: 64 * MIB,
            breaker: 10,
            young: secs(300),
            trace_calls: 256,
            trace_bytes: MIB,
        }
    }
}

/// Adds the embedded plugins that a pipeline names and nobody defined.
pub(super) fn add_plugins(config: &mut Config) {
    for name in [ROUTE, SELECT, NAMES] {
        let of_endpoints = config.endpoints.values().map(|one| &one.pipeline);
        let named = std::iter::once(&config.pipeline)
            .chain(of_endpoints)
            .any(|pipeline| pipeline.plugins().contains(name));
        if named {
            config.plugins.entry(name.to_owned()).or_insert_with(|| Plugin {
                source: Source::Embedded(name.to_owned()),
                ..Plugin::default()
            });
        }
    }
}
