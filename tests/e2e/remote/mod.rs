//! Backends over HTTP: real servers on loopback that are killed and started again, and fakes that write down what
//! reaches them.

mod everything;
mod fakes;
mod kills;
mod odd;
mod servers;

pub use servers::Demo;
