//! What runs in a process of its own behind the walls of a Linux capsule that is granted nothing: WebAssembly's
//! engine at level `sandbox`, and the monitor of a virtual machine at level `microvm`. Everything their guest
//! asks for crosses to the supervisor. At level `microvm` the engine is the program of a virtual machine, and asks by its door.
//!
//! ```text
//! supervisor                                       the runner, in a place without files or network
//! compile ──code──▶ a sealed file in memory ─────▶ engine: guest ──Call──▶ Remote
//! Host ◀──Call── serve ◀───────────── asks ◀───────────────────────────────┘
//!   └────Reply──▶ serve ──at once: asks, later: answers ──▶ Remote
//! ```
//!
//! So permissions, handles, limits and denials are those of level `wasm`, by the same code, and a fault of
//! the engine leads into a process that holds nothing but the line on which it may ask.
//!
//! Invariants: what the runner says is never believed. Its requests are decoded as untrusted bytes, with
//! bounded sizes; how the instance ended is the host's verdict wherever there is one; processor time and
//! memory are bounded by the cgroup as well. The runner's code comes from this process over a file that
//! nobody can write to any more.

mod backend;
mod captures;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
mod capturing;
mod carried;
mod commands;
mod connections;
mod door;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
mod hatch;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
mod machine;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
mod monitor;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
mod ordered;
mod parcel;
mod process;
mod remote;
mod serve;
mod wire;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
mod within;

pub(crate) use backend::Sandbox;
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
pub(crate) use machine::Machines;
pub use process::{RUNNER, run};
/// What the runner of a virtual machine gives up, for a test that plays one gone bad.
#[doc(hidden)]
pub use ringfence_linux::confine_monitor;
/// The version of the files of snapshots, for the same test.
#[cfg(all(feature = "microvm", target_arch = "x86_64"))]
#[doc(hidden)]
pub use ringfence_vm::SNAPSHOT_VERSION;
