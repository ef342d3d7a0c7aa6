//! Why a manifest has no spec here.

use std::fmt;

use crate::text::quoted;
use crate::{Diagnostics, Guarantee, Kind, Level};

/// Why a manifest has no spec here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// Something written is wrong.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
    /// There is no backend for the level that was asked for.
    #[error("level {level}, which {written} asks for, is not available here\n  available: {}", names(.available))]
    Unavailable {
        /// The level.
        level: Level,
        /// Where it was asked for.
        written: String,
        /// What there is.
        available: Vec<Level>,
    },
    /// Something is granted in the capsule's own folder, and there is no place for such folders.
    #[error(
        "{} is granted {rule} in a folder of its own, and there is no place for that: neither XDG_DATA_HOME nor \
         HOME is set\n  remedy: set XDG_DATA_HOME to a folder of yours, or mount a folder there", quoted(.capsule)
    )]
    NoRoot {
        /// The capsule.
        capsule: String,
        /// What is granted.
        rule: String,
    },
    /// The level was to be chosen, and none will do.
    #[error("no level here will do for {}, {}{}", quoted(.capsule), program(*.kind), reasons(.minimum, .rejected))]
    NoLevel {
        /// The capsule.
        capsule: String,
        /// What sort of program it is.
        kind: Kind,
        /// The least it asks for.
        minimum: Option<Level>,
        /// Every level, weakest first, and why it will not do.
        rejected: Vec<Rejected>,
    },
}

/// A level that will not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The level.
    pub level: Level,
    /// Why.
    pub why: Rejection,
}

/// Why a level will not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// It is weaker than the minimum.
    #[error("below the minimum {0}")]
    BelowMinimum(Level),
    /// It cannot run such programs.
    #[error("does not run {} programs", .0.name())]
    DoesNotRun(Kind),
    /// There is no backend for it.
    #[error("not available here")]
    Unavailable,
    /// It never holds what is required.
    #[error("does not hold {}", .0.iter().map(|guarantee| guarantee.name()).collect::<Vec<_>>().join(", "))]
    DoesNotHold(Vec<Guarantee>),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<9}  {}", self.level, self.why)
    }
}

fn names(levels: &[Level]) -> String {
    if levels.is_empty() {
        return "none".to_owned();
    }
    levels.iter().map(|level| level.name()).collect::<Vec<_>>().join(", ")
}

fn program(kind: Kind) -> String {
    match kind {
        Kind::Oci => "an oci program".to_owned(),
        Kind::Unikernel => "a unikernel program".to_owned(),
        kind => format!("a {kind} program"),
    }
}

fn reasons(minimum: &Option<Level>, rejected: &[Rejected]) -> String {
    let minimum = minimum.map(|minimum| format!(" at {minimum} or above")).unwrap_or_default();
    rejected.iter().fold(minimum, |text, rejected| format!("{text}\n  {rejected}"))
}
