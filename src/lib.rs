//! Pointsman.
pub mod call;
pub mod config;
pub mod error;
pub mod plugin;
pub mod policy;
pub mod wire;
