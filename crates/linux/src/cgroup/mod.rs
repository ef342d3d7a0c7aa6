//! Limits on memory, processes and processor time: `cgroups(7)`, version 1 and version 2.
//!
//! [`Hierarchies::find`] looks where each controller is. [`Cgroup::create`] makes one folder per
//! hierarchy below the supervisor's own, so that limits on the supervisor go on to hold, and sets the
//! limits before any process is in it. Dropping it kills what is left inside and removes the folders.
//!
//! The folders are named `ringfence.<pid namespace>.<pid>.<start time>.<number>`: who finds one whose
//! supervisor is gone may remove it ([`sweep`]).

mod descriptors;
mod find;
mod folder;
mod freeze;
mod limits;
mod measure;
mod sweep;
mod tree;

pub(crate) use descriptors::Descriptors;
pub(crate) use find::{Controller, Hierarchies, Place, Version};
pub(crate) use folder::{Cgroup, CgroupError};
pub(crate) use limits::Wanted;
pub(crate) use measure::Alarm;
pub(crate) use sweep::{left_below, remove, sweep};
pub(crate) use tree::{Kernel, Tree, read_text};

#[cfg(test)]
mod tests;
