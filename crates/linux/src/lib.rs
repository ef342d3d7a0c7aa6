//! Level `sandbox`: Linux programs behind namespaces, Landlock, seccomp and cgroups.
//!
//! ```text
//! Spec ──prepare──▶ Recipe: tree, rules, filter, arguments ──build──▶ a process that waits ──start──▶ the program
//! ```
//!
//! Each mechanism is a folder: [`namespaces`] and [`tree`] say what there is, [`landlock`] what may be
//! done with it, [`seccomp`] which system calls there are, [`cgroup`] how much may be used, [`network`]
//! what can be reached. [`launch`] puts a process behind all of them, [`supervise`] watches it.
//!
//! Invariants: everything is decided before the clone, and every step after it succeeds or nothing
//! runs. What a limit or permission needs and this machine does not have is a refusal. When the
//! supervisor dies, the kernel ends everything of the place; the empty cgroups it leaves are swept by
//! the next one.
//!
//! What it does not protect against: faults of the kernel, whose system calls the program makes
//! itself; side channels through the shared machine. Root's capsules are root towards the files that
//! are mounted for them, without capabilities.
#![deny(unsafe_code)]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("level sandbox is made for Linux on x86-64 and AArch64");

mod apparmor;
mod backend;
mod carrier;
mod cgroup;
mod console;
mod ending;
mod exec;
mod facts;
mod instance;
mod landlock;
mod launch;
mod learn;
mod names;
mod namespaces;
mod network;
mod observe;
mod operations;
mod own_program;
mod place;
mod pool;
mod prepared;
mod promise;
mod pump;
mod relayed;
mod seccomp;
mod spent;
mod stdio;
mod supervise;
mod sys;
mod terminal;
mod tree;

// What the tests of the crate are made of names it from outside.
#[cfg(test)]
extern crate self as ringfence_linux;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
#[cfg(test)]
mod walls;

pub use backend::Linux;
pub use carrier::{Carrier, confine_monitor};
pub use names::look_names_up_plainly;
pub use own_program::{program_path, protect_program};
pub use relayed::{Asking, Relayed};
