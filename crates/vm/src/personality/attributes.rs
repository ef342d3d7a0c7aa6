//! Attributes of files: `xattr(7)`. There are none, as on a filesystem without them.

use rustix::io::Errno;

use super::thread::Thread;
use super::{Answer, Arguments, int};

fn check(thread: &Thread, path: u64, follow: bool) -> Result<(), Errno> {
    let path = thread.path(libc::AT_FDCWD, path)?;
    thread.status_at(&path, follow).map(drop)
}

/// `getxattr(2)`, `setxattr(2)`, `removexattr(2)`: not supported.
pub(super) fn of_path(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    check(thread, path, true).and(Err(Errno::OPNOTSUPP))
}

/// The same of a link itself.
pub(super) fn of_link(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    check(thread, path, false).and(Err(Errno::OPNOTSUPP))
}

/// `listxattr(2)`: a list is empty.
pub(super) fn list(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    check(thread, path, true).map(|()| 0)
}

/// `llistxattr(2)`
pub(super) fn list_of_link(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    check(thread, path, false).map(|()| 0)
}

/// `flistxattr(2)`
pub(super) fn list_of_descriptor(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    thread.process.descriptors().file(int(number)).map(|_| 0)
}

/// The same of a descriptor.
pub(super) fn of_descriptor(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    thread.process.descriptors().file(int(number))?;
    Err(Errno::OPNOTSUPP)
}
