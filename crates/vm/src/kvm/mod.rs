//! The virtual machine: memory, processors, the page of stubs.
//!
//! ```text
//! CPL 3   program ──syscall──▶ stub ──out──▶ exit ──▶ host ──▶ back to rcx
//!            └──exception──▶ IDT stub (CPL 0) ──out──▶ exit ──▶ host ──iretq──▶ back
//! ```
//!
//! Nothing of the guest runs at CPL 0 but the stubs of [`layout`]. Guest physical memory is one file in
//! memory, mapped once; its offset is the guest physical address.

mod cpuid;
mod frames;
mod imprint;
mod journal;
mod layout;
mod machine;
mod probe;
mod processor;
mod shortcuts;
mod tables;
mod vectors;

use frames::Frames;
pub(crate) use imprint::{Imprint, Imprinted, Original};
pub(crate) use layout::{USER_END, USER_STUB};
use machine::TABLE_AREA;
pub(crate) use machine::{Kept, Machine, MachineError};
pub use probe::Findings;
pub(crate) use probe::{Kvm, Missing, Processors, StubKind};
pub(crate) use processor::{Event, Processor, Registers};
pub(crate) use shortcuts::Shortcuts;
pub(crate) use tables::{Tables, Translation};
pub(crate) use vectors::{Extent, LEGACY};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;
