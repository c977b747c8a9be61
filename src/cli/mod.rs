//! The command line.

mod ask;
#[cfg(unix)]
mod connect;
mod plugin;
mod run;
mod show;
mod welcome;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::demo;
use crate::plugin::{COMPILE_COMMAND, COMPONENTISE_COMMAND, compile_main, componentise_main};

/// One stable MCP endpoint in front of many servers that crash, restart and change.
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, about, long_about = None, after_help = "Examples:
  pointsman run                          two demo backends, to see how it works
  pointsman run --config pointsman.toml
  pointsman run --mcp-servers mcp.json   the servers of a desktop client's file
  pointsman connect                      for clients that speak stdio only
  pointsman status                       what a running router is doing")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router until Ctrl-C or SIGTERM.
    #[command(after_help = "Examples:
  pointsman run
  pointsman run --config pointsman.toml
  pointsman run --mcp-servers claude_desktop_config.json
  pointsman run --listen 127.0.0.1:7401
  pointsman run --config pointsman.toml --log info,pointsman::backend=debug --log-format json

The configuration and the files of policy components are watched: an edit takes effect at once. A file that is no
valid configuration changes nothing. A component that is refused goes on with its last good build, or leaves the
policies as they were; the rest of the edit is applied. Why is told in the log and in `pointsman status`.
Ctrl-C or SIGTERM lets calls finish for `router.grace`; a second one ends everything at once.")]
    Run(run::Run),
    /// Check a configuration and its policy components, and print every setting in effect.
    #[command(after_help = "Examples:
  pointsman check --config pointsman.toml
  pointsman check --mcp-servers claude_desktop_config.json
  pointsman check --config pointsman.toml --no-plugins

Exit status: 0 when all is well, 1 when something is wrong. All problems are reported at once.")]
    Check(run::Check),
    /// Serve one client over stdin and stdout, for those that speak nothing else; the router is started if none runs.
    #[cfg(unix)]
    #[command(after_help = "Examples:
  pointsman connect
  pointsman connect --config /home/me/pointsman.toml
  pointsman connect --endpoint git
  pointsman connect --no-start --port 7401
  pointsman connect --header 'X-Pointsman-Backend: git'

In the configuration of Claude Desktop and others of its kind:
  {\"mcpServers\": {\"pointsman\": {\"command\": \"pointsman\",
    \"args\": [\"connect\", \"--config\", \"/home/me/pointsman.toml\"]}}}

The router outlives its clients; all that are told the same configuration share one. It may be stopped, killed and
started again: requests wait for it, reads that were in flight are sent again, other calls get error 7004, and the
session is opened again behind the client's back. Its log is beside its socket, in $XDG_RUNTIME_DIR/pointsman or
/tmp/pointsman-UID. Exit status: 0 when the client has ended.")]
    Connect(connect::Connect),
    /// Starts the program in a session of its own (`connect` calls this).
    #[cfg(unix)]
    #[command(name = crate::process::DETACH_COMMAND, hide = true, disable_help_flag = true)]
    Detach {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Runs a tool that is to end with whoever wanted it (`plugin build` calls this).
    #[cfg(unix)]
    #[command(name = crate::process::GUARD_COMMAND, hide = true, disable_help_flag = true)]
    Guard {
        program: std::ffi::OsString,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Not supported here: it needs Unix sockets.
    #[cfg(not(unix))]
    Connect {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
        arguments: Vec<String>,
    },
    /// Show what a running router is doing: backends, process ids, held calls, policies, refusals.
    #[command(after_help = "Examples:
  pointsman status
  pointsman status --json | jq '.backends[] | {name, state}'
  pointsman status --port 7401")]
    Status(ask::Status),
    /// Restart a backend of a running router: calls in flight may finish, new ones are held until it is ready.
    #[command(after_help = "Examples:
  pointsman restart git
  pointsman restart git --port 7401")]
    Restart(ask::Restart),
    /// Make a running router read its configuration and policy components again, and say what it refuses.
    #[command(after_help = "Examples:
  pointsman reload

Files are watched anyway; this is for file systems that tell of no changes, and for scripts.
Exit status: 0 when nothing was refused (what waits for a restart of the router is named), 1 when something was.")]
    Reload(ask::Reload),
    /// For writers of policy components: look at them, check, test and measure them, make new ones.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// An MCP server that is slow, hangs or crashes on demand: to try the router with.
    #[command(after_help = demo::EXAMPLES)]
    DemoServer(demo::Options),
    /// Compile one component (the router calls this).
    #[command(name = COMPILE_COMMAND, hide = true)]
    Compile { input: PathBuf, output: PathBuf },
    /// Make one core module a component (the router calls this).
    #[command(name = COMPONENTISE_COMMAND, hide = true)]
    Componentise { input: PathBuf, output: PathBuf },
}

/// Which configuration.
#[derive(Args, Clone, Debug)]
struct Source {
    /// The configuration file. Without it: `pointsman.toml` in this directory, else two demo backends.
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "POINTSMAN_CONFIG",
        conflicts_with = "mcp_servers"
    )]
    config: Option<PathBuf>,
    /// A client's JSON file with `mcpServers` (or VS Code's `servers`) instead; all else has its default.
    #[arg(long, value_name = "FILE")]
    mcp_servers: Option<PathBuf>,
}

/// Which running router.
#[derive(Args, Clone, Debug)]
struct Whom {
    /// The port it listens on.
    #[arg(long, default_value_t = welcome::usual_port())]
    port: u16,
    /// Its admin socket, where `router.admin-socket` is set.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

/// Runs the program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => run.main(),
        Command::Check(check) => check.main(),
        #[cfg(unix)]
        Command::Connect(connect) => connect.main(),
        #[cfg(unix)]
        Command::Detach { arguments } => {
            let detached = run::program()
                .and_then(|program| crate::process::detach_main(&program, &arguments).map_err(|e| e.to_string()));
            ended(detached)
        }
        // Whoever called this tells what went wrong.
        #[cfg(unix)]
        Command::Guard { program, arguments } => match crate::process::guard_main(&program, &arguments) {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        #[cfg(not(unix))]
        Command::Connect { .. } => ended(Err(
            "`connect` needs Unix sockets, which this system has not: connect to http://127.0.0.1:7400/mcp".to_owned(),
        )),
        Command::Status(status) => status.main(),
        Command::Restart(restart) => restart.main(),
        Command::Reload(reload) => reload.main(),
        Command::Plugin(command) => command.main(),
        Command::DemoServer(options) => ended(demo::run(options).map_err(|e| e.to_string())),
        Command::Compile { input, output } => asked_by_the_router(compile_main(&input, &output)),
        Command::Componentise { input, output } => asked_by_the_router(componentise_main(&input, &output)),
    }
}

fn asked_by_the_router(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The router reads this: not a word of our own before it.
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            ExitCode::FAILURE
        }
    }
}

/// Words for the person at the terminal.
fn say(words: &str) {
    tell(&format!("pointsman: {words}"));
}

#[expect(clippy::print_stderr, reason = "this is where the program speaks")]
fn tell(words: &str) {
    eprintln!("{words}");
}

/// What was asked for. Nobody may be there to read it: a router goes on without whoever started it.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
