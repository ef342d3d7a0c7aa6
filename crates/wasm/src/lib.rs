//! Level `wasm`: WebAssembly modules and components on wasmtime.
//!
//! ```text
//! program.wasm ─program─▶ component bytes ─cache─▶ native code ─linker─▶ Ready ─build(host)─▶ Running
//! ```
//!
//! A core module (WASI preview 1) becomes a component first, so there is one path into the host:
//! WASI 0.2, written here over [`Host`](ringfence_isolation::Host). Nothing in this crate opens a
//! file, a socket or a clock of its own for a capsule.
//!
//! Invariants: a capsule's code runs only inside `metered::run`, which charges its processor time
//! (unless [`Metering::Around`] leaves that to others) and ends it when the host's verdict or a stop says so; a blocked host call is a future that is
//! dropped then.
//!
//! What it does not protect against: a fault in wasmtime or its compiler, and side channels through
//! the shared processor. The capsule shares the host's address space; `own-address-space` is not
//! held here.
#![deny(unsafe_code)]

mod backend;
mod cache;
mod control;
mod engine;
mod functions;
mod instance;
mod memory;
mod metered;
mod prepared;
mod program;
mod resources;
mod state;
mod sys;
mod ticker;
mod trap;
mod values;
mod wasi;

pub use backend::{Metering, OnProgress, Options, Progress, Wasm};
pub use cache::{Cache, CacheEntry, CacheError};
