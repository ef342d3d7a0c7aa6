//! Level `microvm`: an unmodified Linux program in a virtual machine of its own, without a guest kernel.
//!
//! ```text
//! program (CPL 3) ──syscall, exception──▶ stub ──exit──▶ personality ──Host::call──▶ scoped hal
//! ```
//!
//! [`kvm`] is the machine: its memory, its processors, a page of stubs that turns system calls and
//! exceptions into exits. [`memory`] is what a program has at which address. [`loader`] brings a program
//! there. [`personality`] serves its system calls, a module for each family of calls, from the scoped
//! hal: same permissions, handles, limits and denials as at every other level. [`tree`] is what a
//! program sees beside what it was granted, the system's libraries first.
//!
//! Invariants: nothing of a program runs at CPL 0. Every address that comes from a program is looked up
//! in the host's own maps, content is copied before it is looked at, and nothing a program can do makes
//! the host panic. Nobody but the host writes page tables. When an instance has ended, its machine is
//! closed and its threads are gone.
//!
//! What it does not protect against: faults of KVM, which runs the program; side channels through the
//! shared machine; faults of the personality, which runs in the host's process and is safe Rust but for
//! `sys`.
#![deny(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("level microvm is made for Linux on x86-64");

mod backend;
mod control;
mod instance;
mod kvm;
mod loader;
mod memory;
mod personality;
mod pool;
mod prepared;
mod promise;
mod scratch;
mod snapshot;
mod sys;
mod tree;
mod vdso;
mod words;

pub use backend::{Examined, Vm};
pub use kvm::Findings;
pub use personality::ASK;
pub use snapshot::Sealed;
#[doc(hidden)]
pub use snapshot::VERSION as SNAPSHOT_VERSION;
