//! Administration: what the admin socket answers, and the pages of the TCP port, which show no process output
//! and take no commands.

mod metrics;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use http::header::{AUTHORIZATION, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::auth::{self, Guard, Lease, Refused};
use crate::backend::BackendStatus;
use crate::plugin::Registry;
use crate::reload::{Reload, ReloadStatus};
use crate::router::Router;
use crate::session::Agents;
use crate::transport::{Admitting, Front, Head, HttpReply, HttpRequest, Page, Replying};
use crate::wire::message::write_response;
use crate::wire::{codes, header, method};

/// Lines of each target's stderr in a full status.
const STDERR_LINES: usize = 10;

/// The state of the router.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The router's version.
    pub version: &'static str,
    /// Its process id.
    pub pid: u32,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// Where it listens.
    pub address: String,
    /// Whether it does so behind TLS.
    pub tls: bool,
    /// Legacy sessions.
    pub sessions: usize,
    /// Its backends.
    pub backends: Vec<BackendStatus>,
    /// Policies and configuration.
    #[serde(flatten)]
    pub reload: ReloadStatus,
}

/// Everything that can be asked about the router or of it.
pub struct Admin {
    router: Arc<Router>,
    agents: Arc<Agents>,
    reload: Reload,
    numbers: Arc<Registry>,
    address: SocketAddr,
    tls: bool,
    started: Instant,
}

impl Admin {
    /// Administration of these parts.
    pub fn new(
        router: Arc<Router>,
        agents: Arc<Agents>,
        reload: Reload,
        numbers: Arc<Registry>,
        (address, tls): (SocketAddr, bool),
    ) -> Arc<Self> {
        Arc::new(Self {
            router,
            agents,
            reload,
            numbers,
            address,
            tls,
            started: Instant::now(),
        })
    }

    /// The state now, with at most `lines` of each target's stderr.
    pub fn status(&self, lines: usize) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            address: self.address.to_string(),
            tls: self.tls,
            sessions: self.agents.sessions(),
            backends: self.router.backends().values().map(|b| b.status(lines)).collect(),
            reload: self.reload.status(),
        }
    }

    /// Answers one command of the admin socket.
    pub async fn command(&self, command: Value) -> Value {
        match command.get("command").and_then(Value::as_str) {
            Some("status") => {
                serde_json::to_value(self.status(STDERR_LINES)).unwrap_or_else(|e| json!({ "error": e.to_string() }))
            }
            Some("reload") => {
                self.reload.now().await;
                let status = self.reload.status();
                json!({
                    "generation": status.generation,
                    "rejected": status.rejected,
                    "absent": status.absent,
                    "config_error": status.config_error,
                    "needs_restart": status.needs_restart,
                    "plugins": status.plugins.iter().map(|p| &p.name).collect::<Vec<_>>(),
                })
            }
            Some("restart") => {
                let name = command.get("backend").and_then(Value::as_str).unwrap_or_default();
                let backends = self.router.backends();
                match backends.get(name) {
                    Some(backend) => {
                        let backend = Arc::clone(backend);
                        // Several targets take their time, one after the other.
                        tokio::spawn(async move { backend.restart().await });
                        json!({ "done": true })
                    }
                    None => {
                        let names: Vec<&str> = backends.keys().map(String::as_str).collect();
                        json!({ "error": format!("there is no backend {name:?}; there are: {}", names.join(", ")) })
                    }
                }
            }
            Some("trace") => {
                let plugins = || {
                    let status = self.reload.status();
                    let loaded = status.plugins.into_iter().map(|plugin| plugin.name);
                    loaded.chain(status.absent.into_keys()).collect()
                };
                trace::answer(self.router.traces(), &plugins, &command)
            }
            _ => json!({ "error": "unknown command; there are: status, reload, restart, trace" }),
        }
    }

    /// Ready: at least one backend takes calls, or there is none.
    fn is_ready(&self) -> bool {
        let backends = self.router.backends();
        backends.is_empty() || backends.values().any(|b| b.state().0 == "ready")
    }
}

/// What stands behind the HTTP port: agents, and the pages.
pub struct Door {
    /// Serves agents.
    pub agents: Arc<Agents>,
    /// Answers for the pages.
    pub admin: Arc<Admin>,
    /// Asks who comes.
    pub guard: Arc<Guard>,
}

