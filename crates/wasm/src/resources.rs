//! The WASI resources of an instance: what the host keeps for each is charged to its memory.

use wasmtime::component::{Resource, ResourceTable, ResourceTableError};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use crate::memory::Memory;

/// The most bytes one resource takes: its entry here and in the engine's handle tables, what it is,
/// its part of a handle of the hal, and the future of a pollable that is waited for. What may take
/// more (bytes on their way, entries of folders, names) is charged on its own.
const RESOURCE: u64 = 1024;
/// As many resources as any program has are part of what an instance costs, like its stack.
const FREE: usize = 64;
/// How many are charged for at once.
const STEP: usize = 64;

/// A table of resources that is charged for as it grows. Like a linear memory it never shrinks.
pub(crate) struct Resources {
    table: ResourceTable,
    memory: Memory,
}

/// Holds a place for a moment, to see whether there is one.
struct Probe;

impl Resources {
    pub(crate) fn new(memory: Memory) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(FREE);
        Resources { table, memory }
    }

    /// Makes room for one more.
    fn make_room(&mut self) -> wasmtime::Result<()> {
        match self.table.push(Probe) {
            Ok(probe) => {
                self.table.delete(probe)?;
            }
            Err(_) => {
                self.memory.take(STEP as u64 * RESOURCE)?;
                self.table.set_max_capacity(self.table.max_capacity() + STEP);
            }
        }
        Ok(())
    }

    /// The table with room for one more, for calls of `wasi:io`, none of which adds more. When that
    /// would be over the limit there is no room: the call traps, and the verdict says why.
    pub(crate) fn for_io(&mut self) -> &mut ResourceTable {
        let _ = self.make_room();
        &mut self.table
    }

    pub(crate) fn push<T: Send + 'static>(&mut self, resource: T) -> wasmtime::Result<Resource<T>> {
        self.make_room()?;
        Ok(self.table.push(resource)?)
    }

    /// A pollable for a resource.
    pub(crate) fn subscribe<T: Pollable>(&mut self, resource: Resource<T>) -> wasmtime::Result<Resource<DynPollable>> {
        self.make_room()?;
        subscribe(&mut self.table, resource)
    }

    pub(crate) fn get<T: 'static>(&self, resource: &Resource<T>) -> Result<&T, ResourceTableError> {
        self.table.get(resource)
    }

    pub(crate) fn get_mut<T: 'static>(&mut self, resource: &Resource<T>) -> Result<&mut T, ResourceTableError> {
        self.table.get_mut(resource)
    }

    pub(crate) fn delete<T: 'static>(&mut self, resource: Resource<T>) -> Result<T, ResourceTableError> {
        self.table.delete(resource)
    }
}
