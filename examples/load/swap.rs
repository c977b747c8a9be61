//! From a changed component file to the first call that is decided by what is in it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use memchr::memmem;
use pointsman::plugin::embedded;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::REST;
use crate::http::{Connection, LEGACY, post};
use crate::servers::{Build, Server, Setup};
use crate::table::median;

/// What hides a secret, in two builds of a component of the usual size. They differ in these bytes alone.
const MASKS: [&[u8]; 2] = [b"[redacted]", b"[REDACTED]"];

/// Between two calls, so that the generator leaves the machine to the router.
const PAUSE: Duration = Duration::from_millis(1);
/// No swap takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Changes the file so many times to something new, and so many times to what was there before.
pub async fn measure(builds: &[Build], setup: &Setup<'_>, tries: usize) -> Result<(), String> {
    println!("\na changed component file, until a call is decided by what is in it, ms: {tries} tries each");
    println!(
        "  {:<20}{:>28}{:>28}",
        "", "never compiled: p50, worst", "from the cache: p50, worst"
    );
    for build in builds {
        let file = setup.folder.join("swapped.wasm");
        let mut number = 0;
        put(&file, &variant(number, number)?)?;
        let more = format!(
            "[plugins.mask]\nfile = {:?}\nconfig = {{ prefixes = [\"sk-\"] }}\n[pipeline]\ntransform-request = [\"mask\"]\n",
            file.display().to_string()
        );
        let server = Server::with(setup, build, "swap", &more).await?;
        let mut caller = Asking::new(server.address).await?;
        caller.until(MASKS[0]).await?;
        let (mut cold, mut cached) = (Vec::new(), Vec::new());
        for _ in 0..tries {
            number += 1;
            let new = variant(number, number)?;
            cold.push(caller.swap(&file, &new, MASKS[number % 2]).await?);
            // The one before it is still in the cache.
            let old = variant(number - 1, number - 1)?;
            cached.push(caller.swap(&file, &old, MASKS[(number - 1) % 2]).await?);
            caller.swap(&file, &new, MASKS[number % 2]).await?;
        }
        let shown = |times: &[f64]| {
            let worst = times.iter().copied().fold(0.0, f64::max);
            format!("{:.0}, {worst:.0}", median(times.to_vec()))
        };
        println!(
            "  {:<20}{:>28}{:>28}",
            format!("file{}", build.label),
            shown(&cold),
            shown(&cached)
        );
        server.stop().await?;
    }
    Ok(())
}

/// The component with one of the masks, and with a section that nobody else's has: another digest, the same code.
fn variant(mask: usize, number: usize) -> Result<Vec<u8>, String> {
    let mut bytes = embedded("redact").ok_or("there is no component `redact`")?.to_vec();
    let at = memmem::find(&bytes, MASKS[0]).ok_or("it has no mask")?;
    bytes[at..at + MASKS[0].len()].copy_from_slice(MASKS[mask % 2]);
    bytes.extend_from_slice(&[0, 18, 1, b'n']);
    // Also others than those of an earlier run with the same cache.
    bytes.extend_from_slice(&u64::from(std::process::id()).to_le_bytes());
    bytes.extend_from_slice(&(number as u64).to_le_bytes());
    Ok(bytes)
}

/// In one step, as a build does.
fn put(file: &Path, bytes: &[u8]) -> Result<(), String> {
    let next = file.with_extension("next");
    let put = fs::write(&next, bytes).and_then(|()| fs::rename(&next, file));
    put.map_err(|e| format!("{}: {e}", file.display()))
}

/// Calls one after the other, until an answer shows which build was asked.
struct Asking {
    connection: Connection,
    request: String,
}

impl Asking {
    async fn new(address: std::net::SocketAddr) -> Result<Self, String> {
        let mut connection = Connection::open(address, 0).await?;
        let session = connection.initialize("{}").await?;
        let params = json!({ "name": "echo", "arguments": { "text": "sk-secret" } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let request = post(&format!("{LEGACY}mcp-session-id: {session}\r\n"), &body);
        Ok(Self { connection, request })
    }

    async fn until(&mut self, mask: &[u8]) -> Result<(), String> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            self.connection.send(self.request.as_bytes()).await?;
            let (_, body) = self.connection.receive().await?;
            if memmem::find(body, mask).is_some() {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Err("the new build never answered".to_owned())
    }

    /// Milliseconds from the change of the file to the first call decided by it.
    async fn swap(&mut self, file: &Path, bytes: &[u8], mask: &[u8]) -> Result<f64, String> {
        sleep(REST).await;
        let began = Instant::now();
        put(file, bytes)?;
        self.until(mask).await?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }
}
