//! Pointsman: one stable MCP endpoint in front of many servers that crash, restart and change, whose routing
//! rules are WebAssembly components that are swapped while calls are running.
//!
//! Modules are listed floor by floor, lowest first; a file may use its own module and lower floors, on floor 3
//! only what stands to its left. ARCHITECTURE.md leads through them, and a test enforces the order.

// Floor 0, wire: bytes to messages and back.
pub mod wire;

// Floor 1, words: pure, but for files.
pub mod aside;
pub mod call;
pub mod config;
pub mod error;
pub mod policy;
pub mod seal;

// Floor 2, mechanisms: blind to each other.
pub mod auth;
pub mod fetch;
pub mod plugin;
pub mod process;
pub mod remote;
pub mod transport;
pub mod watch;

// Floor 3, actors.
pub mod backend;
pub mod catalog;
pub mod reload;
pub mod router;
pub mod session;

// Floor 4, wiring.
pub mod admin;
pub mod app;
pub mod cli;
#[cfg(unix)]
pub mod connect;
pub mod demo;
pub mod keys;
pub mod shutdown;
pub mod telemetry;
