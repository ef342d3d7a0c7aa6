//! How `ringfence` ends.

/// How `ringfence` ends. The numbers keep clear of those of `timeout(1)` (124, 125), shells (126 and
/// up), `sysexits(3)` (64 to 78) and small ones, which programs use for themselves. A capsule may end
/// with any number all the same: `--report` tells for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// What was asked for was done.
    Done,
    /// The capsule's own.
    Capsule(i32),
    /// Not every change was applied; what was not is kept.
    Kept,
    /// Ringfence or this machine failed.
    Failed,
    /// The capsule did what no program may.
    Trapped,
    /// The capsule used more than a limit allows.
    Exceeded,
    /// The manifest, a flag or the program is wrong.
    Wrong,
    /// A required guarantee cannot be held here.
    Refused,
    /// The capsule needed what it was denied and could not be told by an error.
    Denied,
    /// Stopped by a signal to ringfence.
    Signal(i32),
}

impl ExitCode {
    /// The codes for the manual and `--help`.
    pub(crate) const HELP: &str = "\
Exit codes:
  a capsule that ends by itself passes its own through; beside that:
    2  the command line is wrong
  116  commit: not every change was applied; what was not is kept
  117  ringfence or this machine failed
  118  the capsule trapped: it did what no program may
  119  the capsule exceeded a limit
  120  the manifest, a flag or the program is wrong; nothing ran
  121  refused: a required guarantee cannot be held here; nothing ran
  122  the capsule was denied something in a way it could not be told of
  128 + N  stopped, because ringfence got signal N";

    /// The number the process exits with. The kernel keeps its lowest eight bits.
    pub(crate) fn number(self) -> i32 {
        match self {
            ExitCode::Done => 0,
            ExitCode::Capsule(status) => status,
            ExitCode::Kept => 116,
            ExitCode::Failed => 117,
            ExitCode::Trapped => 118,
            ExitCode::Exceeded => 119,
            ExitCode::Wrong => 120,
            ExitCode::Refused => 121,
            ExitCode::Denied => 122,
            ExitCode::Signal(signal) => 128 + signal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_code_and_no_two_are_the_same() {
        use ExitCode::{Denied, Exceeded, Failed, Kept, Refused, Trapped, Wrong};
        let codes = [Kept, Failed, Trapped, Exceeded, Wrong, Refused, Denied].map(ExitCode::number);
        for (index, code) in codes.iter().enumerate() {
            assert!(ExitCode::HELP.contains(&format!("\n  {code}  ")), "{code}");
            assert!(!codes[..index].contains(code), "{code}");
        }
    }
}
