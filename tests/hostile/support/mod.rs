//! What the hostile tests share.

pub mod client;
pub mod router;
pub mod wire;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use client::{Agent, Called, Era};
pub use router::Router;
pub use wire::{Connection, Reply};

/// How long anything may take that should take moments: far above what it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The full count where POINTSMAN_SOAK is set, else the reduced one.
pub fn count(full: usize, reduced: usize) -> usize {
    if std::env::var_os("POINTSMAN_SOAK").is_some() {
        full
    } else {
        reduced
    }
}

/// A script below `fakes/`.
pub fn fake(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/hostile/fakes")
        .join(name);
    path.to_str().unwrap().to_owned()
}

/// A component below `plugins/target/guests`, which only a build makes.
pub fn guest(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("plugins/target/guests")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run `make test` (or plugins/build.sh --test-guests)",
        path.display()
    );
    path
}

/// Waits until `probe` gives something; `what` says what never came.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A small generator of numbers that are the same for the same seed.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
