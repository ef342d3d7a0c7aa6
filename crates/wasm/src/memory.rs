//! What an instance holds in memory: its linear memories and tables, and what the host keeps for it.

use std::sync::Arc;

use ringfence_isolation::{Host, Usage, Verdict};
use wasmtime::ResourceLimiter;

use crate::control::Control;
use crate::trap::Stopping;

/// What one entry of a table costs the host, in bytes.
const TABLE_ENTRY: u64 = 16;

/// The sum of everything an instance holds in memory. The host is asked before it grows.
#[derive(Clone)]
pub(crate) struct Memory {
    host: Arc<dyn Host>,
    control: Arc<Control>,
}

/// Bytes that the host keeps for the guest, charged like memory of its own. Given back when dropped.
pub(crate) struct Kept {
    memory: Memory,
    bytes: u64,
}

impl Memory {
    pub(crate) fn new(host: Arc<dyn Host>, control: Arc<Control>) -> Self {
        Memory { host, control }
    }

    /// Charges bytes before they are held. Over the limit the instance ends: an allocation that fails
    /// quietly would leave the user with the program's own guess at the reason.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Stopping> {
        self.reach(self.control.memory().saturating_add(bytes))
    }

    fn give_back(&self, bytes: u64) {
        self.control.set_memory(self.control.memory().saturating_sub(bytes));
    }

    fn grow(&self, current: u64, desired: u64) -> wasmtime::Result<bool> {
        self.reach(self.control.memory().saturating_sub(current).saturating_add(desired))?;
        Ok(true)
    }

    fn reach(&self, total: u64) -> Result<(), Stopping> {
        match self.host.charge(Usage { memory: total, ..Usage::default() }) {
            Verdict::Continue => {
                self.control.set_memory(total);
                Ok(())
            }
            _ => Err(Stopping),
        }
    }
}

impl Kept {
    /// Nothing yet.
    pub(crate) fn nothing(memory: &Memory) -> Self {
        Kept { memory: memory.clone(), bytes: 0 }
    }

    /// So many bytes, charged before they are kept.
    pub(crate) fn bytes(memory: &Memory, bytes: u64) -> Result<Self, Stopping> {
        let mut kept = Kept::nothing(memory);
        kept.set(bytes)?;
        Ok(kept)
    }

    /// From now on so many bytes are kept.
    pub(crate) fn set(&mut self, bytes: u64) -> Result<(), Stopping> {
        if bytes > self.bytes {
            self.memory.take(bytes - self.bytes)?;
        } else if bytes < self.bytes {
            self.memory.give_back(self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
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
