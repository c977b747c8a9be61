//! Pointsman.
pub mod call;
pub mod config;
pub mod error;
pub mod policy;
pub mod transport;
pub mod wire;
