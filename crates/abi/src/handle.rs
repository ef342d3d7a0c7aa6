//! A capsule's name for an open resource.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A capsule's name for an open resource: an index into its handle table, tagged with the
/// generation of that slot, so that a handle kept past its close is recognised as stale.
///
/// Indices start at [`Handle::FIRST`]; the first three are the standard streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(u64);

impl Handle {
    /// The smallest index of a handle. Smaller numbers are never valid, so a file descriptor
    /// number of the host that leaks into a capsule names nothing.
    pub const FIRST: u32 = 100;
    /// The capsule's standard input.
    pub const STDIN: Handle = Handle::new(Self::FIRST, 0);
    /// The capsule's standard output.
    pub const STDOUT: Handle = Handle::new(Self::FIRST + 1, 0);
    /// The capsule's standard error.
    pub const STDERR: Handle = Handle::new(Self::FIRST + 2, 0);

    /// The handle of slot `index` in its `generation`.
    pub const fn new(index: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | index as u64)
    }

    /// A handle from the number that crossed the wall. Any number is accepted here; the handle
    /// table decides whether it names anything.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number that crosses the wall.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// The slot in the handle table.
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// How many times the slot had been reused when this handle was made.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handle {}", self)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation() {
            0 => write!(f, "{}", self.index()),
            generation => write!(f, "{}.{generation}", self.index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_its_index_and_generation() {
        let handle = Handle::new(104, 7);
        assert_eq!((handle.index(), handle.generation()), (104, 7));
        assert_eq!(Handle::from_raw(handle.raw()), handle);
    }
}
