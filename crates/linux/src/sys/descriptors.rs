//! `close_range(2)`, and descriptors by their numbers.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::call::{result, system_call};

/// `close_range(2)`: closes the descriptors `first..=last`, or with `on_exec` marks them to be closed
/// by `execve(2)`. The caller must own no live `OwnedFd` among them that it still means to use.
pub(crate) fn close_range(first: u32, last: u32, on_exec: bool) -> Result<(), Errno> {
    let flags = if on_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: takes integers only.
    result(unsafe { system_call!(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// `fcntl(2)`, `F_DUPFD_CLOEXEC`, above the standard streams. A number that is none is `EBADF`.
pub(crate) fn duplicate(descriptor: i32) -> Result<OwnedFd, Errno> {
    if descriptor < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the kernel looks the number up in this very call, and refuses one that is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    fcntl_dupfd_cloexec(borrowed, 3)
}
