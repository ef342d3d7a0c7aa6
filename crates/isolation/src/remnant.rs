//! What is left of a process that was killed.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// Something a backend makes outside of its processes, left by one that had no time to remove it.
/// Nobody holds it: a living process's own is never one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Remnant {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// Where it is; told as text as far as it is one.
    #[serde(serialize_with = "shown")]
    pub place: PathBuf,
}

fn shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
