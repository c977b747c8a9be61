//! `demo-server`: a scripted MCP server to try the router with, to test it with and to measure it with.
//!
//! Its tools do on demand what servers do in the field by accident: they are slow, they hang, they
//! crash, they change their list. It speaks both protocol eras over stdio and over HTTP.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::time::Duration;

mod calls;
mod headers;
mod http;
mod jobs;
mod server;
mod stdio;
mod tools;
mod wire;

#[cfg(test)]
mod http_tests;
#[cfg(test)]
mod tests;

use server::Server;

/// Text for the end of the long help.
pub const EXAMPLES: &str = "\
Examples:
  Serve one client over standard input and output:
    pointsman demo-server

  Serve over HTTP on port 9000, at http://127.0.0.1:9000/mcp:
    pointsman demo-server --http 9000

  Keep a record of every `append` call, to count what a crash lost or repeated:
    pointsman demo-server --file calls.txt

  Play a server that speaks only the revisions with a handshake and crashes after five seconds:
    pointsman demo-server --era legacy --die-after 5000

Its tools: echo, slow, progress, counter, append, read, idempotent, crash, hang, big, log, add_tool, remove_tool, env,
stderr, junk. `tools/list` says what each does.";

const DEFAULT_NAME: &str = "pointsman-demo";

/// Which protocol eras the server speaks.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EraChoice {
    /// All revisions, told apart request by request.
    #[default]
    Both,
    /// 2025-03-26, 2025-06-18 and 2025-11-25: sessions opened with `initialize`.
    Legacy,
    /// 2026-07-28: stateless, with `server/discover`.
    Modern,
}

/// The options of `demo-server`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Serve streamable HTTP at http://127.0.0.1:PORT/mcp instead of stdio; 0 takes any free port.
    #[arg(long, value_name = "PORT")]
    pub http: Option<u16>,
    /// The file the `append` tool adds a line to.
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Add the id of every `read` and `append` call to this file, in the order in which they arrive.
    #[arg(long, value_name = "PATH")]
    pub order_log: Option<PathBuf>,
    /// The name the server introduces itself with.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub name: String,
    /// Wait before reading any input, like a server that is slow to start.
    #[arg(long, value_name = "MS")]
    pub start_delay: Option<u64>,
    /// Exit with status 1 at once, after one line on standard error.
    #[arg(long)]
    pub die_at_start: bool,
    /// Exit with status 1 after this time, whatever is going on.
    #[arg(long, value_name = "MS")]
    pub die_after: Option<u64>,
    /// Answer `initialize` and `server/discover` with an error.
    #[arg(long)]
    pub refuse_handshake: bool,
    /// Never answer `initialize` and `server/discover`.
    #[arg(long)]
    pub silent_handshake: bool,
    /// The protocol eras to speak.
    #[arg(long, value_enum, value_name = "ERA", default_value_t)]
    pub era: EraChoice,
    /// Keep running when standard input ends.
    #[arg(long)]
    pub ignore_eof: bool,
    /// Keep running on SIGTERM.
    #[arg(long)]
    pub ignore_term: bool,
    /// List one more tool of this name, which echoes; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub extra_tool: Vec<String>,
    /// Write a line that is no JSON to standard output first.
    #[arg(long)]
    pub junk_at_start: bool,
    /// Start a child process that outlives this one unless its group is killed.
    #[arg(long)]
    pub spawn_grandchild: bool,
}

impl Default for Options {
    /// What the command line gives when no flag is set.
    fn default() -> Self {
        Self {
            http: None,
            file: None,
            order_log: None,
            name: DEFAULT_NAME.to_owned(),
            start_delay: None,
            die_at_start: false,
            die_after: None,
            refuse_handshake: false,
            silent_handshake: false,
            era: EraChoice::default(),
            ignore_eof: false,
            ignore_term: false,
            extra_tool: Vec::new(),
            junk_at_start: false,
            spawn_grandchild: false,
        }
    }
}

/// Runs the server: over stdio until the input ends, over HTTP for ever.
///
/// It does best on a current-thread runtime; see [`run`].
pub async fn serve(options: Options) -> io::Result<()> {
    if options.die_at_start {
        let _ = writeln!(io::stderr(), "demo-server: told to die at start");
        process::exit(1);
    }
    if let Some(ms) = options.die_after {
        // A thread, so that no amount of work can delay it.
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(ms));
            process::exit(1);
        });
    }
    #[cfg(unix)]
    if options.ignore_term {
        // Taking the signal over is what disarms it; there is nothing to do when it comes.
        let _disarmed = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    }
    let _grandchild = options.spawn_grandchild.then(spawn_grandchild).transpose()?;
    if let Some(ms) = options.start_delay {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let server = Server::new(options)?;
    if let Some(port) = server.options.http {
        return http::run(Arc::new(server), port).await;
    }
    if server.options.junk_at_start {
        let mut stdout = io::stdout().lock();
        stdout.write_all(b"demo-server: this line is no JSON\n")?;
        stdout.flush()?;
    }
    let (input, output) = stdio::standard()?;
    stdio::run(&server, input, output).await
}

/// Runs [`serve`] on a runtime of its own, with the calling thread as its only worker: one thread
/// answers faster than two that have to wake each other.
pub fn run(options: Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(serve(options));
    // A read of a terminal may still block a helper thread, which must not hold up the exit.
    runtime.shutdown_background();
    done
}

/// Ends the process as a crash would: at once, with no clean-up.
fn die() -> ! {
    #[cfg(unix)]
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    process::exit(134)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a server that leaves a process behind is what is played here"
)]
fn spawn_grandchild() -> io::Result<process::Child> {
    process::Command::new("sleep")
        .arg("1000")
        .stdin(process::Stdio::null())
        .spawn()
}
