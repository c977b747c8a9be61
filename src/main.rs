//! The program: see the library for all of it.

use std::process::ExitCode;

/// Measured with 64 callers and the two default policies, a tenth less CPU for a call than with glibc's.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pointsman::cli::main()
}
