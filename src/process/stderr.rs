//! What children say on stderr: into the log, line by line, and the last lines into memory for `status`.
//!
//! Everything here is bounded, for a child may say anything: lines, lines per second, bytes kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout_at};

use super::BoxRead;
use crate::wire::printable_within;

/// Bytes of one line at most; the rest of it is dropped.
pub const MAX_LINE: usize = 8 * 1024;
/// Lines logged in one [`WINDOW`] at most; the rest of them is counted.
const LINES_PER_WINDOW: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);
/// Ends a line that was cut.
const CUT: &str = "… [cut]";

/// The last lines of a child's stderr, bounded by bytes. Clones share them.
#[derive(Clone, Debug)]
pub struct StderrRing {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug)]
struct Lines {
    kept: VecDeque<Box<str>>,
    bytes: usize,
    max_bytes: usize,
}

impl StderrRing {
    /// Keeps whole lines of `max_bytes` in total.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            lines: Arc::new(Mutex::new(Lines {
                kept: VecDeque::new(),
                bytes: 0,
                max_bytes,
            })),
        }
    }

    /// Adds a line and forgets the oldest as far as needed. A line larger than the whole ring is not kept.
    pub fn push(&self, line: &str) {
        let mut lines = self.lock();
        lines.bytes += cost(line);
        lines.kept.push_back(line.into());
        while lines.bytes > lines.max_bytes {
            let Some(oldest) = lines.kept.pop_front() else { break };
            lines.bytes -= cost(&oldest);
        }
    }

    /// The last `n` lines, oldest first.
    pub fn last(&self, n: usize) -> Vec<String> {
        let lines = self.lock();
        lines
            .kept
            .iter()
            .skip(lines.kept.len().saturating_sub(n))
            .map(|line| line.to_string())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing in here panics half way: what another holder left is whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line is charged: its text and its place, so that a million empty lines are not free.
fn cost(line: &str) -> usize {
    line.len() + size_of::<Box<str>>()
}

/// Reads a child's stderr to its end: every line goes to the ring, and to the log as far as the rate allows.
///
/// Ends with the pipe, not with the child: a grandchild outside the group may hold it, so do not wait for this after
/// the child's end, or only for a moment.
pub async fn pump(mut stderr: BoxRead, ring: StderrRing, backend: Arc<str>, incarnation: u64) {
    let mut cutter = Cutter::default();
    let mut rate = Rate::new(Instant::now());
    let mut chunk = vec![0; 8 * 1024];
    loop {
        let read = match rate.report_at() {
            None => stderr.read(&mut chunk).await,
            Some(at) => match timeout_at(at, stderr.read(&mut chunk)).await {
                Ok(read) => read,
                Err(_) => {
                    report(rate.roll(Instant::now()), &backend, incarnation);
                    continue;
                }
            },
        };
        let ended = !matches!(read, Ok(1..));
        let mut say = |line: String| {
            if line.is_empty() {
                return;
            }
            ring.push(&line);
            let now = Instant::now();
            report(rate.roll(now), &backend, incarnation);
            if rate.admit() {
                tracing::info!(target: "pointsman::backend", backend = &*backend, incarnation, "{line}");
            }
        };
        if ended {
            cutter.finish(&mut say);
            report(rate.end(), &backend, incarnation);
            return;
        }
        cutter.feed(&chunk[..read.unwrap_or(0)], &mut say);
    }
}

fn report(unlogged: u64, backend: &str, incarnation: u64) {
    if unlogged > 0 {
        tracing::warn!(target: "pointsman::backend", backend, incarnation, "{unlogged} lines not logged");
    }
}

/// Counts lines in windows of fixed length.
struct Rate {
    window_ends: Instant,
    logged: u32,
    unlogged: u64,
}

impl Rate {
    fn new(now: Instant) -> Self {
        Self {
            window_ends: now + WINDOW,
            logged: 0,
            unlogged: 0,
        }
    }

    /// When the unlogged lines are to be reported at the latest.
    fn report_at(&self) -> Option<Instant> {
        (self.unlogged > 0).then_some(self.window_ends)
    }

    /// Opens the next window if the time has come; says how many lines of the last one were not logged.
    fn roll(&mut self, now: Instant) -> u64 {
        if now < self.window_ends {
            return 0;
        }
        self.window_ends = now + WINDOW;
        self.logged = 0;
        self.end()
    }

    fn admit(&mut self) -> bool {
        let admitted = self.logged < LINES_PER_WINDOW;
        if admitted {
            self.logged += 1;
        } else {
            self.unlogged += 1;
        }
        admitted
    }

    fn end(&mut self) -> u64 {
        std::mem::take(&mut self.unlogged)
    }
}

/// Cuts bytes into lines and holds at most one line's worth of them.
#[derive(Default)]
struct Cutter {
    line: Vec<u8>,
    cut: bool,
}

impl Cutter {
    fn feed(&mut self, mut bytes: &[u8], say: &mut impl FnMut(String)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            self.finish(say);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.cut |= bytes.len() > room;
    }

    fn finish(&mut self, say: &mut impl FnMut(String)) {
        let bytes = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let (mut line, more) = printable_within(&String::from_utf8_lossy(bytes), MAX_LINE);
        if self.cut || more {
            line.push_str(CUT);
        }
        say(line);
        self.line.clear();
        self.cut = false;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut cutter = Cutter::default();
        let mut said = Vec::new();
        for chunk in chunks {
            cutter.feed(chunk, &mut |line| said.push(line));
        }
        cutter.finish(&mut |line| said.push(line));
        said
    }

    #[test]
    fn lines_are_cut_at_line_ends_wherever_the_chunks_end() {
        assert_eq!(lines(&[b"one\ntw", b"o\r\nthr", b"ee"]), ["one", "two", "three"]);
    }

    #[test]
    fn a_line_is_lossy_and_harmless() {
        assert_eq!(
            lines(&[b"a\xffb\x1b[31mred\ttab\x07"]),
            ["a\u{fffd}b\\u{1b}[31mred\ttab\\u{7}"]
        );
        assert_eq!(lines(&["\u{202e}x".as_bytes()]), ["\\u{202e}x"]);
    }

    #[test]
    fn a_huge_line_costs_no_more_than_its_cap() {
        let mut cutter = Cutter::default();
        let mut said = Vec::new();
        for _ in 0..10_000 {
            cutter.feed(&[b'x'; 8192], &mut |line| said.push(line));
            assert!(cutter.line.capacity() <= 2 * MAX_LINE);
        }
        cutter.feed(b"\nnext\n", &mut |line| said.push(line));
        assert_eq!(said[0].len(), MAX_LINE + CUT.len());
        assert_eq!(said[1..], ["next"]);
    }

    #[test]
    fn escapes_do_not_grow_a_line_past_its_cap() {
        let line = &lines(&[&[7; MAX_LINE]])[0];
        assert!(line.len() <= MAX_LINE + "\\u{7}".len() + CUT.len() && line.ends_with(CUT));
    }

    #[test]
    fn the_ring_keeps_the_last_whole_lines() {
        let ring = StderrRing::new(3 * cost("line 0"));
        for i in 0..10 {
            ring.push(&format!("line {i}"));
        }
        assert_eq!(ring.last(10), ["line 7", "line 8", "line 9"]);
        assert_eq!(ring.clone().last(2), ["line 8", "line 9"]);
        ring.push(&"x".repeat(1000));
        assert_eq!(ring.last(10), [""; 0]);
        assert_eq!(ring.lock().bytes, 0);
    }

    #[test]
    fn a_window_admits_so_many_lines_and_counts_the_rest() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        let admitted = (0..500).filter(|_| rate.admit()).count();
        assert_eq!((admitted, rate.report_at()), (200, Some(start + WINDOW)));
        assert_eq!(rate.roll(start + WINDOW / 2), 0);
        assert_eq!(rate.roll(start + WINDOW), 300);
        assert!(rate.admit() && rate.report_at().is_none());
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            std::io::Write::write(&mut *self.0.lock().unwrap(), bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_logged_is_reported_though_nothing_more_is_said() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);

        let (mut child, ours) = tokio::io::duplex(1024);
        let ring = StderrRing::new(1 << 20);
        let pump = tokio::spawn(pump(Box::pin(ours), ring.clone(), "echo".into(), 3));
        child.write_all("hello\n".repeat(500).as_bytes()).await.unwrap();
        tokio::time::sleep(2 * WINDOW).await; // on the paused clock

        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text.matches("pointsman::backend: hello backend=\"echo\" incarnation=3")
                .count(),
            200,
            "{text}"
        );
        assert!(
            text.trim_end()
                .ends_with("300 lines not logged backend=\"echo\" incarnation=3"),
            "{text}"
        );
        assert_eq!(ring.last(1000).len(), 500);
        drop(child);
        pump.await.unwrap();
    }
}
