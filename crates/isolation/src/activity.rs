//! What a program asked of its level, counted; and what of Linux a level serves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What ordinary hardware charges for leaving a virtual machine and going back, about.
const EXIT_ON_ORDINARY_HARDWARE: Duration = Duration::from_nanos(1500);

/// What an instance asked of its level, counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Activity {
    /// System calls by name, most first.
    pub calls: Vec<Count>,
    /// How often a processor left the guest, by the reason, most first.
    pub exits: Vec<Count>,
    /// All exits together.
    pub exits_total: u64,
    /// What they would cost on ordinary hardware, at 1.5 µs each, in seconds.
    pub exits_projected: f64,
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What.
    pub name: String,
    /// How often.
    pub count: u64,
}

impl Activity {
    /// Sorts what was counted; what never happened is left out.
    pub fn new<'a>(
        calls: impl IntoIterator<Item = (&'a str, u64)>,
        exits: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Self {
        let exits = sorted(exits);
        let exits_total = exits.iter().map(|exit| exit.count).sum();
        let exits_projected = EXIT_ON_ORDINARY_HARDWARE.as_secs_f64() * exits_total as f64;
        Activity { calls: sorted(calls), exits, exits_total, exits_projected }
    }
}

fn sorted<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Vec<Count> {
    let named = counts.into_iter().map(|(name, count)| Count { name: name.to_owned(), count });
    let mut counts: Vec<_> = named.filter(|count| count.count > 0).collect();
    counts.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
    counts
}

/// A system call of Linux, and whether a level that has a kernel of its own serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SystemCall {
    /// Its number on this architecture.
    pub number: u32,
    /// Its name (`syscalls(2)`).
    pub name: &'static str,
    /// What it has to do with.
    pub family: &'static str,
    /// Whether it is served.
    #[serde(flatten)]
    pub served: Served,
}

/// Whether a system call is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "served", rename_all = "kebab-case")]
pub enum Served {
    /// As its manual page says.
    Fully,
    /// But for this.
    Partly {
        /// What is missing.
        missing: &'static str,
    },
    /// It answers `ENOSYS`.
    Absent {
        /// Why.
        why: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_most_comes_first_and_what_never_happened_is_left_out() {
        let activity = Activity::new([("close", 1), ("open", 0), ("read", 7), ("brk", 1)], [("call", 9), ("kick", 1)]);
        let names: Vec<_> = activity.calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["read", "brk", "close"]);
        assert_eq!(activity.exits_total, 10);
        assert!((activity.exits_projected - 15e-6).abs() < 1e-12);
    }
}
