//! The cases, a file per family.

mod environment;
mod escape;
mod files;
mod lifecycle;
mod limits;
mod network;

use crate::Case;

/// Why a level whose tree the kernel keeps answers `ENOENT`.
const NOT_THERE: &str = "what is not granted is not in the tree: ENOENT, or EROFS where it would be made";
/// Why it answers `EROFS`.
const READ_ONLY: &str = "a mount in which nothing may be changed is read-only: EROFS instead of EACCES";
/// Why its root has more in it.
const SYSTEM_THERE: &str = "the system's programs and libraries are in the tree";
/// Why a fault is a status.
const AS_A_SHELL: &str = "a signal that ends a program is its status, as a shell shows it";

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [files::CASES, escape::CASES, environment::CASES, limits::CASES, network::CASES, lifecycle::CASES]
        .into_iter()
        .flatten()
}
