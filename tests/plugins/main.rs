//! Policy components from file to verdict: the defaults, faults, limits, broken files, reloads.

mod broken;
mod chains;
mod defaults;
mod faults;
mod limits;
mod reload;
mod support;
