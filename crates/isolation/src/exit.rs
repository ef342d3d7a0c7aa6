//! How an instance ended.

use std::fmt;

use serde::Serialize;

use crate::{Denial, Limit};

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "exit", content = "detail")]
pub enum Exit {
    /// The program ended by itself, with this status.
    Returned(i32),
    /// The program did what no program may: its own fault.
    Trapped(Trap),
    /// It used more than a limit allows.
    Exceeded(Limit),
    /// It needed what it was denied and could not be told by an error.
    Denied(Denial),
    /// It was stopped from outside.
    Stopped,
    /// The host failed it.
    Lost(LostReason),
}

/// The program's own fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "trap", content = "message")]
pub enum Trap {
    /// It went too deep.
    StackOverflow,
    /// It touched memory that is not there.
    MemoryOutOfBounds,
    /// It divided by zero, or overflowed a conversion.
    Arithmetic(String),
    /// It executed `unreachable`: an abort or a panic, most often.
    Unreachable,
    /// It is no program that can be executed here, and no instruction of it ran; why, in the words of who tried.
    NotExecutable(String),
    /// Something else that its engine or the processor stopped; in the engine's words.
    Other(String),
}

/// The host's fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason", content = "message")]
pub enum LostReason {
    /// The backend failed in the middle.
    Backend(String),
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trap::StackOverflow => f.write_str("stack overflow"),
            Trap::MemoryOutOfBounds => f.write_str("memory access out of bounds"),
            Trap::Arithmetic(message) | Trap::Other(message) => f.write_str(message),
            Trap::NotExecutable(reason) => write!(f, "it cannot be executed: {reason}"),
            Trap::Unreachable => f.write_str("unreachable executed (an abort or a panic)"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Returned(status) => write!(f, "returned {status}"),
            Exit::Trapped(Trap::NotExecutable(reason)) => write!(f, "the program cannot be executed: {reason}"),
            Exit::Trapped(trap) => write!(f, "trapped: {trap}"),
            Exit::Exceeded(limit) => write!(f, "exceeded {limit}"),
            Exit::Denied(denial) => denial.fmt(f),
            Exit::Stopped => f.write_str("stopped"),
            Exit::Lost(LostReason::Backend(message)) => write!(f, "lost: {message}"),
        }
    }
}
