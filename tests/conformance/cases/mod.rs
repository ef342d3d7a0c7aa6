//! The cases, a file per family.

mod environment;
mod escape;
mod files;
mod lifecycle;
mod limits;
mod network;

use crate::Case;

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    [files::CASES, escape::CASES, environment::CASES, limits::CASES, network::CASES, lifecycle::CASES]
        .into_iter()
        .flatten()
}
