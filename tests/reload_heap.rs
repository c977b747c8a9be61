//! The heap of a router over many reloads, to the byte: an allocator that counts shows what resident memory hides
//! behind what an allocator keeps at hand.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    unsafe_code,
    reason = "a test against the real clock, with an allocator of its own, that tells what it counted"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use pointsman::app::App;
use pointsman::config;
use pointsman::reload::Reader;
use pointsman::shutdown::Shutdown;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// The system's allocator, which counts.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator, in its own way.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn guest(label: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/target/guests");
    let path = root.join(format!("guest-{label}.wasm"));
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run plugins/build.sh --test-guests", path.display()))
}

/// Puts a file in place in one step.
fn replace(path: &Path, bytes: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, bytes).unwrap();
    fs::rename(next, path).unwrap();
}

fn toml(marks: &str) -> String {
    format!(
        "[backends.one]\ncommand = {:?}\nargs = [\"demo-server\"]\n\
         [plugins.by]\nfile = \"by.wasm\"\nconfig = {{ do = \"set\", text = {marks:?} }}\n\
         [pipeline]\ntransform-response = [\"by\"]\nobserve = [\"by\"]\n\
         [listen]\naddress = \"127.0.0.1:0\"\n[router]\nadmin-socket = \"admin.sock\"\n[policies]\ncache = {:?}\n",
        env!("CARGO_BIN_EXE_pointsman"),
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("component-cache"),
    )
}

/// Asks for a reload and waits for what it did; the socket is there soon after the start.
async fn reload(folder: &Path) {
    let connecting = async {
        loop {
            match UnixStream::connect(folder.join("admin.sock")).await {
                Ok(socket) => return socket,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let socket = tokio::time::timeout(Duration::from_secs(30), connecting).await.unwrap();
    let (read, mut write) = socket.into_split();
    write.write_all(b"{\"command\":\"reload\"}\n").await.unwrap();
    let line = BufReader::new(read).lines().next_line().await.unwrap().unwrap();
    assert!(line.contains("\"rejected\":{}"), "{line}");
}

/// The least that is alive within some reloads: what is about to be let go is not counted.
async fn least(folder: &Path, reloads: std::ops::Range<usize>) -> usize {
    let (main, file) = (folder.join("pointsman.toml"), folder.join("by.wasm"));
    let both = ["a", "b"].map(guest);
    let mut least = usize::MAX;
    for number in reloads {
        if number % 3 == 0 {
            replace(&main, toml(["/by", "/xy"][number / 3 % 2]).as_bytes());
        }
        replace(&file, &both[number % 2]);
        reload(folder).await;
        least = least.min(LIVE.load(Relaxed));
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_leave_nothing_on_the_heap() {
    let full = std::env::var_os("POINTSMAN_SOAK").is_some();
    let (warm_up, reloads) = if full { (500, 5000) } else { (60, 180) };
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("pointsman.toml");
    fs::write(&main, toml("/by")).unwrap();
    fs::write(folder.path().join("by.wasm"), guest("a")).unwrap();
    let reader: Reader = Arc::new(move || config::load(&main));
    let app = App::build(
        Arc::clone(&reader),
        reader().unwrap(),
        env!("CARGO_BIN_EXE_pointsman").into(),
    )
    .await;
    let app = app.unwrap_or_else(|e| panic!("{e}"));
    let shutdown = Arc::new(Shutdown::new());
    let end = Arc::clone(&shutdown);
    let running = tokio::spawn(async move { app.run(&end).await });

    least(folder.path(), 0..warm_up).await;
    let window = reloads / 6;
    let before = least(folder.path(), warm_up..warm_up + window).await;
    least(folder.path(), warm_up + window..reloads - window).await;
    let after = least(folder.path(), reloads - window..reloads).await;
    println!("{reloads} reloads: {before} bytes alive at first, {after} at last");
    assert!(after < before + before / 100, "it grows: {before} -> {after}");
    shutdown.trigger();
    shutdown.force();
    running.await.unwrap();
}
