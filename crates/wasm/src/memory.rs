//! What an instance holds in memory.

use std::sync::Arc;

use ringfence_isolation::{Host, Usage, Verdict};
use wasmtime::ResourceLimiter;

use crate::control::Control;
use crate::trap::Stopping;

/// What one entry of a table costs the host, in bytes.
const TABLE_ENTRY: u64 = 16;

/// Adds up linear memories and tables and asks the host before each grows.
pub(crate) struct Memory {
    host: Arc<dyn Host>,
    control: Arc<Control>,
}

impl Memory {
    pub(crate) fn new(host: Arc<dyn Host>, control: Arc<Control>) -> Self {
        Memory { host, control }
    }

    /// A growth over the limit ends the instance: an allocation that fails quietly would leave the
    /// user with the program's own guess at the reason.
    fn grow(&self, current: u64, desired: u64) -> wasmtime::Result<bool> {
        let total = self.control.memory().saturating_sub(current).saturating_add(desired);
        match self.host.charge(Usage { memory: total, ..Usage::default() }) {
            Verdict::Continue => {
                self.control.set_memory(total);
                Ok(true)
            }
            _ => Err(Stopping.into()),
        }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current as u64, desired as u64)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(current as u64 * TABLE_ENTRY, (desired as u64).saturating_mul(TABLE_ENTRY))
    }
}
