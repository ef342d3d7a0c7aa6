//! WASI 0.2 over the scoped hal: `wasi:cli`, `wasi:clocks`, `wasi:filesystem`, `wasi:random` and
//! `wasi:sockets` as the specification's WIT describes them (github.com/WebAssembly/WASI, 0.2).
//! `wasi:io` comes from wasmtime-wasi-io, over the streams defined here.

mod capsule;
mod cli;
mod clocks;
mod filesystem;
mod random;
mod sockets;
mod streams;

use wasmtime::component::Linker;

use crate::state::State;

/// The version of the interfaces; a component that asks for another 0.2 is given these.
const VERSION: &str = "0.2.12";

/// Adds every interface to a linker.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_io::add_to_linker_async(linker)?;
    cli::add(linker)?;
    clocks::add(linker)?;
    filesystem::add(linker)?;
    random::add(linker)?;
    sockets::add(linker)?;
    capsule::add(linker)
}

/// The full name of an interface: `wasi:cli/exit@0.2.12`.
fn name(interface: &str) -> String {
    format!("wasi:{interface}@{VERSION}")
}
