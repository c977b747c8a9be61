//! The router put together: built from the bottom up, bound early, served late, stopped in reverse order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::admin::{Admin, Door};
use crate::auth::{Fetch, Guard};
use crate::backend::Backend;
use crate::config;
use crate::error::Reason;
use crate::keys;
use crate::plugin::{Compiler, Host};
use crate::policy::{Directory, NoPolicy};
use crate::process::{Native, Spawner};
use crate::reload::{Parts, Reader, Reloader};
use crate::remote::web;
use crate::router::{Policies, Router, Traces};
use crate::session::Agents;
use crate::shutdown::{Phase, Shutdown};
use crate::transport::{self, local};
use crate::watch::Watcher;

/// What ends the program before it serves.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {error}; {}", listen_hint(*.address, .error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("[listen.tls]: {0}")]
    Tls(String),
    /// The policy host cannot start.
    #[error("the policy host cannot start: {0}")]
    Policies(String),
    /// A plugin cannot be loaded, and there is no earlier build of it to go on with.
    #[error("{0}")]
    Plugin(String),
}

fn listen_hint(address: SocketAddr, error: &std::io::Error) -> String {
    use std::io::ErrorKind as K;
    match error.kind() {
        K::AddrInUse => format!(
            "`pointsman status --port {0}` tells whether a router has that port; take another with `--listen {1}:PORT` or `listen.address`",
            address.port(),
            address.ip()
        ),
        K::AddrNotAvailable => "no interface of this machine has that address; correct `listen.address`".to_owned(),
        K::PermissionDenied => "ports below 1024 need privileges; take another with `listen.address`".to_owned(),
        _ => "correct `listen.address`".to_owned(),
    }
}

/// Time for the answers to calls that end with their backends to reach the agents.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A router that listens.
pub struct App {
    /// Where.
    pub address: SocketAddr,
    config: config::Config,
    bound: transport::Bound,
    router: Arc<Router>,
    agents: Arc<Agents>,
    admin: Arc<Admin>,
    guard: Arc<Guard>,
    reloader: Reloader,
}

impl App {
    /// Binds, loads the policies and starts the backends. `reader` reads the configuration that `loaded` is the
    /// first reading of; `program` is this program, which compiles components in a child of its own.
    pub async fn build(reader: Reader, loaded: config::Loaded, program: PathBuf) -> Result<Self, Fatal> {
        let config = loaded.config.clone();
        let listen_error = |error| Fatal::Listen {
            address: config.listen.address,
            error,
        };
        let bound = transport::bind(&config.listen).await.map_err(listen_error)?;
        let tls = config
            .listen
            .tls
            .as_ref()
            .map(transport::Tls::load)
            .transpose()
            .map_err(Fatal::Tls)?;
        let address = bound.local_addr().unwrap_or(config.listen.address);
        if !address.ip().to_canonical().is_loopback() {
            let own = if address.ip().is_unspecified() {
                "localhost".to_owned()
            } else {
                address.ip().to_string()
            };
            let everybody = match config.asks("").0 {
                None => "anybody who reaches it can call all tools: set `auth` in [listen]. ",
                Some(_) => "",
            };
            warn!(
                "listening on {address}, which is no loopback address. {everybody}Requests for another \
                 Host than {own} are refused unless listen.allowed-hosts has it"
            );
        }
        let host = Host::new(&config.policies, Compiler::Child(program)).map_err(|e| Fatal::Policies(e.to_string()))?;
        let router = Arc::new(Router::new(
            Policies::new(Arc::new(NoPolicy)),
            Traces::new(&config.policies),
        ));
        host.show(Arc::clone(&router) as Arc<dyn Directory>);
        let numbers = Arc::clone(host.registry());
        let spawner: Arc<dyn Spawner> = Arc::new(Native);
        let fetch: Fetch =
            Arc::new(|uri, ca_file, limit| Box::pin(async move { web::get(uri, ca_file.as_deref(), limit).await }));
        let guard = Guard::new(&config, fetch);
        let parts = Parts {
            router: Arc::clone(&router),
            guard: Arc::clone(&guard),
            tls: tls.clone(),
            spawner: Arc::clone(&spawner),
        };
        let (reload, reloader) = Reloader::start(reader, loaded, host, parts)
            .await
            .map_err(Fatal::Plugin)?;
        let agents = Agents::new(
            Arc::clone(&router),
            &config,
            keys::sealer(config.router.key_file.as_deref()),
            spawner,
        );
        let admin = Admin::new(
            Arc::clone(&router),
            Arc::clone(&agents),
            reload,
            numbers,
            (address, tls.is_some()),
        );
        Ok(Self {
            address,
            config,
            bound: bound.secured(tls),
            router,
            agents,
            admin,
            guard,
            reloader,
        })
    }

