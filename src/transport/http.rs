//! Listening, accepting, stopping.
//!
//! Over `max_connections` a client is accepted and told 503 rather than left in the kernel's queue, where it
//! could not tell a crowded router from a dead one.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};

use super::Front;
use super::connection::{End, drive};
use super::hosts::Hosts;
use super::local::{LocalListener, LocalStream};
use super::reply::Refusal;
use super::request::Shared;
use super::tls::Tls;
use super::watch::{LINGER, Limits};
use crate::config::Listen;

/// Clients being told 503 at a time; more are hung up on.
const REFUSALS: usize = 64;

/// The pause after an accept failed for want of something, such as file descriptors. The waiting client keeps
/// the listener ready: without a pause this would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A peer that is silent for so long is asked whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// The numbers of connections that are processes' ids: above all that are counted.
const PROCESSES: u64 = 1 << 63;

/// Numbers the connections of all listeners, from 1.
static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// A listener that is bound and does not accept yet: clients queue until [`serve`].
pub struct Bound {
    listener: Listener,
    tls: Option<Arc<Tls>>,
}

enum Listener {
    Tcp(TcpListener, SocketAddr),
    Local(LocalListener),
}

/// A client that came in.
enum Guest {
    Tcp(TcpStream),
    Local(LocalStream),
}

impl Bound {
    /// The same front behind a socket that only its owner can open. There no web page can ask, so `Host` and `Origin`
    /// are not looked at, and requests say that they are local.
    pub fn local(listener: LocalListener) -> Self {
        Self {
            listener: Listener::Local(listener),
            tls: None,
        }
    }

    /// The same, with TLS where that is wanted.
    pub fn secured(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    /// Where it listens, with the port that was taken if the configuration says 0; `None` for a local one.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self.listener {
            Listener::Tcp(_, address) => Some(address),
            Listener::Local(_) => None,
        }
    }

    /// The next client, and how its connection is numbered: over a local socket all connections of one process are
    /// one, for there a client has one for each request.
    async fn accept(&self, listen: &Listen) -> io::Result<(Guest, u64)> {
        match &self.listener {
            Listener::Tcp(listener, _) => {
                let (stream, _) = listener.accept().await?;
                tune(&stream, listen);
                Ok((Guest::Tcp(stream), CONNECTIONS.fetch_add(1, Relaxed)))
            }
            Listener::Local(listener) => {
                let (stream, process) = listener.accept().await?;
                let number = process.map_or_else(|| CONNECTIONS.fetch_add(1, Relaxed), |id| PROCESSES | u64::from(id));
                Ok((Guest::Local(stream), number))
            }
        }
    }
}

/// Binds the address, so that what is wrong with it is known early.
pub async fn bind(listen: &Listen) -> io::Result<Bound> {
    let listener = TcpListener::bind(listen.address).await?;
    let address = listener.local_addr()?;
    Ok(Bound {
        listener: Listener::Tcp(listener, address),
        tls: None,
    })
}

/// Accepts and serves until `stop`; then finishes the requests at work until `deadline`, which is polled only
/// from then on, and drops the rest. Dropping this future drops all connections.
pub async fn serve(
    bound: Bound,
    listen: Listen,
    front: Arc<dyn Front>,
    stop: impl Future<Output = ()>,
    deadline: impl Future<Output = ()>,
) {
    let limits = Limits::new(&listen);
    let shared = Arc::new(Shared {
        front,
        hosts: bound.local_addr().map(|address| Hosts::new(address, &listen)),
        max_body: listen.max_body,
        secure: bound.tls.is_some(),
    });
    let (tell, told) = tokio::sync::watch::channel(false);
    let mut connections = JoinSet::new();
    let mut refusals = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => ended_with(ended),
            Some(_) = refusals.join_next() => {}
            accepted = bound.accept(&listen) => match accepted {
                Ok((guest, number)) if connections.len() < listen.max_connections => {
                    let (shared, told) = (Arc::clone(&shared), told.clone());
                    match (guest, bound.tls.clone()) {
                        (Guest::Tcp(stream), Some(tls)) => {
                            let hands = (tls, listen.header_timeout);
                            connections.spawn(secured(hands, stream, number, shared, limits, told))
                        }
                        (Guest::Tcp(stream), None) => connections.spawn(drive(stream, number, shared, limits, told)),
                        (Guest::Local(stream), _) => connections.spawn(drive(stream, number, shared, limits, told)),
                    };
                }
                Ok((guest, _)) if refusals.len() < REFUSALS => {
                    match guest {
                        // Words would have to follow a handshake, and of those there may be too many.
                        Guest::Tcp(_) if bound.tls.is_some() => continue,
                        Guest::Tcp(stream) => refusals.spawn(tokio::time::timeout(LINGER, refuse(stream))),
                        Guest::Local(stream) => refusals.spawn(tokio::time::timeout(LINGER, refuse(stream))),
                    };
                }
                Ok(_) => {}
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(bound);
    tell.send_replace(true);
    let mut deadline = pin!(deadline);
    loop {
        tokio::select! {
            ended = connections.join_next() => match ended {
                Some(ended) => ended_with(ended),
                None => return,
            },
            () = &mut deadline => break,
        }
    }
    tracing::info!(connections = connections.len(), "connections dropped at the deadline");
    connections.shutdown().await;
}

/// One connection behind TLS. The handshake is part of the time for the first head.
async fn secured(
    (tls, within): (Arc<Tls>, Duration),
    stream: TcpStream,
    number: u64,
    shared: Arc<Shared>,
    limits: Limits,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> End {
    let shaken = tokio::select! {
        shaken = tls.accept(stream, within) => shaken,
        _ = stop.wait_for(|stop| *stop) => return End::Closed,
    };
    match shaken {
        Ok(stream) => drive(stream, number, shared, limits, stop).await,
        Err(error) => {
            tracing::debug!(%error, "no TLS handshake");
            End::Broken
        }
    }
}

/// Errors that are over with the connection that had them.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// A panic ends one connection and is told; it ends nothing else.
fn ended_with(ended: Result<End, JoinError>) {
    match ended {
        Ok(end) => tracing::trace!(?end, "connection ended"),
        Err(error) => tracing::error!(%error, "connection task failed"),
    }
}

/// Small replies leave at once, and a peer that vanished without a word is found out. None of it is vital.
fn tune(stream: &TcpStream, listen: &Listen) {
    let _ = stream.set_nodelay(true);
    let socket = socket2::SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new().with_time(PROBE_AFTER);
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_interval(Duration::from_secs(10));
    let _ = socket.set_tcp_keepalive(&keepalive);
    // Also bounds how long bytes that the kernel took from us may stay unacknowledged.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(listen.write_timeout));
    #[cfg(not(target_os = "linux"))]
    let _ = listen;
}

/// Says 503, and reads on until the client hangs up (see [`LINGER`]).
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let (status, body) = Refusal::Crowded.parts();
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await?;
    let mut waste = [0; 1024];
    while stream.read(&mut waste).await? > 0 {}
    Ok(())
}
