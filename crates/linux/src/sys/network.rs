//! Settings of interfaces and sockets, and packets: `netdevice(7)`, `getsockopt(2)`, `packet(7)`.

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::call::{result, system_call};

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
    result(unsafe { system_call!(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) })
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
        system_call!(libc::SYS_getsockopt, socket.as_raw_fd(), level, option, into.as_mut_ptr(), &raw mut length)
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
        unsafe { system_call!(libc::SYS_setsockopt, socket.as_raw_fd(), level, option, value.as_ptr(), value.len()) };
    result(set).map(drop)
}

/// `bind(2)` of a packet socket: it takes every packet that arrives at an interface.
pub(crate) fn packet_bind(socket: BorrowedFd<'_>, interface: i32) -> Result<(), Errno> {
    let at = station(interface, libc::ETH_P_ALL, [0; 6]);
    // SAFETY: the kernel reads one `sockaddr_ll`, which outlives the call.
    result(unsafe { system_call!(libc::SYS_bind, socket.as_raw_fd(), &raw const at, size_of_val(&at)) }).map(drop)
}

/// `sendto(2)` on a packet socket: a packet of this protocol, to a station behind an interface.
pub(crate) fn packet_send(
    socket: BorrowedFd<'_>,
    interface: i32,
    protocol: c_int,
    to: [u8; 6],
    packet: &[u8],
) -> Result<(), Errno> {
    let at = station(interface, protocol, to);
    // SAFETY: the kernel reads `packet.len()` bytes and one `sockaddr_ll`, which both outlive the call.
    let sent = unsafe {
        let (descriptor, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        let (bytes, length) = (packet.as_ptr(), packet.len());
        system_call!(libc::SYS_sendto, descriptor, bytes, length, flags, &raw const at, size_of_val(&at))
    };
    result(sent).map(drop)
}

fn station(interface: i32, protocol: c_int, to: [u8; 6]) -> libc::sockaddr_ll {
    let [a, b, c, d, e, f] = to;
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: (protocol as u16).to_be(),
        sll_ifindex: interface,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: to.len() as u8,
        sll_addr: [a, b, c, d, e, f, 0, 0],
    }
}
