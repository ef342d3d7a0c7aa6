//! Who is at the other end of a Unix socket: `SO_PEERCRED`, `SO_PASSCRED`, `SCM_CREDENTIALS` of `unix(7)`.

use rustix::io::Errno;

use super::super::process::lock;
use super::super::thread::Thread;
use super::link::Beside;

/// The length of a `struct ucred`.
pub(super) const LENGTH: usize = 12;

/// A process and its user and group, as they were when they were looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Who {
    process: u32,
    user: u32,
    group: u32,
}

impl Who {
    /// What is said where there is nobody.
    pub(super) const NOBODY: Who = Who { process: 0, user: u32::MAX, group: u32::MAX };

    /// The kernel, as who answers over netlink.
    pub(super) const KERNEL: Who = Who { process: 0, user: 0, group: 0 };

    /// Who connects, listens or makes a pair: with the effective user and group.
    pub(super) fn now(thread: &Thread) -> Who {
        let credentials = lock(&thread.process.credentials);
        Who { process: thread.process.id, user: credentials.users[1], group: credentials.groups[1] }
    }

    /// Who sends and says nothing of itself: with the real ones.
    pub(super) fn sending(thread: &Thread) -> Who {
        let credentials = lock(&thread.process.credentials);
        Who { process: thread.process.id, user: credentials.users[0], group: credentials.groups[0] }
    }

    /// What a program says of itself: `EINVAL` when that is no `struct ucred`, `EPERM` when it is another's and the
    /// program is not user 0, `ESRCH` when there is no such process.
    pub(super) fn claimed(thread: &Thread, bytes: &[u8]) -> Result<Who, Errno> {
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| Errno::INVAL)?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let who = Who { process: word(0), user: word(4), group: word(8) };
        if who.user == u32::MAX || who.group == u32::MAX {
            return Err(Errno::INVAL);
        }
        let credentials = lock(&thread.process.credentials).clone();
        let own = |ids: [u32; 4], id: u32| ids[..3].contains(&id);
        let is_own =
            who.process == thread.process.id && own(credentials.users, who.user) && own(credentials.groups, who.group);
        match () {
            () if !is_own && !credentials.is_privileged() => Err(Errno::PERM),
            () if thread.world.process(who.process).is_none() => Err(Errno::SRCH),
            () => Ok(who),
        }
    }

    /// A `struct ucred`.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        [self.process, self.user, self.group].map(u32::to_le_bytes).concat()
    }
}

impl Beside {
    /// Nothing but who sends.
    pub(super) fn of(thread: &Thread) -> Beside {
        Beside { who: Who::sending(thread), ..Beside::default() }
    }
}
