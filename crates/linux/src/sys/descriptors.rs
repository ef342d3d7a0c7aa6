//! `close_range(2)`.

use rustix::io::Errno;

use super::call::{result, system_call};

/// `close_range(2)`: closes the descriptors `first..=last`, or with `on_exec` marks them to be closed
/// by `execve(2)`. The caller must own no live `OwnedFd` among them that it still means to use.
pub(crate) fn close_range(first: u32, last: u32, on_exec: bool) -> Result<(), Errno> {
    let flags = if on_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: takes integers only.
    result(unsafe { system_call!(libc::SYS_close_range, first, last, flags) }).map(drop)
}
