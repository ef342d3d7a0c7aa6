//! The descriptors that cross the clone, and only these.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::terminal::Peer;

/// The lowest number of a descriptor of ours: those below belong to the standard streams.
const LOWEST: i32 = 3;

/// The child's ends of everything it shares with the supervisor.
pub(crate) struct Ends {
    /// Where it reports.
    pub(crate) report: OwnedFd,
    /// Where pid 1 takes signal numbers from, and learns of the supervisor's end.
    pub(crate) commands: OwnedFd,
    /// Where pid 1 waits for the network namespace, when it is not made by the clone, and pid 2 for the
    /// standard streams before it becomes the program.
    pub(crate) gate: OwnedFd,
    /// The program's terminal, which takes the place of its streams.
    pub(crate) terminal: Option<Peer>,
    /// The lists of the cgroups (version 1) to join.
    pub(crate) cgroups: Vec<File>,
}

/// A pipe, its reading end first; both ends above the standard streams and closed by `execve(2)`.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((above_streams(reader)?, above_streams(writer)?))
}

/// Two ends of a line that keeps messages apart and passes descriptors on (`unix(7)`).
pub(crate) fn line() -> Result<(OwnedFd, OwnedFd), Errno> {
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    Ok((above_streams(ours)?, above_streams(theirs)?))
}

/// The same descriptor under a number above the standard streams.
pub(crate) fn above_streams(descriptor: OwnedFd) -> Result<OwnedFd, Errno> {
    if descriptor.as_raw_fd() >= LOWEST {
        return Ok(descriptor);
    }
    fcntl_dupfd_cloexec(descriptor.as_fd(), LOWEST)
}

/// The ranges of numbers that are not among some. Found by search instead of sorting: nothing may be allocated where
/// this runs.
pub(super) fn beside<I: Iterator<Item = u32>>(numbers: impl Fn() -> I) -> impl Iterator<Item = (u32, u32)> {
    let mut from = Some(0);
    std::iter::from_fn(move || {
        loop {
            let first = from?;
            let Some(next) = numbers().filter(|&number| number >= first).min() else {
                from = None;
                return Some((first, u32::MAX));
            };
            from = next.checked_add(1);
            if next > first {
                return Some((first, next - 1));
            }
        }
    })
}

impl Ends {
    /// The ranges of descriptors that are not among these.
    pub(super) fn others(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        beside(|| self.numbers())
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        [&self.report, &self.commands, &self.gate]
            .into_iter()
            .map(AsRawFd::as_raw_fd)
            .chain(self.cgroups.iter().map(AsRawFd::as_raw_fd))
            .filter_map(|number| u32::try_from(number).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_ends_is_among_the_others() {
        let end = || pair().unwrap().0;
        let ends = Ends { report: end(), commands: end(), gate: end(), terminal: None, cgroups: Vec::new() };
        let others: Vec<_> = ends.others().collect();
        for number in 0..200 {
            let among = others.iter().any(|&(first, last)| (first..=last).contains(&number));
            assert_ne!(among, ends.numbers().any(|own| own == number), "{number} {others:?}");
        }
        assert_eq!(others.last().unwrap().1, u32::MAX);
    }
}
