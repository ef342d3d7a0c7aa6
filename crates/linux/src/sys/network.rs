//! Settings of interfaces and sockets: `netdevice(7)`, `getsockopt(2)`.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::result;

/// `struct ifreq` with its flags.
#[repr(C)]
struct InterfaceFlags {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// `SIOCSIFFLAGS`: switches the loopback device on. `socket` is any socket of the network namespace.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut request = InterfaceFlags { name: [0; libc::IFNAMSIZ], flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the kernel reads one `ifreq`, which outlives the call.
    result(unsafe { libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
        .map(drop)
}

/// `getsockopt(2)`: the bytes of an option.
pub(crate) fn socket_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    into: &mut [u8],
) -> Result<usize, Errno> {
    let mut length = into.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `into`, and the length to `length`.
    let got = unsafe {
        libc::syscall(libc::SYS_getsockopt, socket.as_raw_fd(), level, option, into.as_mut_ptr(), &raw mut length)
    };
    result(got).map(|_| (length as usize).min(into.len()))
}

/// `setsockopt(2)`.
pub(crate) fn set_socket_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &[u8],
) -> Result<(), Errno> {
    // SAFETY: the kernel reads `value.len()` bytes.
    let set =
        unsafe { libc::syscall(libc::SYS_setsockopt, socket.as_raw_fd(), level, option, value.as_ptr(), value.len()) };
    result(set).map(drop)
}
