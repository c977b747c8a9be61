//! The stdio transport: newline-delimited messages, one loop that both reads and writes.
//!
//! Everything that can be answered at once is answered while the input buffer is walked, and the
//! answers to one read leave in one write. Slow calls run as tasks of their own and hand their lines in
//! through a bounded channel.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::jobs::Running;
use super::server::{Next, Server};
use super::wire;

const READ_SIZE: usize = 64 * 1024;
/// Lines of slow calls that may wait for the loop.
const QUEUE: usize = 64;
/// A buffer that grew beyond this for one big message is given back afterwards.
const KEEP: usize = 1024 * 1024;

/// Serves one client until its input ends.
pub async fn run<R, W>(server: &Server, mut input: R, mut output: W) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (sink, mut lines) = mpsc::channel(QUEUE);
    let mut connection = Connection {
        server,
        running: Running::default(),
        sink,
    };
    let mut buffer: Vec<u8> = Vec::with_capacity(READ_SIZE);
    let mut out = Vec::with_capacity(READ_SIZE);
    // How much of the buffer is known to hold no line end, so that a long line is searched only once.
    let mut searched = 0;
    let mut open = true;
    loop {
        let mut crash = false;
        tokio::select! {
            read = input.read_buf(&mut buffer), if open => {
                if read? == 0 {
                    if !server.options.ignore_eof {
                        break;
                    }
                    open = false;
                }
                let mut start = 0;
                while let Some(end) = memchr::memchr(b'\n', &buffer[searched..]) {
                    let end = searched + end;
                    let line = buffer[start..end].trim_ascii();
                    start = end + 1;
                    searched = start;
                    if !line.is_empty() && connection.take(line, &mut out) {
                        crash = true;
                        break;
                    }
                }
                buffer.drain(..start);
                searched = buffer.len();
                if buffer.is_empty() {
                    buffer.shrink_to(KEEP);
                }
                buffer.reserve(READ_SIZE);
            }
            Some(line) = lines.recv() => {
                out.extend_from_slice(&line);
                while let Ok(line) = lines.try_recv() {
                    out.extend_from_slice(&line);
                }
            }
        }
        if !out.is_empty() {
            let written = match output.write_all(&out).await {
                Ok(()) => output.flush().await,
                failed => failed,
            };
            match written {
                // The client left without closing our input first: no failure of this server.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                written => written?,
            }
            out.clear();
            out.shrink_to(KEEP);
        }
        if crash {
            super::die();
        }
    }
    connection.running.cancel_all();
    Ok(())
}

struct Connection<'s> {
    server: &'s Server,
    running: Running,
    sink: mpsc::Sender<Vec<u8>>,
}

impl Connection<'_> {
    /// Handles one line; true if the process is to die now.
    fn take(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let message = match wire::parse(line) {
            Ok(message) => message,
            Err(malformed) => {
                self.server.refuse(&malformed, out);
                return false;
            }
        };
        let era = self.server.era(&message);
        match self.server.answer(&message, era, out) {
            Next::Later(job) => {
                let tail = self.server.tail(era).to_owned();
                let key = job.id.get().to_owned();
                self.running.start(key, job, tail, self.sink.clone());
            }
            Next::Cancel(id) => self.running.cancel(&id),
            Next::Crash => return true,
            Next::Nothing | Next::Answered | Next::Told | Next::Welcomed | Next::Refused(_) => {}
        }
        false
    }
}

/// The process's own standard streams.
///
/// A pipe or a socket is driven by the event loop itself; anything else, such as a terminal, goes
/// through a thread pool, which costs more than the rest of an echo.
pub fn standard() -> io::Result<(Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>)> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        Ok((unix::input(input)?, unix::output(output)?))
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::{AsHandle as _, OwnedHandle};
        let file = |handle: OwnedHandle| Box::new(tokio::fs::File::from_std(std::fs::File::from(handle)));
        let input = io::stdin().as_handle().try_clone_to_owned()?;
        let output = io::stdout().as_handle().try_clone_to_owned()?;
        Ok((file(input), file(output)))
    }
}

#[cfg(unix)]
mod unix {
    //! Picks the cheapest way to drive each standard stream.

    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::net;

    use rustix::fs::{FileType, fstat};
    use tokio::fs::File;
    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio::net::UnixStream;
    use tokio::net::unix::pipe;

    pub fn input(fd: OwnedFd) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        Ok(match kind(&fd)? {
            FileType::Fifo => Box::new(pipe::Receiver::from_owned_fd(fd)?),
            FileType::Socket => Box::new(socket(fd)?),
            _ => Box::new(File::from_std(fd.into())),
        })
    }

    pub fn output(fd: OwnedFd) -> io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
        Ok(match kind(&fd)? {
            FileType::Fifo => Box::new(pipe::Sender::from_owned_fd(fd)?),
            FileType::Socket => Box::new(socket(fd)?),
            _ => Box::new(File::from_std(fd.into())),
        })
    }

    fn kind(fd: &OwnedFd) -> io::Result<FileType> {
        Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
    }

    fn socket(fd: OwnedFd) -> io::Result<UnixStream> {
        let stream = net::UnixStream::from(fd);
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}
