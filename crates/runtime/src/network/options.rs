//! Settings of sockets, with the meaning `wasi:sockets` 0.2 gives them: zero makes no sense, and what
//! is out of the kernel's range becomes the nearest that is in it.

use std::os::fd::AsFd;
use std::time::Duration;

use ringfence_abi::{ErrorCode, SocketOption};
use rustix::net::sockopt;

use super::error::code;

/// The longest keep-alive time Linux takes, in seconds (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`).
const LONGEST_KEEP_ALIVE: u64 = 32767;
/// The most keep-alive probes Linux takes (`MAX_TCP_KEEPCNT`).
const MOST_KEEP_ALIVES: u32 = 127;
/// The largest buffer that can be asked for: Linux doubles the number (`socket(7)`).
const LARGEST_BUFFER: u64 = (i32::MAX / 2) as u64;

/// Sets an option every socket has.
pub(super) fn set(fd: impl AsFd, ipv6: bool, option: SocketOption) -> Result<(), ErrorCode> {
    match option {
        SocketOption::HopLimit(0) | SocketOption::ReceiveBuffer(0) | SocketOption::SendBuffer(0) => {
            return Err(ErrorCode::Invalid);
        }
        SocketOption::HopLimit(hops) if ipv6 => sockopt::set_ipv6_unicast_hops(fd, Some(hops)),
        SocketOption::HopLimit(hops) => sockopt::set_ip_ttl(fd, u32::from(hops)),
        SocketOption::ReceiveBuffer(bytes) => {
            sockopt::set_socket_recv_buffer_size(fd, bytes.min(LARGEST_BUFFER) as usize)
        }
        SocketOption::SendBuffer(bytes) => sockopt::set_socket_send_buffer_size(fd, bytes.min(LARGEST_BUFFER) as usize),
        SocketOption::NoDelay(_)
        | SocketOption::Abort(_)
        | SocketOption::KeepAlive(_)
        | SocketOption::KeepAliveIdle(_)
        | SocketOption::KeepAliveInterval(_)
        | SocketOption::KeepAliveCount(_)
        | SocketOption::Backlog(_)
        | SocketOption::BothFamilies(_) => return Err(ErrorCode::NoProtocolOption),
    }
    .map_err(code)
}

/// Reads an option every socket has. The size of a buffer is what a program asked for, not the double
/// that Linux makes of it.
pub(super) fn get(fd: impl AsFd, ipv6: bool, option: SocketOption) -> Result<SocketOption, ErrorCode> {
    match option {
        SocketOption::HopLimit(_) if ipv6 => sockopt::ipv6_unicast_hops(fd).map(SocketOption::HopLimit),
        SocketOption::HopLimit(_) => {
            sockopt::ip_ttl(fd).map(|hops| SocketOption::HopLimit(u8::try_from(hops).unwrap_or(u8::MAX)))
        }
        SocketOption::ReceiveBuffer(_) => {
            sockopt::socket_recv_buffer_size(fd).map(|bytes| SocketOption::ReceiveBuffer(bytes as u64 / 2))
        }
        SocketOption::SendBuffer(_) => {
            sockopt::socket_send_buffer_size(fd).map(|bytes| SocketOption::SendBuffer(bytes as u64 / 2))
        }
        SocketOption::NoDelay(_)
        | SocketOption::Abort(_)
        | SocketOption::KeepAlive(_)
        | SocketOption::KeepAliveIdle(_)
        | SocketOption::KeepAliveInterval(_)
        | SocketOption::KeepAliveCount(_)
        | SocketOption::Backlog(_)
        | SocketOption::BothFamilies(_) => return Err(ErrorCode::NoProtocolOption),
    }
    .map_err(code)
}

/// Sets an option of connections: how one is kept alive, `tcp(7)`, when something is sent, how it ends.
pub(super) fn set_of_stream(fd: impl AsFd, option: SocketOption) -> Result<(), ErrorCode> {
    match option {
        SocketOption::KeepAliveIdle(0) | SocketOption::KeepAliveInterval(0) | SocketOption::KeepAliveCount(0) => {
            return Err(ErrorCode::Invalid);
        }
        SocketOption::NoDelay(on) => sockopt::set_tcp_nodelay(fd, on),
        SocketOption::Abort(on) => sockopt::set_socket_linger(fd, on.then_some(Duration::ZERO)),
        SocketOption::KeepAlive(on) => sockopt::set_socket_keepalive(fd, on),
        SocketOption::KeepAliveIdle(nanoseconds) => sockopt::set_tcp_keepidle(fd, whole_seconds(nanoseconds)),
        SocketOption::KeepAliveInterval(nanoseconds) => sockopt::set_tcp_keepintvl(fd, whole_seconds(nanoseconds)),
        SocketOption::KeepAliveCount(probes) => sockopt::set_tcp_keepcnt(fd, probes.min(MOST_KEEP_ALIVES)),
        _ => return Err(ErrorCode::NoProtocolOption),
    }
    .map_err(code)
}

/// Reads one.
pub(super) fn of_stream(fd: impl AsFd, option: SocketOption) -> Result<SocketOption, ErrorCode> {
    let nanoseconds = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    match option {
        SocketOption::NoDelay(_) => sockopt::tcp_nodelay(fd).map(SocketOption::NoDelay),
        SocketOption::Abort(_) => {
            sockopt::socket_linger(fd).map(|linger| SocketOption::Abort(linger == Some(Duration::ZERO)))
        }
        SocketOption::KeepAlive(_) => sockopt::socket_keepalive(fd).map(SocketOption::KeepAlive),
        SocketOption::KeepAliveIdle(_) => {
            sockopt::tcp_keepidle(fd).map(|idle| SocketOption::KeepAliveIdle(nanoseconds(idle)))
        }
        SocketOption::KeepAliveInterval(_) => {
            sockopt::tcp_keepintvl(fd).map(|interval| SocketOption::KeepAliveInterval(nanoseconds(interval)))
        }
        SocketOption::KeepAliveCount(_) => sockopt::tcp_keepcnt(fd).map(SocketOption::KeepAliveCount),
        _ => return Err(ErrorCode::NoProtocolOption),
    }
    .map_err(code)
}

/// The kernel counts in seconds; less than one counts as one.
fn whole_seconds(nanoseconds: u64) -> Duration {
    Duration::from_secs(nanoseconds.div_ceil(1_000_000_000).clamp(1, LONGEST_KEEP_ALIVE))
}
