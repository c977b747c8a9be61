//! Where the router is, and how it is started if it is not there: once, by whichever of several shims is first.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use crate::app;
use crate::config::{Config, Listen};
use crate::process;
use crate::reload::Reader;
use crate::transport::local;

/// How long a router may take to listen.
const START: Duration = Duration::from_secs(30);
/// After a router has ended early, another one that was faster may still be on its way to listen.
const RIVAL: Duration = Duration::from_secs(1);
/// The pause between two looks while it is being started.
const SOON: Duration = Duration::from_millis(10);
/// The pause between two looks while nobody does.
const LATER: Duration = Duration::from_millis(100);
/// The pause before a configuration that cannot be read is read again.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of a log that goes on; a longer one makes room for a new one.
const MAX_LOG: u64 = 4 << 20;
/// Bytes of the log that are read to find out why a router ended.
const TAIL: usize = 16 * 1024;

/// Finds the router of one configuration.
pub struct Finder {
    /// Reads the configuration.
    pub reader: Reader,
    /// Its port, whatever the configuration says.
    pub port: Option<u16>,
    /// This program.
    pub program: PathBuf,
    /// What it is started with to be that router.
    pub arguments: Vec<OsString>,
    /// Where the socket was when it was found last.
    pub known: Mutex<Option<PathBuf>>,
}

impl Finder {
    /// The limits that clients meet, as far as the configuration can be read.
    pub fn listen(&self) -> Listen {
        (self.reader)().map(|loaded| loaded.config.listen).unwrap_or_default()
    }

    /// Where the router's socket is, or why that cannot be known.
    fn socket(&self) -> Result<PathBuf, String> {
        let loaded = (self.reader)().map_err(|problems| format!("the configuration is wrong:\n{problems}"));
        let found = loaded.and_then(|loaded| self.place(&loaded.config));
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (&found, &*known) {
            (Ok(path), _) => *known = Some(path.clone()),
            // A router that runs goes on with its last good configuration.
            (Err(_), Some(path)) if std::os::unix::net::UnixStream::connect(path).is_ok() => return Ok(path.clone()),
            _ => {}
        }
        found
    }

    fn place(&self, config: &Config) -> Result<PathBuf, String> {
        let port = self.port.unwrap_or(config.listen.address.port());
        let fixed = config.router.admin_socket.is_some() || config.router.mcp_socket.is_some();
        if port == 0 && !fixed {
            return Err(
                "listen.address has port 0, so the router's socket has no fixed place: set router.mcp-socket"
                    .to_owned(),
            );
        }
        app::mcp_socket(&config.router, port).map_err(|e| e.to_string())
    }

    /// Waits until the router's socket can be connected to. With `start` it is started if nobody listens there.
    pub async fn reach(&self, start: bool) -> Result<PathBuf, String> {
        loop {
            match self.socket() {
                Ok(path) if listens(&path).await => return Ok(path),
                Ok(path) if start => return self.start(&path).await.map(|()| path),
                Ok(_) => sleep(LATER).await,
                Err(why) if start => return Err(why),
                Err(why) => {
                    sleep(AGAIN).await;
                    return Err(why);
                }
            }
        }
    }

    /// Starts the router, unless another shim is doing that.
    async fn start(&self, path: &Path) -> Result<(), String> {
        let failed = |what: &str, e: io::Error| format!("{what} {}: {e}", path.display());
        let directory = path.parent().filter(|d| !d.as_os_str().is_empty());
        local::prepare_directory(directory.unwrap_or(Path::new("."))).map_err(|e| e.to_string())?;
        let until = Instant::now() + START;
        let lock = own(OpenOptions::new().write(true), &path.with_extension("lock"));
        let lock = lock.map_err(|e| failed("no lock file beside", e))?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed("cannot lock the file beside", error)),
            }
            sleep(SOON).await;
            if listens(path).await {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(failed(
                    "another shim has been starting the router for 30 s at",
                    io::ErrorKind::TimedOut.into(),
                ));
            }
        }
        // Whoever had the lock has started it, if it could be.
        if listens(path).await {
            return Ok(());
        }
        let log = path.with_extension("log");
        let (file, before) = open_log(&log).map_err(|e| failed("no log beside", e))?;
        let mut output = process::detach(&self.program, &self.arguments, file).map_err(|e| e.to_string())?;
        tracing::info!(log = %log.display(), "the router is being started");
        let mut lives = true;
        let mut until = Instant::now() + START;
        let mut said = [0; 1024];
        loop {
            if listens(path).await {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(format!("it could not be started: {}", reason(&log, before, lives)));
            }
            tokio::select! {
                () = sleep(SOON) => {}
                read = output.read(&mut said), if lives => if !matches!(read, Ok(1..)) {
                    lives = false;
                    until = until.min(Instant::now() + RIVAL);
                },
            }
        }
    }
}

async fn listens(path: &Path) -> bool {
    local::connect(path).await.is_ok()
}

/// Opens a file that is made for its owner alone, and no link of others to something else.
fn own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let no_link = OFlags::NOFOLLOW.bits().cast_signed();
    options.create(true).mode(0o600).custom_flags(no_link).open(path)
}

/// The log of the router that is about to be started, and how long it is already.
fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() > MAX_LOG) {
        std::fs::rename(path, path.with_extension("log.old"))?;
    }
    let file = own(OpenOptions::new().append(true), path)?;
    let before = file.metadata()?.len();
    Ok((file, before))
}

/// Why a router is not there, from what it wrote to its log since.
fn reason(log: &Path, before: u64, lives: bool) -> String {
    let at = log.display();
    if lives {
        return format!("it does not listen after {} s; its log is {at}", START.as_secs());
    }
    let bytes = std::fs::read(log).unwrap_or_default();
    let since = bytes
        .get(usize::try_from(before).unwrap_or_default()..)
        .unwrap_or_default();
    let tail = String::from_utf8_lossy(&since[since.len().saturating_sub(TAIL)..]);
    // Its last words stand behind its name; whatever else is in the log comes before them.
    match tail.rfind("pointsman: ") {
        Some(last) => tail[last + "pointsman: ".len()..].trim_end().to_owned(),
        None => format!("it ended without a word; its log is {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_was_said_last_and_since() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        std::fs::write(&log, "pointsman: old\nINFO pointsman: a\npointsman: it is\nso\n").unwrap();
        assert_eq!(reason(&log, 15, false), "it is\nso");
        assert!(reason(&log, 52, false).contains("without a word"));
        assert!(reason(&log, 0, true).contains("x.log"));
    }

    #[test]
    fn a_long_log_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        let file = File::create(&log).unwrap();
        file.set_len(MAX_LOG + 1).unwrap();
        assert_eq!(open_log(&log).unwrap().1, 0);
        let link = folder.path().join("y.log");
        std::os::unix::fs::symlink(&log, &link).unwrap();
        assert!(open_log(&link).is_err(), "a link is not followed");
        assert_eq!(
            std::fs::metadata(folder.path().join("x.log.old")).unwrap().len(),
            MAX_LOG + 1
        );
    }
}
