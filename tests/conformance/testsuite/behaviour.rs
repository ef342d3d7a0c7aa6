//! What a test did.

use std::fmt;

/// What a test did, behind whatever boundary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) end: End,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// What its boundary said of it, for people.
    pub(crate) notes: Vec<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Status(i32),
    /// By a trap.
    Trap,
    /// Otherwise: it took too long, or never began.
    Other(String),
}

impl End {
    /// The status a trap is told by, as the suite expects it: that of a process killed by `SIGABRT`.
    pub(crate) const TRAP: i32 = 134;

    /// The status a test can expect.
    pub(crate) fn status(&self) -> Option<i32> {
        match self {
            End::Status(status) => Some(*status),
            End::Trap => Some(Self::TRAP),
            End::Other(_) => None,
        }
    }
}

impl Default for End {
    fn default() -> Self {
        End::Status(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Status(status) => write!(f, "status {status}"),
            End::Trap => f.write_str("a trap"),
            End::Other(what) => f.write_str(what),
        }
    }
}
