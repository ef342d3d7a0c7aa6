//! The runtime: what stands between a capsule and the system, the same at every level.
//!
//! ```text
//! Call ─▶ permissions ─▶ handle table ─▶ limits ─▶ system
//!              │               │            │
//!              └ Denied        └ BadHandle  └ Stopping (verdict: the limit)
//! ```
#![forbid(unsafe_code)]

mod authority;
mod denials;
mod error;
mod files;
mod handles;
mod ledger;
mod meter;
mod network;
mod vfs;

pub use denials::{DenialSink, Denials};
pub use network::{Resolver, SystemResolver};
pub use vfs::TreeError;
