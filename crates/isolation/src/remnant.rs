//! What is left of a process that was killed.

use std::path::PathBuf;

use serde::Serialize;

/// Something a backend makes outside of its processes, left by one that had no time to remove it.
/// Nobody holds it: a living process's own is never one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Remnant {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// Where it is.
    pub place: PathBuf,
}
