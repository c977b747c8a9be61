//! One accepted connection: hyper on a watched socket, against the clock.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch::Receiver;

use super::reply::Sent;
use super::request::{Shared, answer};
use super::watch::{Clock, Limits, Overdue, Phase, Watch};

/// Bytes of a request head at most, and of what is read or buffered for writing at a time.
const BUFFER: usize = 64 * 1024;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By agreement.
    Closed,
    /// Cut off by us.
    Overdue(Overdue),
    /// By the client, or by what it sent.
    Broken,
}

/// Serves one connection until it ends. When `stop` becomes true, the request at work is the last one.
pub(super) async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    number: u64,
    shared: Arc<Shared>,
    limits: Limits,
    stop: Receiver<bool>,
) -> End {
    let watch = Arc::new(Watch::new(number));
    let socket = Socket {
        stream,
        watch: Arc::clone(&watch),
    };
    let service = service_fn(|request| {
        watch.enter(Phase::Busy);
        let (shared, watch) = (&shared, &watch);
        async move {
            let response = answer(shared, request, watch).await;
            Ok::<_, Infallible>(response.map(|content| Sent::new(content, Arc::clone(watch))))
        }
    });
    // No half-open connections: a client that has closed its side is gone, and so is its request. hyper looks for
    // the end only while it has nothing unread: who pipelined a further request is missed when the reply is sent.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .half_close(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let mut stop = pin!(stopped(stop));
    let mut stopping = false;
    let mut clock = Clock::new(limits);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(end) = connection.as_mut().poll(cx) {
                return Poll::Ready(if end.is_ok() { End::Closed } else { End::Broken });
            }
            // After the poll: a request that has arrived already is still served.
            if !stopping && stop.as_mut().poll(cx).is_ready() {
                stopping = true;
                connection.as_mut().graceful_shutdown();
                continue;
            }
            match ready!(clock.poll(cx, &watch)) {
                Overdue::Phase(Phase::Body) => watch.enter(Phase::Late),
                Overdue::Phase(Phase::Idle) => {
                    watch.enter(Phase::Closing);
                    connection.as_mut().graceful_shutdown();
                }
                overdue => return Poll::Ready(End::Overdue(overdue)),
            }
        }
    })
    .await
}

/// Resolves when the flag is set, or when nobody is left to set it.
async fn stopped(mut stop: Receiver<bool>) {
    // Both ways out mean the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// A socket that leaves marks.
struct Socket<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Socket<S> {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.wrote(written.is_ready());
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.watch.read();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closes our side; after a refusal, also reads on until the client closes its own (see `watch::LINGER`).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.watch.phase() != Phase::Closing {
            return Poll::Ready(Ok(()));
        }
        let mut waste = [0; 8 * 1024];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
