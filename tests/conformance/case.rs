//! One case: a manifest, what the probe does behind it, and what must come of that.

use crate::Place;

/// What the probe does behind a manifest, and what must come of it.
///
/// In every text `{tcp}`, `{udp}` and `{closed}` stand for the ports of the place's echo servers and
/// of one that nothing listens on.
#[derive(Clone, Copy)]
pub struct Case {
    /// `family/what_is_expected`.
    pub name: &'static str,
    /// Lines of `[permissions]`.
    pub permissions: &'static str,
    /// Lines of `[limits]`.
    pub limits: &'static str,
    /// Whole further sections.
    pub sections: &'static str,
    /// Standard input.
    pub stdin: &'static str,
    /// The probe's words.
    pub probe: &'static str,
    /// The lines it prints. `…` at the end of a line stands for any rest.
    pub prints: &'static [&'static str],
    /// How it ends.
    pub ends: Ends,
    /// The denial events: permission (`-` for none) and resource, in any order, and no others.
    pub denies: &'static [(&'static str, &'static str)],
    /// Done to the place before.
    pub before: fn(&Place),
    /// What must hold on the host afterwards.
    pub after: fn(&Place),
}

/// How a case ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// With this exit status.
    Status(i32),
    /// By this limit.
    Exceeded(&'static str),
    /// By a trap whose description holds this.
    Trapped(&'static str),
    /// By a denial that has no other way to be told.
    Denied,
}

impl Case {
    /// A case in which nothing is granted, nothing happens, and nothing is expected.
    pub const NOTHING: Case = Case {
        name: "",
        permissions: "",
        limits: "wall_time = \"20s\"",
        sections: "",
        stdin: "",
        probe: "",
        prints: &[],
        ends: Ends::Status(0),
        denies: &[],
        before: |_| {},
        after: |_| {},
    };
}
