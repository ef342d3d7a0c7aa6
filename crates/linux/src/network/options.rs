//! What a program set on its socket before it was connected or bound: `socket(7)`, `tcp(7)`, `ip(7)`.

use std::os::fd::BorrowedFd;

use crate::sys;

/// The settings that a socket takes over. The sizes of buffers are not among them: what was asked for
/// cannot be told from what the kernel chose.
const SETTINGS: [(i32, i32); 19] = [
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_OOBINLINE),
    (libc::SOL_SOCKET, libc::SO_RCVLOWAT),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::SOL_SOCKET, libc::SO_TIMESTAMP),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_CORK),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
    (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
    (libc::IPPROTO_IP, libc::IP_TOS),
    (libc::IPPROTO_IP, libc::IP_TTL),
    (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
];

/// Sets on `to` what is set on `from`. What one of them does not have is left out.
pub(super) fn take_over(from: BorrowedFd<'_>, to: BorrowedFd<'_>) {
    for (level, option) in SETTINGS {
        let (mut wanted, mut there) = ([0; 16], [0; 16]);
        let Ok(length) = sys::socket_option(from, level, option, &mut wanted) else { continue };
        let Ok(_) = sys::socket_option(to, level, option, &mut there) else { continue };
        if wanted != there {
            // A setting that is refused is one the program finds at its default.
            let _ = sys::set_socket_option(to, level, option, &wanted[..length]);
        }
    }
}
