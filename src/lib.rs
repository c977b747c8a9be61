//! Pointsman.
pub mod call;
pub mod config;
pub mod error;
pub mod policy;
pub mod process;
pub mod shutdown;
pub mod telemetry;
pub mod watch;
pub mod wire;
