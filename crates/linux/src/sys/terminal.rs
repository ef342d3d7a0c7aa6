//! `ioctl_tty(2)`, as far as pseudoterminals need it.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use super::call::{result, system_call};

const GET_NUMBER: u32 = libc::TIOCGPTN as u32;
const SET_LOCK: u32 = libc::TIOCSPTLCK as u32;
const GET_PEER: u32 = libc::TIOCGPTPEER as u32;

/// `TIOCSPTLCK`: lets the other end of a new pseudoterminal be opened.
pub(crate) fn terminal_unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let locked: libc::c_int = 0;
    // SAFETY: the kernel reads one `int`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, master.as_raw_fd(), SET_LOCK, &raw const locked) }).map(drop)
}

/// `TIOCGPTN`: the name of the other end in its folder.
pub(crate) fn terminal_number(master: BorrowedFd<'_>) -> Result<u32, Errno> {
    let mut number: libc::c_uint = 0;
    // SAFETY: the kernel writes one `unsigned int`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_ioctl, master.as_raw_fd(), GET_NUMBER, &raw mut number) })?;
    Ok(number)
}

/// `TIOCGPTPEER`: the other end, whatever lies at its path. It does not become the controlling terminal.
pub(crate) fn terminal_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes integers only.
    let raw = result(unsafe { system_call!(libc::SYS_ioctl, master.as_raw_fd(), GET_PEER, flags) })?;
    // SAFETY: the kernel has just returned this descriptor; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}
