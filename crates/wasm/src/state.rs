//! What a store holds beside the guest's own memory.

use std::sync::Arc;

use ringfence_abi::{Call, ErrorCode, Handle, Reply};
use ringfence_isolation::Host;
use wasmtime::StoreContextMut;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_io::IoView;

use crate::memory::Memory;
use crate::resources::Resources;
use crate::trap::Stopping;

/// What a store holds beside the guest's own memory.
pub(crate) struct State {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) table: Resources,
    pub(crate) memory: Memory,
    pub(crate) working_directory: Arc<str>,
}

/// The argument every host function gets first.
pub(crate) type Context<'a> = StoreContextMut<'a, State>;

impl State {
    pub(crate) fn new(host: Arc<dyn Host>, memory: Memory, working_directory: Arc<str>) -> Self {
        let table = Resources::new(memory.clone());
        State { host, table, memory, working_directory }
    }

    /// Makes a call that never waits. The outer error ends the instance, the inner one is the guest's.
    pub(crate) fn call(&self, call: Call<'_>) -> wasmtime::Result<Result<Reply, ErrorCode>> {
        sift(self.host.call(call).now())
    }
}

/// Turns [`ErrorCode::Stopping`] into the end of the instance and leaves every other answer alone.
pub(crate) fn sift<T>(answer: Result<T, ErrorCode>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match answer {
        Err(ErrorCode::Stopping) => Err(Stopping.into()),
        other => Ok(other),
    }
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        self.table.for_io()
    }
}

/// A handle of the scoped hal that is closed when the last owner lets go of it.
pub(crate) struct Owned {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) handle: Handle,
    close: bool,
}

impl Owned {
    /// Owns `handle`: it is closed with this.
    pub(crate) fn new(host: &Arc<dyn Host>, handle: Handle) -> Arc<Self> {
        Arc::new(Owned { host: host.clone(), handle, close: true })
    }

    /// Uses `handle`, which somebody else closes.
    pub(crate) fn borrowed(host: &Arc<dyn Host>, handle: Handle) -> Arc<Self> {
        Arc::new(Owned { host: host.clone(), handle, close: false })
    }

    /// Whether somebody else closes the handle: the instance was given it at its start.
    pub(crate) fn is_borrowed(&self) -> bool {
        !self.close
    }

    /// Makes a call that never waits.
    pub(crate) fn call(&self, call: Call<'_>) -> Result<Reply, ErrorCode> {
        self.host.call(call).now()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.close {
            let _ = self.call(Call::Close { handle: self.handle });
        }
    }
}
