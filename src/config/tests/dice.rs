//! Any configuration there can be, from a row of numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::super::values::Word;
use super::super::*;
use crate::policy::Hook;
use crate::wire::Kind;

/// Draws every setting from a row of numbers: proptest shrinks the row, and the settings with it.
pub(super) struct Dice(pub(super) std::vec::IntoIter<u32>);

impl Dice {
    fn below(&mut self, n: u32) -> u32 {
        self.0.next().unwrap_or(0) % n
    }
    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }
    fn count(&mut self) -> usize {
        self.below(60) as usize + 1
    }
    fn size(&mut self) -> usize {
        (self.count() + 1024) << self.below(12)
    }
    /// Between `low` and `low` + 1 minute.
    fn after(&mut self, low: Duration) -> Duration {
        low + Duration::from_millis(u64::from(self.below(60_000)).max(100))
    }
    fn time(&mut self) -> Duration {
        self.after(Duration::ZERO)
    }
    fn word<W: Word>(&mut self) -> W {
        W::ALL[self.below(W::ALL.len() as u32) as usize].1
    }
    fn text(&mut self) -> String {
        let parts = [
            "a", "B", " ", "\"", "'", "\\", "\n", "\t", "é", "\u{1f}", "\u{7f}", "${HOME}", "$", "{", "=", "]", "#",
            "🚂",
        ];
        let length = self.below(6);
        (0..length)
            .map(|_| parts[self.below(parts.len() as u32) as usize])
            .collect()
    }
    fn texts(&mut self) -> Vec<String> {
        (0..self.below(3)).map(|_| self.text()).collect()
    }
    fn path(&mut self) -> PathBuf {
        PathBuf::from(format!("/x{}", self.text()))
    }
    fn json(&mut self, depth: u32) -> Value {
        match self.below(if depth > 0 { 7 } else { 4 }) {
            0 => Value::from(self.text()),
            1 => Value::from(i64::from(self.below(u32::MAX)) - 1000),
            2 => Value::from(f64::from(self.below(1000)) / 8.0),
            3 => Value::from(self.flag()),
            4 => (0..self.below(3)).map(|_| self.json(depth - 1)).collect(),
            _ => Value::Object(
                (0..self.below(3))
                    .map(|_| (self.text(), self.json(depth - 1)))
                    .collect(),
            ),
        }
    }
    fn some(&mut self, of: &[String]) -> Vec<String> {
        of.iter().filter(|_| self.flag()).cloned().collect()
    }
    fn patterns(&mut self) -> Patterns {
        (0..self.below(3))
            .map(|n| wildmatch::WildMatch::new(&format!("{}é\"*{n}?", self.text())))
            .collect()
    }
    fn env(&mut self) -> BTreeMap<String, String> {
        (0..self.below(3)).map(|n| (format!("K é\"{n}"), self.text())).collect()
    }
    fn backend(&mut self) -> Backend {
        let min = self.time();
        let base = self.after(min);
        let probe = self.time();
        let program = Backend {
            command: format!("/{}x", self.text()),
            args: self.texts(),
            env: self.env(),
            cwd: self.flag().then(|| self.path()),
            replicas: self.below(64) + 1,
            ..Backend::default()
        };
        let place = match self.flag() {
            true => program,
            false => self.elsewhere(),
        };
        Backend {
            trusted: self.flag(),
            era: self.word(),
            state: self.word(),
            scope: self.word(),
            labels: self.env(),
            session_targets: self.count(),
            session_idle: self.time(),
            server_requests: self.word(),
            max_in_flight: self.count(),
            call_timeout: self.flag().then(|| self.time()),
            start_timeout: self.time(),
            stable_after: self.time(),
            max_message: self.size(),
            stderr_bytes: self.size(),
            gate: Gate {
                capacity: self.count(),
                bytes: self.size(),
                agent_capacity: self.count(),
                agent_bytes: self.size(),
                wait: self.time(),
                progress: self.time(),
            },
            backoff: Backoff {
                min,
                base,
                max: self.after(base),
            },
            crash_loop: CrashLoop {
                deaths: self.below(100) + 1,
                within: self.time(),
                probe,
                probe_max: self.after(probe),
            },
            stop: Stop {
                drain: self.time(),
                eof: self.time(),
                term: self.time(),
            },
            ..place
        }
    }
    fn elsewhere(&mut self) -> Backend {
        let urls = [
            "https://a.example/mcp",
            "http://127.0.0.1:8080/?key=${HOME}\u{65}",
            "http://[::1]/sse",
        ];
        let place = match self.flag() {
            true => Place::Urls(
                urls[..=self.below(3) as usize]
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
            ),
            false => Place::Socket {
                socket: self.path(),
                path: "/x?y=1".to_owned(),
            },
        };
        let remote = Remote {
            place,
            transport: self.word(),
            oauth: self.flag().then(|| self.oauth()),
            headers: (0..self.below(3))
                .map(|n| (format!("X-{n}"), "${HOME} \"x\"".to_owned()))
                .collect(),
            connect_timeout: self.time(),
            ca_file: self.flag().then(|| self.path()),
        };
        Backend {
            replicas: remote.targets(),
            remote: Some(remote),
            ..Backend::default()
        }
    }
    fn auth(&mut self) -> BTreeMap<String, Auth> {
        let keys = match self.below(3) {
            0 => Keys::Discovered,
            1 => Keys::Url("https://id.example/keys?x=${HOME}".to_owned()),
            _ => Keys::File {
                path: PathBuf::from("/keys.json"),
                text: "{}".to_owned(),
            },
        };
        let jwt = Jwt {
            audience: self.texts(),
            algorithms: vec![self.word()],
            leeway: self.time(),
            principal: self.text(),
            labels: self.env(),
            wait: self.time(),
            ca_file: self.flag().then(|| self.path()),
            ..Jwt::new("https://id.example/realm".to_owned(), keys)
        };
        let token = |dice: &mut Self| Token {
            sha256: digest(dice.text().as_bytes()),
            scopes: vec!["a".to_owned(), "b:c".to_owned()],
            labels: dice.env(),
        };
        let tokens = (0..self.below(3)).map(|n| (format!("{n} \"é"), token(self))).collect();
        let kinds = [("ci", AuthKind::Tokens(tokens)), ("people", AuthKind::Jwt(jwt.into()))];
        let scopes = vec!["mcp".to_owned()];
        let auth = |(name, kind): (&str, _)| {
            let scopes = scopes.clone();
            (name.to_owned(), Auth { kind, scopes })
        };
        kinds.map(auth).into()
    }
    fn oauth(&mut self) -> OAuth {
        let server = match self.flag() {
            true => TokenServer::Url("https://id.example/token?a=${HOME}".to_owned()),
            false => TokenServer::Issuer("https://id.example".to_owned()),
        };
        let secret = match self.flag() {
            true => (None, self.text()),
            false => (Some(PathBuf::from("/keys.json")), "{}".to_owned()),
        };
        OAuth {
            server,
            client_id: self.text(),
            client_secret: Secret {
                file: secret.0,
                text: secret.1,
            },
            client_auth: self.word(),
            scopes: vec!["x".to_owned()],
            resource: self.flag().then(|| self.text()),
            audience: self.flag().then(|| self.text()),
            ca_file: self.flag().then(|| self.path()),
        }
    }
    fn plugin(&mut self) -> Plugin {
        let cpu = self.time();
        let source = match self.below(3) {
            0 => Source::File(self.path()),
            1 => Source::Pulled(format!("oci://{}", self.text())),
            _ => Source::Embedded(self.text()),
        };
        // What is pulled is nothing without its digest.
        let is_pinned = matches!(source, Source::Pulled(_)) || self.flag();
        Plugin {
            source,
            sha256: is_pinned.then(|| format!("{:064x}", self.below(u32::MAX))),
            locked: Locked::No,
            config: self.json(3),
            on_fault: self.word(),
            on_load_failure: self.word(),
            cpu,
            wall: self.after(cpu),
            memory: self.size() * 64,
            output: self.size(),
            instances: self.count(),
            reuse: self.below(1000) + 1,
            scope: PluginScope {
                backends: self.flag().then(|| self.patterns()),
                tools: self.flag().then(|| self.patterns()),
                agents: (0..self.below(3))
                    .map(|n| (format!("l é{n}"), wildmatch::WildMatch::new(&self.text())))
                    .collect(),
            },
            grants: self.grants(),
        }
    }
    fn grants(&mut self) -> Grants {
        let secret = |text| Secret { file: None, text };
        Grants {
            log: self.flag(),
            clock: self.flag(),
            random: self.flag(),
            directory: self.flag(),
            wasi: self.flag(),
            metrics: self.flag().then(|| MetricsGrant { series: self.count() }),
            kv: self.flag().then(|| KvGrant {
                namespace: self.flag().then(|| self.text()),
                keys: self.count(),
                bytes: self.size(),
            }),
            http: self.flag().then(|| HttpGrant {
                allow: vec!["https://api.example:443".to_owned(), "http://[::1]:80".to_owned()],
                methods: vec!["POST".to_owned()],
                private: self.flag(),
                timeout: self.time(),
                max_body: self.size(),
            }),
            secrets: (0..self.below(3))
                .map(|n| (format!("s é{n}"), secret(self.text())))
                .collect(),
        }
    }
    pub(super) fn config(&mut self) -> Config {
        let backends: BTreeMap<_, _> = (0..self.below(4)).map(|n| (format!("b-{n}"), self.backend())).collect();
        let names: Vec<String> = backends.keys().cloned().collect();
        let plugins: BTreeMap<_, _> = (0..self.below(3)).map(|n| (format!("p_{n}"), self.plugin())).collect();
        let asked: Vec<String> = plugins.keys().cloned().collect();
        let endpoint = |dice: &mut Self| Endpoint {
            backends: (!names.is_empty() && dice.flag()).then(|| names.clone()),
            auth: dice.flag().then(|| "people".to_owned()),
            scopes: vec!["tools:call".to_owned()],
            names: dice.word(),
            errors: dice.word(),
            page_size: dice.count(),
            own_tools: dice.word(),
            exposure: Exposure {
                allow: Kind::ALL.map(|_| dice.flag().then(|| dice.patterns())),
                deny: Kind::ALL.map(|_| dice.patterns()),
            },
            pipeline: match dice.flag() {
                true => Pipeline::from([(Hook::Select, dice.some(&asked))]),
                false => Pipeline::default(),
            },
        };
        Config {
            listen: Listen {
                address: ([127, 0, 0, self.below(255) as u8], self.below(65_536) as u16).into(),
                auth: Some(["none", "people", "ci"][self.below(2) as usize + 1].to_owned()),
                public_url: self.flag().then(|| "https://router.example:8".to_owned()),
                tls: self.flag().then(|| Tls {
                    cert: self.path(),
                    key: self.path(),
                }),
                allowed_hosts: vec!["router.lan".to_owned()],
                allowed_origins: vec!["https://app.example:8".to_owned()],
                max_connections: self.count(),
                max_body: self.size(),
                header_timeout: self.time(),
                body_timeout: self.time(),
                stream_after: self.time(),
                keep_alive: self.time(),
                stream_capacity: self.count(),
                retry: self.time(),
                poll_after: self.flag().then(|| self.time()),
                write_timeout: self.time(),
            },
            router: Router {
                workers: self.count(),
                grace: self.time(),
                admin_socket: self.flag().then(|| self.path()),
                key_file: self.flag().then(|| self.path()),
                mcp_socket: self.flag().then(|| self.path()),
                list_wait: self.time(),
            },
            sessions: Sessions {
                capacity: self.count(),
                bytes: self.size(),
                idle: self.time(),
                max_requests: self.count(),
                parked: self.count(),
                answer_wait: self.time(),
                stream_events: self.count(),
                stream_bytes: self.size(),
                streams: self.count(),
                stream_keep: self.time(),
            },
            auth: self.auth(),
            endpoints: (0..self.below(3)).map(|n| (format!("e{n}"), endpoint(self))).collect(),
            backends,
            plugins,
            // One that says nothing of a hook has its default.
            pipeline: Hook::CHAINS.map(|hook| (hook, self.some(&asked))).into(),
            policies: Policies {
                cache: self.flag().then(|| self.path()),
                store: self.flag().then(|| self.path()),
                generations: self.count(),
                compile_timeout: self.time(),
                max_component: self.size(),
                breaker: self.below(100) + 1,
                young: self.time(),
                trace_calls: self.count(),
                trace_bytes: self.size(),
            },
        }
    }
}
