//! How wasmtime is set up.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

/// The most stack a capsule's code may use, in bytes; the fiber it runs on is twice that.
const STACK: usize = 512 << 10;

/// Which engine a capsule needs. Each kind compiles to different code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flavour {
    /// Interrupted by epochs: no cost in the guest.
    Plain,
    /// Counts instructions, and gives the same results on every machine.
    Counting,
}

/// An engine of this flavour; with `pooling`, for at most so many live instances.
pub(crate) fn build(flavour: Flavour, pooling: Option<u32>) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model(true)
        .wasm_backtrace_max_frames(None)
        .native_unwind_info(false)
        .generate_address_map(false)
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        .async_stack_size(2 * STACK)
        .cranelift_opt_level(OptLevel::Speed);
    if flavour == Flavour::Counting {
        config.consume_fuel(true).cranelift_nan_canonicalization(true).relaxed_simd_deterministic(true);
    }
    if let Some(most) = pooling {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(most)));
    }
    Engine::new(&config)
}

/// A component made from a core module holds three core instances (the module, the WASI adapter,
/// their tables) around one memory; twice that leaves room for composed components.
fn pool(most: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(most)
        .total_core_instances(most.saturating_mul(6))
        .total_memories(most.saturating_mul(2))
        .total_tables(most.saturating_mul(4))
        .total_stacks(most)
        .max_core_instances_per_component(64)
        .max_memories_per_component(16)
        .max_tables_per_component(64)
        .linear_memory_keep_resident(64 << 10)
        .table_keep_resident(4 << 10)
        .async_stack_keep_resident(16 << 10)
        .max_unused_warm_slots(256);
    pool
}
