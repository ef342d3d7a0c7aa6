//! The filter of system calls: `seccomp(2)`.
//!
//! A [`Profile`](profile) says what each system call gets; [`compile`](program::compile) turns it into
//! a filter that searches ranges by halves, so a call costs about eight comparisons.
//!
//! What it stops: the parts of the kernel a confined program has no business with. What it does not
//! do: judge paths or addresses, which it cannot see; these are the other walls' work.

mod alone;
mod monitor;
mod numbers;
mod profile;
mod program;

pub(crate) use alone::alone_profile;
pub(crate) use monitor::monitor_profile;
#[cfg(test)]
pub(crate) use profile::permissive;
pub(crate) use profile::{End, Metadata, Network, default_profile};
pub(crate) use program::compile;

use crate::sys::Instruction;

/// A filter ready to be installed.
pub(crate) type Filter = Vec<Instruction>;