    /// Serves until `shutdown` says stop, then drains and stops every backend.
    pub async fn run(self, shutdown: &Shutdown) {
        let Self {
            address,
            config,
            bound,
            router,
            agents,
            admin,
            guard,
            reloader,
        } = self;
        let watcher = match Watcher::new() {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                warn!("files cannot be watched ({error}): changes are taken up at `pointsman reload` only");
                None
            }
        };
        let reloading = tokio::spawn(reloader.run(watcher));
        let administration = tokio::spawn(administrate(
            config.router.admin_socket.clone(),
            address.port(),
            Arc::clone(&admin),
        ));
        let door = Arc::new(Door {
            agents: Arc::clone(&agents),
            admin,
            guard,
        });
        let stop = {
            let signals = shutdown.subscribe();
            let agents = Arc::clone(&agents);
            async move {
                signals.draining().await;
                info!("draining: no new connections, calls may finish");
                agents.end_streams();
            }
        };
        let stop_local = {
            let signals = shutdown.subscribe();
            async move { signals.draining().await }
        };
        let grace = config.router.grace;
        let deadline = {
            let signals = shutdown.subscribe();
            let (router, agents, changes) = (
                Arc::clone(&router),
                Arc::clone(&agents),
                [reloading.abort_handle(), administration.abort_handle()],
            );
            async move {
                tokio::select! {
                    () = tokio::time::sleep(grace) => {}
                    () = signals.now() => {}
                }
                // The backends end while their callers are still there: each hears what is known of its call.
                changes.iter().for_each(AbortHandle::abort);
                for backend in all_backends(&router, &agents) {
                    backend.refuse(Reason::ShuttingDown);
                    let mut settings = (*backend.settings()).clone();
                    // The grace was all the time that calls have.
                    settings.stop.drain = Duration::ZERO;
                    backend.reconfigure(settings, false).await;
                }
                stop_backends(&all_backends(&router, &agents), shutdown).await;
                tokio::time::sleep(LAST_WORDS).await;
            }
        };
        // Whichever of the two is first to wait for it begins it, and both end by it.
        let deadline = deadline.shared();
        let socket = mcp_socket(&config.router, address.port());
        let beside = serve_local(
            socket,
            config.listen.clone(),
            Arc::clone(&door),
            stop_local,
            deadline.clone(),
        );
        let tcp = transport::serve(bound, config.listen.clone(), door, stop, deadline);
        join(tcp, beside).await;
        reloading.abort();
        administration.abort();
        stop_backends(&all_backends(&router, &agents), shutdown).await;
        info!("stopped");
    }
}

/// The backends that all agents share, and those of single sessions.
fn all_backends(router: &Router, agents: &Agents) -> Vec<Arc<Backend>> {
    let mut all: Vec<_> = router.backends().values().cloned().collect();
    all.extend(agents.private_backends());
    all
}

/// Stops every backend by its ladder, all at once; a second signal skips the rest of it. Those that have stopped
/// already stay so.
async fn stop_backends(backends: &[Arc<Backend>], shutdown: &Shutdown) {
    for backend in backends {
        backend.refuse(Reason::ShuttingDown);
    }
    let signals = shutdown.subscribe();
    let ladder = join_all(backends.iter().map(|b| b.stop(Reason::ShuttingDown)));
    tokio::select! {
        biased;
        () = signals.now() => {
            join_all(backends.iter().map(|b| b.kill())).await;
        }
        _ = ladder => {}
    }
    debug_assert!(
        shutdown.subscribe().phase() >= Phase::Draining,
        "backends stop only with the router"
    );
}

/// Where a router of this configuration that listens on TCP `port` serves MCP locally.
pub fn mcp_socket(router: &config::Router, port: u16) -> std::io::Result<PathBuf> {
    match (&router.mcp_socket, &router.admin_socket) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(admin)) => Ok(local::mcp_path(admin)),
        (None, None) => local::default_path(port).map(|admin| local::mcp_path(&admin)),
    }
}

/// Serves MCP on the socket for `pointsman connect`. Without one the router still does its job.
async fn serve_local(
    path: std::io::Result<PathBuf>,
    listen: config::Listen,
    door: Arc<Door>,
    stop: impl Future<Output = ()>,
    deadline: impl Future<Output = ()>,
) {
    let path = match path {
        Ok(path) => path,
        Err(error) => {
            warn!("no MCP socket, so `pointsman connect` cannot reach this router: {error}");
            return;
        }
    };
    let mut stop = std::pin::pin!(stop);
    let listener = tokio::select! {
        listener = bind_local(&path, "MCP") => listener,
        () = &mut stop => return,
    };
    let bound = transport::Bound::local(listener);
    transport::serve(bound, listen, Arc::new(local::Prompt(door)), stop, deadline).await;
}

/// The pause between two tries to have a socket that another process has.
const TAKEN: Duration = Duration::from_millis(500);

/// Binds a local socket, as soon as that can be: the router that was here before may still be draining.
async fn bind_local(path: &Path, what: &str) -> local::LocalListener {
    let mut told = false;
    loop {
        match local::LocalListener::bind(path).await {
            Ok(listener) => {
                info!("{what} socket {}", path.display());
                return listener;
            }
            Err(error) if told => tracing::debug!("no {what} socket at {}: {error}", path.display()),
            Err(error) => warn!("no {what} socket at {} yet: {error}", path.display()),
        }
        told = true;
        tokio::time::sleep(TAKEN).await;
    }
}

/// Serves the admin socket. Without one the router still does its job.
async fn administrate(path: Option<PathBuf>, port: u16, admin: Arc<Admin>) {
    let path = match path.map_or_else(|| local::default_path(port), Ok) {
        Ok(path) => path,
        Err(error) => {
            warn!("no admin socket: {error}");
            return;
        }
    };
    let answer = move |command| {
        let admin = Arc::clone(&admin);
        async move { admin.command(command).await }
    };
    bind_local(&path, "admin").await.serve(answer).await;
}

/// Worker threads for `configured`: with none given one for every two cores, since waking another thread costs
/// more than it brings on a small machine.
pub fn workers(configured: usize) -> usize {
    match configured {
        0 => (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1),
        n => n,
    }
}

/// How long the runtime waits for blocking work at the end.
pub const RUNTIME_END: Duration = Duration::from_secs(1);
