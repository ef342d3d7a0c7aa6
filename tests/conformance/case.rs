//! One case: a manifest, what the probe does behind it, and what must come of that.

use ringfence::Level;

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
    pub stdin: Stdin,
    /// The probe's words.
    pub probe: &'static str,
    /// The lines it prints. `…` stands for anything.
    pub prints: &'static [&'static str],
    /// How it ends.
    pub ends: Ends,
    /// The denial events: permission (`-` for none) and resource, in any order, and no others.
    pub denies: &'static [(&'static str, &'static str)],
    /// What becomes of it where a program makes system calls itself.
    pub natively: Natively,
    /// The same where the level serves these calls itself, when that is something else again: nearer to
    /// what it is everywhere.
    pub served: Option<Natively>,
    /// Done to the place before.
    pub before: fn(&Place),
    /// What must hold on the host afterwards.
    pub after: fn(&Place),
}

/// What there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// This, and then the end.
    Text(&'static str),
    /// Nothing, and no end, for as long as it runs.
    Silent,
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
    /// By the signal of a fault, in a status as a shell shows it.
    Signalled,
    /// By a denial that has no other way to be told.
    Denied,
}

/// What becomes of a case where a program makes system calls itself, when that cannot be made equal.
#[derive(Clone, Copy, Debug)]
pub enum Natively {
    /// The same.
    Equal,
    /// Something else, and why.
    Otherwise(Otherwise),
    /// It is refused, with words that hold this: nothing runs, and the case is skipped.
    Refused(&'static str),
}

/// What is otherwise; `None` is as everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Otherwise {
    /// Why it cannot be equal.
    pub because: &'static str,
    /// The lines it prints.
    pub prints: Option<&'static [&'static str]>,
    /// How it ends.
    pub ends: Option<Ends>,
    /// The denial events.
    pub denies: Option<&'static [(&'static str, &'static str)]>,
    /// What must hold on the host afterwards.
    pub after: Option<fn(&Place)>,
}

impl Otherwise {
    /// Nothing yet.
    pub const fn because(because: &'static str) -> Self {
        Otherwise { because, prints: None, ends: None, denies: None, after: None }
    }

    /// Prints these lines.
    #[must_use]
    pub const fn prints(self, lines: &'static [&'static str]) -> Self {
        Otherwise { prints: Some(lines), ..self }
    }

    /// Ends like this.
    #[must_use]
    pub const fn ends(self, ends: Ends) -> Self {
        Otherwise { ends: Some(ends), ..self }
    }

    /// Has these denials.
    #[must_use]
    pub const fn denies(self, denies: &'static [(&'static str, &'static str)]) -> Self {
        Otherwise { denies: Some(denies), ..self }
    }

    /// Leaves the host like this.
    #[must_use]
    pub const fn after(self, after: fn(&Place)) -> Self {
        Otherwise { after: Some(after), ..self }
    }
}

impl Case {
    /// The case as it is at `level`, and why it differs there.
    pub fn at(&self, level: Level) -> (Case, Option<&'static str>) {
        match self.natively_at(level) {
            Natively::Otherwise(other) => {
                let case = Case {
                    prints: other.prints.unwrap_or(self.prints),
                    ends: other.ends.unwrap_or(self.ends),
                    denies: other.denies.unwrap_or(self.denies),
                    after: other.after.unwrap_or(self.after),
                    ..*self
                };
                (case, Some(other.because))
            }
            _ => (*self, None),
        }
    }

    /// The words a refusal at `level` has to hold, when it is refused there.
    pub fn refused_at(&self, level: Level) -> Option<&'static str> {
        match self.natively_at(level) {
            Natively::Refused(words) => Some(words),
            _ => None,
        }
    }

    fn natively_at(&self, level: Level) -> Natively {
        match self.served {
            _ if level < Level::Sandbox => Natively::Equal,
            Some(served) if level == Level::MicroVm => served,
            _ => self.natively,
        }
    }

    /// A case in which nothing is granted, nothing happens, and nothing is expected.
    pub const NOTHING: Case = Case {
        name: "",
        permissions: "",
        limits: "wall_time = \"20s\"",
        sections: "",
        stdin: Stdin::Text(""),
        probe: "",
        prints: &[],
        ends: Ends::Status(0),
        denies: &[],
        natively: Natively::Equal,
        served: None,
        before: |_| {},
        after: |_| {},
    };
}
