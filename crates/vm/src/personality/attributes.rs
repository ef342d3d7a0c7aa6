//! Attributes of files: `xattr(7)`. There are none, as on a filesystem without them.

use rustix::io::Errno;

use super::thread::Thread;
use super::{Answer, Arguments, int};

/// `getxattr(2)`, `setxattr(2)`, `removexattr(2)`: not supported; a list is empty, `listxattr(2)`.
pub(super) fn of_path(thread: &mut Thread, [path, ..]: Arguments) -> Answer {
    let path = thread.path(libc::AT_FDCWD, path)?;
    thread.status_at(&path, true)?;
    Err(Errno::OPNOTSUPP)
}

/// The same of a descriptor.
pub(super) fn of_descriptor(thread: &mut Thread, [number, ..]: Arguments) -> Answer {
    thread.process.descriptors().file(int(number))?;
    Err(Errno::OPNOTSUPP)
}
