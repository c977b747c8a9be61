//! The one wasmtime engine of the process, and how it is configured.

use std::num::NonZeroUsize;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Linear memory of one instance at most, whatever a plugin is configured to.
pub const MAX_MEMORY: usize = 128 << 20;

/// Instances alive at most, over all plugins and generations.
const SLOTS: u32 = 256;

/// The engine that runs components. Slots are reserved address space, not memory; where that cannot be had
/// (a limit on virtual memory), instances are allocated one by one.
pub(super) fn engine() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(slots()));
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                error = %format_args!("{error:#}"),
                "no address space for pooled instances: fresh instances will be slower"
            );
            compiling_engine()
        }
    }
}

/// An engine that only compiles: the same code, no slots.
pub(super) fn compiling_engine() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

/// An engine whose guests count what they do, which costs them time: for tests of plugins. Compiles by itself.
pub(super) fn metered_engine() -> wasmtime::Result<Engine> {
    let mut config = base();
    config.consume_fuel(true);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
}

/// What decides about the machine code, and so must be the same in the compiling child and in the router.
fn base() -> Config {
    let mut config = Config::new();
    // The contract has no async function: without this a call costs half as much again.
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.memory_init_cow(true);
    // Registered unwind tables make many loads quadratic; Windows cannot do without.
    config.native_unwind_info(cfg!(windows));
    config.wasm_backtrace_max_frames(NonZeroUsize::new(8));
    config
}

fn slots() -> PoolingAllocationConfig {
    let mut slots = PoolingAllocationConfig::new();
    slots
        .total_component_instances(SLOTS)
        // A component from a foreign toolchain holds a handful of core modules.
        .total_core_instances(SLOTS * 8)
        .max_core_instances_per_component(64)
        .total_memories(SLOTS)
        .max_memories_per_component(4)
        .total_tables(SLOTS * 4)
        .max_tables_per_component(16)
        .table_elements(100_000)
        .total_stacks(SLOTS)
        .max_memory_size(MAX_MEMORY)
        // Idle routers are to be small: an unused slot keeps next to nothing.
        .max_unused_warm_slots(16)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10);
    slots
}