/// A request as the guard sees it.
fn asked<'a>(head: &Head<'a>) -> auth::Request<'a> {
    auth::Request {
        endpoint: head.endpoint,
        query: head.uri.query(),
        headers: head.headers,
        secure: head.secure,
    }
}

/// What is said to those who are not let in.
fn turned_away(refused: Refused) -> HttpReply {
    let Refused {
        status,
        challenge,
        retry_after,
        why,
    } = refused;
    let mut headers = HeaderMap::new();
    if let Some(Ok(challenge)) = challenge.as_deref().map(HeaderValue::from_str) {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    let error = json!({ "code": codes::INVALID_REQUEST, "message": why });
    HttpReply::Json {
        status,
        headers,
        body: write_response("null", Err(&error.to_string())).into(),
    }
}

impl Door {
    /// How long the stream that is asked for may last. A call may outlive its token, and what is said on streams that
    /// have no end of their own may not.
    fn lease(&self, request: &HttpRequest, token: Option<HeaderValue>) -> Option<Lease> {
        let principal = request.principal.as_ref()?;
        // As the session reads it, which compares it with the body.
        let method = request.headers.get(header::METHOD).and_then(|m| m.to_str().ok());
        let listens = method.and_then(header::value).is_some_and(|m| m == method::LISTEN);
        if request.method != http::Method::GET && !listens {
            return None;
        }
        let host = request.headers.get(HOST).map(|host| (HOST, host.clone()));
        let headers = token.map(|token| (AUTHORIZATION, token)).into_iter().chain(host);
        let principal = Arc::clone(principal);
        let (endpoint, headers) = (&request.endpoint, headers.collect());
        Some(Lease::new(&self.guard, endpoint, principal, headers, self.admin.tls))
    }
}

/// A reply, whose stream ends with the lease.
fn until(reply: HttpReply, lease: Lease) -> HttpReply {
    match reply {
        HttpReply::Stream { headers, events } => HttpReply::Stream {
            headers,
            events: Box::pin(events.take_until(Box::pin(lease.over()))),
        },
        other => other,
    }
}

impl Front for Door {
    fn admit<'a>(&'a self, head: Head<'a>) -> Admitting<'a> {
        if !self.guard.asks(head.endpoint) {
            return Admitting::Now(Ok(None));
        }
        Admitting::Later(Box::pin(async move {
            self.guard.admit(asked(&head)).await.map_err(turned_away)
        }))
    }

    fn metadata(&self, head: Head<'_>) -> Option<Page> {
        let body = self.guard.metadata(asked(&head))?.into();
        Some(Page {
            status: http::StatusCode::OK,
            content_type: "application/json",
            body,
        })
    }

    fn serve(self: Arc<Self>, mut request: HttpRequest) -> Replying {
        // It has done its work, or nobody asked for it, and it is nobody else's matter: neither a policy's nor a session's.
        let token = request.headers.remove(AUTHORIZATION);
        if !request.local
            && let Err(refused) = self.guard.still(&request.endpoint, request.principal.as_deref())
        {
            return Box::pin(std::future::ready(turned_away(refused)));
        }
        let lease = self.lease(&request, token);
        let replying = Arc::clone(&self.agents).serve(request);
        match lease {
            None => replying,
            Some(lease) => Box::pin(async move { until(replying.await, lease) }),
        }
    }

    fn page(&self, path: &str) -> Option<Page> {
        let page = |status, content_type, body: String| {
            Some(Page {
                status,
                content_type,
                body: body.into(),
            })
        };
        let plain = "text/plain; charset=utf-8";
        match path {
            "/healthz" => page(http::StatusCode::OK, plain, "ok\n".to_owned()),
            "/readyz" if self.admin.is_ready() => page(http::StatusCode::OK, plain, "ready\n".to_owned()),
            "/readyz" => page(
                http::StatusCode::SERVICE_UNAVAILABLE,
                plain,
                "no backend is ready\n".to_owned(),
            ),
            "/metrics" => {
                let text = metrics::text(&self.admin.status(0), &self.admin.numbers);
                page(http::StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
            }
            "/status" => {
                let status = serde_json::to_string_pretty(&self.admin.status(0)).unwrap_or_default();
                page(http::StatusCode::OK, "application/json", status + "\n")
            }
            _ => None,
        }
    }
}
