//! Pointsman.
pub mod demo;
