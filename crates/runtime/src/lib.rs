//! The runtime: what stands between a capsule and the system, the same at every level.
//!
//! ```text
//! Call ─▶ permissions ─▶ handle table ─▶ limits ─▶ system
//!              │               │            │
//!              └ Denied        └ BadHandle  └ Stopping (verdict: the limit)
//! ```
//!
//! [`ScopedHal`] is the only way out of an instance; [`Plan`] takes a spec to a running instance and
//! to the [`Report`] of its end.
//!
//! Invariants: what is not granted is denied whether it exists or not, and every denial is an event
//! that says what would grant it. A limit that trips ends the instance and is the verdict by its name.
//! When a verdict falls, no call waits any longer. Names no backend.
//!
//! What it does not protect: it serves calls. That a capsule has no way past them is the backend's to
//! enforce.
#![forbid(unsafe_code)]

mod authority;
mod channels;
mod clock;
mod denials;
mod error;
mod files;
mod handles;
mod ledger;
mod lifecycle;
mod meter;
mod network;
#[cfg(test)]
mod sample;
mod scoped;
mod streams;
mod surroundings;
mod vfs;

pub use channels::Channels;
pub use denials::{DenialSink, Denials};
pub use lifecycle::*;
pub use network::{Descriptor, Resolver, SystemResolver};
pub use scoped::{HalError, ScopedHal};
pub use streams::StreamError;
pub use surroundings::{Function, Functions, LogSink, Surroundings};
pub use vfs::{Mounts, TreeError};
