//! `mount_setattr(2)`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::call::{result, system_call};

/// `struct mount_attr`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct MountAttributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) user_namespace: u64,
}

/// `mount_setattr(2)` on a descriptor (with an empty path) or a path, with what is mounted below or not.
pub(crate) fn mount_set_attributes(
    at: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    attributes: &MountAttributes,
) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | if recursive { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttributes>();
    // SAFETY: `path` is NUL-terminated and `attributes` points to `size` readable bytes; both outlive the call.
    let returned = unsafe {
        system_call!(libc::SYS_mount_setattr, at.as_raw_fd(), path.as_ptr(), flags, &raw const *attributes, size)
    };
    result(returned).map(drop)
}
